"""The backend `processes` where user code does to its worker what none expects, and where it starts with little."""

from __future__ import annotations

import atexit
import logging
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import LocalEnvironment
from sage.core.errors import JobFailedError, PackagingError
from sage.core.models import FailureInfo
from sage_plugins_example.processes import deployment as deployments
from sage_plugins_example.processes.workers import spawn

LIMIT = 60.0

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def environment(**options: Any) -> LocalEnvironment:
    return LocalEnvironment("test", backend="processes", options={"workers": 2} | options)


def failing(function: Callable[[Any], Any], *, collects: bool = False) -> FailureInfo:
    """How a job fails that calls ``function`` in its second worker; what that returns goes on to another process."""
    env = environment()
    made = env.from_batch([1]).rebalance().map(function, name="makes")
    if collects:
        made.collect(name="here")
    else:
        made.rebalance().map(str, name="gets").sink(ignore)
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True, timeout=LIMIT)
    assert caught.value.failure is not None
    return caught.value.failure


def ignore(value: Any) -> None:
    """A sink."""


def hold_up_the_end(value: int) -> int:
    atexit.register(threading.Event().wait)
    return value


def test_what_holds_up_the_end_of_a_worker_is_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it calls when a program ends never returns: the job has ended well, and its worker does not stay."""
    monkeypatch.setattr(deployments, "_EXIT_GRACE", 0.1)
    env = environment()
    result = env.from_batch([1]).rebalance().map(hold_up_the_end).collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert result == [1]
    for thread in threading.enumerate():
        if thread.name.startswith("sage-workers-"):
            thread.join(LIMIT)
    assert "by atexit had not returned" in caplog.text


def close_all(value: Any) -> Any:
    sys.stderr = None
    os.closerange(3, 100)
    return value


def test_a_worker_that_lost_its_sockets_ends() -> None:
    """It has nobody to tell why, not even its standard error."""
    failure = failing(close_all)
    assert failure.kind == "process"
    assert "'makes'" in failure.message


class Exits:
    """Leaves the program as it is pickled."""

    def __reduce__(self) -> Any:
        sys.exit(7)


class ExitsThere:
    """Leaves the program that unpickles it."""

    def __reduce__(self) -> Any:
        return (sys.exit, (7,))


def exits(value: Any) -> Exits:
    return Exits()


def exits_there(value: Any) -> ExitsThere:
    return ExitsThere()


@pytest.mark.parametrize(
    ("function", "collects", "operator"),
    [(exits, False, "makes"), (exits, True, "here"), (exits_there, False, "gets"), (exits_there, True, None)],
)
def test_records_that_exit_where_they_are_pickled_fail_the_job(
    function: Callable[[Any], Any], collects: bool, operator: str | None
) -> None:
    """As any other that cannot travel: neither a worker nor this program ends by it."""
    failure = failing(function, collects=collects)
    assert failure.kind == "user_code"
    assert failure.operator == operator
    assert "here" in failure.message or operator != "here"


class LogsThere:
    """Logs more than a worker keeps, where it is unpickled."""

    def __reduce__(self) -> Any:
        return (log_much, ())


def log_much() -> str:
    for _ in range(20):
        logging.getLogger("records").warning("x" * (1 << 20))
    return "logged"


def logs_there(value: Any) -> LogsThere:
    return LogsThere()


def test_what_logs_as_it_is_unpickled_holds_up_nothing() -> None:
    """That is done by the thread which sends what was logged: it may not wait for itself."""
    env = environment()
    result = env.from_batch([1]).map(logs_there).rebalance().map(str).collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert result == ["logged"]


def fork(value: int) -> int:
    os.fork()
    return value


def test_a_fork_that_goes_on_does_not_speak_for_its_worker() -> None:
    """Each record comes once, although two processes have returned from each call."""
    env = environment()
    result = env.from_batch(list(range(5))).rebalance().map(fork).collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert sorted(result) == list(range(5))


def terminate(value: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_worker_that_was_told_to_end_has_not_crashed() -> None:
    """What is said of a signal is about that signal."""
    failure = failing(terminate)
    assert failure.signal == "SIGTERM"
    assert "somebody has sent it that signal" in failure.message


def test_nothing_is_left_of_a_job_that_started_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first worker ends, and its descriptors are closed, where there is no second one."""
    started = list[subprocess.Popen[bytes]]()

    def once(arguments: list[str], descriptors: list[int]) -> subprocess.Popen[bytes]:
        if started:
            raise OSError("no more processes")
        started.append(spawn(arguments, descriptors))
        return started[0]

    monkeypatch.setattr(deployments, "spawn", once)
    env = environment()
    env.from_batch([1]).rebalance().sink(ignore)
    with pytest.raises(JobFailedError, match="no more processes"):
        env.submit(autostop=True, timeout=LIMIT)
    assert started[0].returncode is not None


def test_a_grace_without_end_is_one() -> None:
    """Workers are told of it in a number that has an end."""
    env = environment()
    env.from_source(lambda: 1).rebalance().sink(ignore)
    job: Any = env.submit()
    job._coordinator.cancel(math.inf)
    assert job.wait(LIMIT)["status"] == "cancelled"


def test_no_room_for_the_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder for temporary files is not there: that is no failure of SAGE's, and one can do something about it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    env = environment()
    env.from_batch([1]).rebalance().sink(ignore)
    with pytest.raises(PackagingError, match="nowhere") as caught:
        env.submit()
    assert "TMPDIR" in str(caught.value.hint)


SCRIPT = """
import os, sys
from pathlib import Path
from sage.core.api import LocalEnvironment

if __name__ == "__main__":
    os.closerange(0, 3)
    sys.stdin = sys.stdout = sys.stderr = None
    env = LocalEnvironment("script", backend="processes", options={"workers": 2})
    result = env.from_batch([1, 2]).rebalance().map(str).collect()
    env.submit(autostop=True, timeout=60)
    Path(sys.argv[1]).write_text(" ".join(sorted(result)))
"""


def test_a_program_without_standard_streams_has_workers(tmp_path: Path) -> None:
    """As of a daemon that has closed them: a worker's sockets do not lie where its own streams will be."""
    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT)
    subprocess.run([sys.executable, str(script), str(out)], timeout=LIMIT, check=True)
    assert out.read_text() == "1 2"
