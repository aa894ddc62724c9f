"""`sage plugins new`: what it writes installs and passes its tests as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

KINDS = ("--backend", "--command", "--connector", "--hook")


def check(project: Path, site: Path) -> None:
    """Build the project's wheel, install it into a folder of its own, and run its tests beside."""
    environment = {**os.environ, "PYTHONPATH": str(site), "SAGE_HOME": str(site / "home")}
    for command in (["hatchling", "build", "-t", "wheel", "-d", str(site)], ["pytest", "-q", "-p", "no:cacheprovider"]):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout
        for wheel in site.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(site)


@pytest.mark.parametrize("kinds", [*((kind,) for kind in KINDS), KINDS], ids=[*KINDS, "all"])
def test_a_new_project_passes_its_tests(sage: Any, tmp_path: Path, kinds: tuple[str, ...]) -> None:
    """With each kind of plugin, and with all of them at once."""
    written = sage("plugins", "new", "sage-acme", *kinds, "--json").json["data"]
    project = sage.folder / "sage-acme"
    assert written["folder"] == "sage-acme"
    assert {path.relative_to(sage.folder) for path in project.rglob("*") if path.is_file()} == {
        Path(path) for path in written["files"]
    }
    check(project, tmp_path / "site")


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("9lives",), 2, "begins with a letter"),
        (("sage",), 2, "cannot be the name of its module"),
        (("json",), 2, "cannot be the name of its module"),
        (("sage_core", "--hook"), 2, "it is a distribution of SAGE"),
        (("a--b",), 2, "single -"),
        (("../up",), 2, "letters and digits"),
        (("job", "--command"), 9, "SAGE has a command 'job' of its own"),
        (("job", "--backend", "--command"), 9, "SAGE has a command 'job' of its own"),
        (("local", "--backend"), 9, "SAGE has a backend 'local' of its own"),
        (("acme", "--to", "."), 9, "not empty"),
        (("acme", "--to", "note.txt/acme"), 9, "could not be written"),
    ],
)
def test_what_cannot_be_written(sage: Any, args: tuple[str, ...], code: int, told: str) -> None:
    """It is told what is wrong, and nothing is written."""
    (sage.folder / "note.txt").write_text("here first\n")
    result = sage("plugins", "new", *args)
    assert result.code == code
    assert told in result.err
    assert [path.name for path in sage.folder.iterdir()] == ["note.txt"]
