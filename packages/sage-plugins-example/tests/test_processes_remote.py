"""Jobs of a JobManager whose job process starts workers in turn."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import MapFunction
from sage.core.errors import JobFailedError
from sage.core.testing import ThrowAwayJobManager

LIMIT = 120.0


class WritesPid(MapFunction[int, int]):
    """Leaves a file with the name of its process."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def execute(self, value: int) -> int:
        (Path(self.folder) / str(os.getpid())).touch()
        return value


class Killing(MapFunction[int, int]):
    def execute(self, value: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return value


def ignore(value: Any) -> None:
    """A sink."""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_runs_in_workers(jobmanager: ThrowAwayJobManager, tmp_path: Path) -> None:
    """Which are neither this process nor the daemon's, and print into the job's log."""
    env = jobmanager.environment("remote", backend="processes")
    env.from_batch(range(100)).map(WritesPid, str(tmp_path), parallelism=4).print()
    job = env.submit(autostop=True, timeout=LIMIT)
    assert job.status()["status"] == "completed"
    assert sorted(int(line) for line in "".join(job.logs()).split() if line.isdigit()) == list(range(100))
    assert list(tmp_path.iterdir())


def test_a_lost_worker_fails_the_job(jobmanager: ThrowAwayJobManager) -> None:
    """The client is told what the job's process knows of it."""
    env = jobmanager.environment("lost", backend="processes")
    env.from_batch([1]).rebalance().map(Killing).sink(ignore)
    with pytest.raises(JobFailedError, match="was killed by SIGKILL") as caught:
        env.submit(autostop=True, timeout=LIMIT)
    assert caught.value.failure is not None
    assert (caught.value.failure.kind, caught.value.failure.signal) == ("process", "SIGKILL")


def test_workers_end_with_a_cancelled_job(jobmanager: ThrowAwayJobManager, tmp_path: Path) -> None:
    """None of them is left."""
    env = jobmanager.environment("cancelled", backend="processes")
    env.from_source(lambda: 1).rebalance().map(WritesPid, str(tmp_path), parallelism=2).sink(ignore)
    job = env.submit()
    wait_for(lambda: len(list(tmp_path.iterdir())) > 0)
    job.delete(force=True)
    wait_for(lambda: not any(Path(f"/proc/{path.name}").exists() for path in tmp_path.iterdir()))
