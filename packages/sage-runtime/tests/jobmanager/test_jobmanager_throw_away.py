"""The JobManager that a test has of its own: found, used, and ended with all that it has begun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sage.core.testing import ThrowAwayJobManager
from sage.runtime.shim.sweep import end_processes

LIMIT = 60.0

TESTS = """
import itertools
import os

import pytest

from sage.core.api import RemoteEnvironment


def times_two(number):
    return number * 2


def test_a_job(jobmanager):
    env = jobmanager.environment("double")
    env.from_collection([1, 2]).map(times_two).print("got ")
    job = env.submit(autostop=True)
    assert job.status()["status"] == "completed"
    assert "got 4" in "".join(job.logs())


def test_by_the_environment(jobmanager, monkeypatch):
    for name, value in jobmanager.variables.items():
        monkeypatch.setenv(name, value)
    with RemoteEnvironment("endless") as env:
        env.from_source(itertools.count().__next__).print()
        env.submit()
    print("HOME", jobmanager.home)
    assert os.path.isdir(jobmanager.home)
"""


def test_tests_have_a_jobmanager_of_their_own(tmp_path: Path) -> None:
    """The fixture runs jobs, leaves the user's own folder alone, and ends jobs that would go on for ever."""
    (tmp_path / "test_jobs.py").write_text(TESTS)
    environment = {**os.environ, "SAGE_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "pytest", "-q", "-s", "test_jobs.py"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    home = Path(next(line.split()[1] for line in done.stdout.splitlines() if line.lstrip(".").startswith("HOME")))
    assert not home.exists()
    assert not (tmp_path / "home").exists()
    assert end_processes(str(home), grace=0.0) == [], "nothing of its jobs may be left"


def test_one_whose_daemon_is_killed_is_cleared_away_all_the_same() -> None:
    """A test may do the worst to it."""
    manager = ThrowAwayJobManager()
    env = manager.environment("held")
    env.from_source(_nothing).print()
    env.submit()
    manager._process.kill()
    manager.close()
    manager.close()
    assert not manager.home.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(manager._process.pid, 0)


def _nothing() -> None:
    return None
