"""Type checkers see what streams hold: in the editor, and in continuous integration."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = sorted((Path(__file__).parent / "typed").glob("*.py"))


@pytest.fixture(params=CASES, ids=lambda case: case.stem)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Each case in turn, in a folder of its own: no settings around it count, as in a user's project."""
    return Path(shutil.copy(request.param, tmp_path))


def check(case: Path, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=case.parent,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout


def test_mypy_sees_the_types(case: Path) -> None:
    """Strictly: every asserted type is what it finds, and every line marked as wrong is wrong."""
    check(case, ["mypy", "--strict", "--python-version", "3.11", case.name])


def test_pyright_sees_the_types(case: Path) -> None:
    """The same of the other checker, which most editors use; it brings its own Node.js, and asks no network."""
    settings = {
        "include": [case.name],
        "pythonVersion": "3.11",
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (case.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    check(case, ["pyright", "--pythonpath", sys.executable])
