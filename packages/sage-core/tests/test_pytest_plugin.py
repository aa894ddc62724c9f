"""What pytest finds of SAGE: light at its start, and fixtures for tests of pipelines."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import LocalEnvironment
from sage.core.errors import JobManagerError, PackagingError
from sage.core.testing import CollectingSink, ThrowAwayJobManager

LIMIT = 60.0


def run(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_pytest_finds_it_by_its_entry_point() -> None:
    """Whoever installs sage-core has it."""
    (found,) = entry_points(group="pytest11", name="sage")
    assert found.value == "sage.core.testing.pytest_plugin"


def test_it_loads_nothing_of_sage(tmp_path: Path) -> None:
    """Every run of pytest pays for it, so it is a module of its own and nothing else."""
    code = (
        "import pytest, sys; import sage.core.testing.pytest_plugin;"
        "print(sorted(name for name in sys.modules if name.startswith('sage.core')))"
    )
    loaded = run("-c", code, folder=tmp_path).strip()
    assert loaded == str(["sage.core", "sage.core.testing", "sage.core.testing.pytest_plugin"])


FIXTURES = """
import itertools

import pytest

from sage.core.errors import JobFailedError
from sage.core.testing import Fail, Pause


def orders(stream, sink):
    stream.map(str.upper).sink(sink)


def test_virtual_time(sage_env, sage_script, sage_sink):
    orders(sage_script(["tea", Pause(3600), "milk"]), sage_sink)
    sage_env.submit()
    assert sage_sink.records == ["TEA", "MILK"]


def test_failing_input(sage_env, sage_script, sage_sink):
    orders(sage_script(["tea", Fail(OSError("gone"))]), sage_sink)
    with pytest.raises(JobFailedError):
        sage_env.submit()
    assert sage_sink.records == ["TEA"]


@pytest.mark.parametrize("backend", ["inline", "local"])
def test_backends(sage_environment, sage_sink, backend):
    env = sage_environment("orders", backend)
    orders(env.from_collection(["tea"]).rebalance(), sage_sink)
    env.submit(autostop=True)
    assert sage_sink.records == ["TEA"]


def test_without_end(sage_environment, sage_sink):
    env = sage_environment(backend="local")
    env.from_source(itertools.count().__next__).sink(sage_sink, parallelism=2)
    job = env.submit()
    assert 7 in sage_sink.wait_for(10_000)
    assert job.status()["status"] == "running"


def test_options(sage_environment, sage_sink):
    env = sage_environment(max_records=3)
    env.from_source(itertools.count().__next__).sink(sage_sink)
    env.submit()
    assert sage_sink.records == [0, 1, 2]
"""


def test_fixtures_of_pipelines(tmp_path: Path) -> None:
    """They run pipelines, and end what a test leaves running."""
    (tmp_path / "test_orders.py").write_text(FIXTURES)
    printed = run("-m", "pytest", "-q", "-W", "error", folder=tmp_path)
    assert "6 passed" in printed


def test_a_collecting_sink_is_one_for_all_subtasks() -> None:
    """Its copies are itself; where it cannot collect, it says what to do."""
    sink = CollectingSink()
    env = LocalEnvironment("collecting", "local")
    env.from_batch(range(100)).rebalance().sink(sink, parallelism=3)
    env.submit(autostop=True, timeout=LIMIT)
    assert sorted(sink.records) == list(range(100))
    with pytest.raises(AssertionError, match="101 records were to come"):
        sink.wait_for(101, timeout=0.01)
    make, key = sink.__reduce__()
    del sink, env
    with pytest.raises(PackagingError, match="collects in the process of its test"):
        make(0, key[1])  # type: ignore[operator,index]


def test_a_jobmanager_needs_the_distribution_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without sage-runtime it is told what to install."""
    find: Any = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sage.runtime" else find(name))
    with pytest.raises(JobManagerError, match="needs sage-runtime") as caught:
        ThrowAwayJobManager()
    assert caught.value.hint == "pip install sage-runtime"
