"""The example of a plugin as an outsider has it: built wheels, an environment of its own, no checkout around it.

Its tests and the conformance kit run here and nowhere else.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sage.core.testing.conformance import promises

if TYPE_CHECKING:
    from conftest import Environment

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "packages" / "sage-plugins-example" / "tests"
REPORTS = ROOT / "build" / "conformance"
"""Where the reports of the kit are left, for people."""

PYTEST = ["-I", "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("module", sorted(path.name for path in TESTS.glob("test_*.py")))
def test_the_tests_of_the_example_pass(module: str, outside: Environment, tmp_path: Path) -> None:
    """Copied to an empty folder, they find all they need in the wheels."""
    for name in ("conftest.py", module):
        shutil.copy(TESTS / name, tmp_path)
    told = outside.run("python", *PYTEST, module, cwd=tmp_path)
    assert " passed" in told
    assert " skipped" not in told


@pytest.mark.timeout(900)
@pytest.mark.parametrize("backend", ["inline", "local", "processes"])
def test_a_backend_keeps_all_that_it_claims(backend: str, outside: Environment, tmp_path: Path) -> None:
    """The kit comes with the wheel; each promise is kept or, where the backend declares no such thing, skipped."""
    kit = ["--pyargs", "sage.core.testing.conformance", "--sage-backend", backend, "--sage-report", "report.json"]
    printed = outside.run("python", *PYTEST, *kit, cwd=tmp_path)
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = Path(shutil.copy(tmp_path / "report.json", REPORTS / f"{backend}.json"))
    data = json.loads(report.read_text())["data"]
    assert (data["backend"], data["broken"]) == (backend, 0)
    capabilities = frozenset(data["capabilities"])
    told = {item["id"]: item["outcome"] for item in data["promises"]}
    assert told == {item.id: "kept" if item.is_claimed(capabilities) else "not claimed" for item in promises()}
    assert f"{data['kept']} kept, 0 broken, {data['not_claimed']} not claimed" in printed
