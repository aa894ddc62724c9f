"""Jobs of a JobManager whose job process starts workers in turn."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import MapFunction, RemoteEnvironment
from sage.core.errors import JobFailedError

LIMIT = 120.0

COMMAND = Path(sys.executable).with_name("sage")


@pytest.fixture(scope="module", autouse=True)
def jobmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A JobManager of this module's own, which jobs are sent to."""
    home = tmp_path_factory.mktemp("home")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (home / "config.yaml").write_text(f"daemon: {{port: {port}}}\n")
    home.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGE_HOME", str(home))
        command("start")
        try:
            yield
        finally:
            command("stop")


def command(what: str) -> None:
    done = subprocess.run([COMMAND, "jobmanager", what], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr


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


def test_a_job_runs_in_workers(tmp_path: Path) -> None:
    """Which are neither this process nor the daemon's, and print into the job's log."""
    with RemoteEnvironment("remote", backend="processes") as env:
        env.from_batch(range(100)).map(WritesPid, str(tmp_path), parallelism=4).print()
        job = env.submit(autostop=True, timeout=LIMIT)
        assert job.status()["status"] == "completed"
        assert sorted(int(line) for line in "".join(job.logs()).split() if line.isdigit()) == list(range(100))
    assert list(tmp_path.iterdir())


def test_a_lost_worker_fails_the_job() -> None:
    """The client is told what the job's process knows of it."""
    with RemoteEnvironment("lost", backend="processes") as env:
        env.from_batch([1]).rebalance().map(Killing).sink(ignore)
        with pytest.raises(JobFailedError, match="was killed by SIGKILL") as caught:
            env.submit(autostop=True, timeout=LIMIT)
    assert caught.value.failure is not None
    assert (caught.value.failure.kind, caught.value.failure.signal) == ("process", "SIGKILL")


def test_workers_end_with_a_cancelled_job(tmp_path: Path) -> None:
    """None of them is left."""
    with RemoteEnvironment("cancelled", backend="processes") as env:
        env.from_source(lambda: 1).rebalance().map(WritesPid, str(tmp_path), parallelism=2).sink(ignore)
        job = env.submit()
        wait_for(lambda: len(list(tmp_path.iterdir())) > 0)
        job.delete(force=True)
    wait_for(lambda: not any(Path(f"/proc/{path.name}").exists() for path in tmp_path.iterdir()))
