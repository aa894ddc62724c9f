"""The backend `processes` when something goes wrong: it is told by name, and nothing hangs or is left behind."""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import LocalEnvironment, MapFunction
from sage.core.errors import ConfigError, JobFailedError, TransferError
from sage.core.models import FailureInfo

LIMIT = 60.0

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def environment(**options: Any) -> LocalEnvironment:
    return LocalEnvironment("test", backend="processes", options={"workers": 2} | options)


def failing(function: Callable[[Any], Any], **options: Any) -> FailureInfo:
    """How a job fails whose second process calls ``function``; the first has more input than it can ever get rid of."""
    env = environment(**options)
    env.from_source(lambda: 1).rebalance().map(function, name="culprit").rebalance().sink(ignore)
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True, timeout=LIMIT)
    assert env.get_job_status()["status"] == "failed"
    failure = caught.value.failure
    assert failure is not None
    return failure


def ignore(value: Any) -> None:
    """A sink."""


def kill(value: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def freeze(value: Any) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def leave(value: Any) -> None:
    os._exit(3)


def crash(value: Any) -> None:
    faulthandler.disable()  # its report would only be in the way here
    ctypes.string_at(0)


def raise_exit(value: Any) -> None:
    sys.exit(4)


@pytest.mark.parametrize(
    ("function", "name", "status", "how"),
    [
        (kill, "SIGKILL", None, "was killed by SIGKILL"),
        (crash, "SIGSEGV", None, "was killed by SIGSEGV"),
        (leave, None, 3, "has ended with exit status 3"),
    ],
)
def test_a_lost_worker_is_named(
    function: Callable[[Any], None], name: str | None, status: int | None, how: str
) -> None:
    """Which it was, what ran there, and how it ended; the job fails, and the other worker ends."""
    failure = failing(function)
    assert (failure.kind, failure.signal, failure.exit_status) == ("process", name, status)
    assert how in failure.message
    assert "lost worker 1 (process " in failure.message
    assert "'culprit'" in failure.message


def test_a_frozen_worker_is_found_and_killed() -> None:
    """It gives no sign of life within its lease."""
    failure = failing(freeze, lease=1.0)
    assert "has given no sign of life for 1 s, and was killed" in failure.message
    assert failure.signal == "SIGKILL"


class HoldsTheLock(MapFunction[int, int]):
    """Computes in one call of C code, in which no other thread of its process runs."""

    def execute(self, value: int) -> int:
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            sum(range(30_000_000))
        return value


def test_a_worker_that_computes_is_not_frozen() -> None:
    """It cannot answer within its lease since a library does not let go of the interpreter, but it works."""
    env = environment(lease=0.3)
    result = env.from_batch([5]).rebalance().map(HoldsTheLock).collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert result == [5]


def test_user_code_that_exits_fails_as_anywhere() -> None:
    """`SystemExit` in a function is that function's failure, not the worker's."""
    failure = failing(raise_exit)
    assert (failure.kind, failure.operator, failure.error_type) == ("user_code", "culprit", "SystemExit")


class Own(Exception):
    """An exception that does not pickle: its constructor wants more than it tells."""

    def __init__(self, lock: Any, text: str) -> None:
        super().__init__(lock)
        self.text = text


def raise_own(value: Any) -> None:
    raise Own(threading.Lock(), "text")


def raise_known(value: Any) -> None:
    raise LookupError("nowhere")


def test_exceptions_come_with_their_traceback() -> None:
    """The user's own exception is the cause; one that cannot travel is left out, and described all the same."""
    env = environment()
    env.from_batch([7]).rebalance().map(raise_known).sink(ignore)
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True, timeout=LIMIT)
    assert isinstance(caught.value.__cause__, LookupError)
    failure = failing(raise_own)
    assert failure.error_type is not None and failure.error_type.endswith("Own")
    assert failure.traceback is not None and "in raise_own" in failure.traceback
    assert failure.record == "1"


def lock(value: Any) -> Any:
    return {"value": value, "lock": threading.Lock()}


def local_class(value: Any) -> Any:
    class Local:
        """Nobody else can find it."""

    return Local()


@pytest.mark.parametrize(
    ("function", "path"), [(lock, "record['lock']"), (local_class, "Local"), (lambda value: lambda: value, "record")]
)
def test_a_record_that_cannot_be_pickled_is_named(function: Callable[[Any], Any], path: str) -> None:
    """With its operator, its type, and the way to the part that cannot be."""
    env = environment(workers=2)
    env.from_batch([1]).map(function, name="makes").rebalance().sink(ignore)
    with pytest.raises(JobFailedError, match="'makes'") as caught:
        env.submit(autostop=True, timeout=LIMIT)
    cause, failure = caught.value.__cause__, caught.value.failure
    assert isinstance(cause, TransferError)
    assert cause.path == path
    assert failure is not None and failure.operator == "makes"
    assert failure.record


def test_a_collected_record_that_cannot_be_pickled_is_named() -> None:
    """What is collected comes to this process as well."""
    env = environment()
    env.from_batch([1]).map(lock).collect(name="here")
    with pytest.raises(JobFailedError, match="'here'") as caught:
        env.submit(autostop=True, timeout=LIMIT)
    assert isinstance(caught.value.__cause__, TransferError)


class NotThere:
    """Cannot be rebuilt anywhere."""

    def __reduce__(self) -> Any:
        return (rebuild, ())


def rebuild() -> None:
    raise KeyError("gone")


def not_there(value: Any) -> NotThere:
    return NotThere()


def test_a_record_that_cannot_be_rebuilt_is_named() -> None:
    """With the operator that should have got it; here, where it was to be collected, with its sink."""
    env = environment()
    env.from_batch([1]).map(not_there).rebalance().map(str, name="gets").sink(ignore)
    with pytest.raises(JobFailedError, match=r"'gets'.*KeyError: 'gone'") as caught:
        env.submit(autostop=True, timeout=LIMIT)
    assert isinstance(caught.value.__cause__, TransferError)
    env = environment()
    env.from_batch([1]).map(not_there).collect(name="here")
    with pytest.raises(JobFailedError, match=r"here.*KeyError: 'gone'"):
        env.submit(autostop=True, timeout=LIMIT)


class Opens(MapFunction[Any, Any]):
    """Raises in its constructor."""

    def __init__(self) -> None:
        raise ValueError("not today")

    def execute(self, value: Any) -> Any:
        return value


def test_a_function_that_cannot_be_made_fails_the_job() -> None:
    """In a worker as anywhere else, with the same words."""
    env = environment()
    env.from_batch([1]).rebalance().map(Opens).sink(ignore)
    with pytest.raises(JobFailedError, match="not today"):
        env.submit(autostop=True, timeout=LIMIT)


def test_code_that_cannot_be_loaded_fails_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that can be imported here, and raises in a worker, is told by what it raises."""
    (tmp_path / "only_here.py").write_text(
        f"import os\n\nif os.getpid() != {os.getpid()}:\n    raise RuntimeError('wrong house')\n\n"
        "def same(value):\n    return value\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    env = environment()
    env.from_batch([1]).rebalance().map(only_here.same).sink(ignore)
    with pytest.raises(JobFailedError, match="RuntimeError: wrong house") as caught:
        env.submit(autostop=True, timeout=LIMIT)
    assert caught.value.failure is not None
    assert caught.value.failure.kind == "backend"


def stuck(value: Any) -> None:
    Path(value).write_text("here")
    threading.Event().wait()


def test_user_code_that_never_returns_is_ended_after_the_grace(tmp_path: Path) -> None:
    """Its process ends, unlike a thread, which nobody can end."""
    env = environment()
    env.from_batch([str(tmp_path / "stuck")]).rebalance().map(stuck).sink(ignore)
    job = env.submit()
    wait_for((tmp_path / "stuck").exists)
    coordinator: Any = job._coordinator  # type: ignore[attr-defined]
    coordinator.cancel(0.2)
    assert coordinator.join(LIMIT)
    assert coordinator.state == "cancelled"


def test_a_job_can_be_cancelled_while_its_workers_start() -> None:
    """Before they have anything to cancel."""
    env = environment()
    env.from_source(lambda: 1).rebalance().sink(ignore)
    job = env.submit()
    job.stop()
    assert job.wait(LIMIT)["status"] == "cancelled"


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_threads_and_locks_of_this_process_do_not_matter() -> None:
    """Workers are no copies of it: what holds a lock here holds none there."""
    held, done = logging.getLogger().handlers, threading.Event()
    locks = [handler.lock for handler in held if handler.lock is not None]
    taken = threading.Event()

    def hold() -> None:
        for one in locks:
            one.acquire()
        taken.set()
        done.wait()
        for one in locks:
            one.release()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    try:
        env = environment()
        result = env.from_batch([1]).rebalance().map(log_and_return).collect()
        env.submit(autostop=True, timeout=LIMIT)
    finally:
        done.set()
        thread.join()
    assert result == [1]


def log_and_return(value: int) -> int:
    logging.getLogger().error("this lock is free")
    return value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be"),
        ({"workers": True}, "workers must be"),
        ({"lease": -1}, "lease must be"),
        ({"shared_memory": "1"}, "shared_memory must be"),
        ({"worker": 1}, "did you mean 'workers'"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    """Before anything is started."""
    env = environment(**options)
    env.from_batch([1]).sink(ignore)
    with pytest.raises(ConfigError, match=message):
        env.submit()


SCRIPT = """
import os, sys, threading, time
from pathlib import Path
from sage.core.api import LocalEnvironment, SourceFunction

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else None

class Endless(SourceFunction):
    def __init__(self, folder):
        self.folder = folder
    def open(self, context):
        (Path(self.folder) / f"pid-{os.getpid()}").touch()
    def execute(self):
        return 1

class Sink:
    def __init__(self, folder):
        self.folder = folder
    def open(self, context):
        (Path(self.folder) / f"pid-{os.getpid()}").touch()
    def execute(self, value):
        (Path(self.folder) / "flows").touch()
    def close(self):
        (Path(self.folder) / "closed").touch()

if __name__ == "__main__":
    env = LocalEnvironment("script", backend="processes", options={"workers": 2})
    env.from_source(Endless, str(FOLDER)).rebalance().sink(Sink, str(FOLDER))
    env.submit(autostop=True, timeout=None)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_do_not_outlive_their_program(tmp_path: Path, number: signal.Signals) -> None:
    """Killed, or ended by Ctrl-C that the whole process group gets: workers close their functions and end."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    program = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    wait_for((tmp_path / "flows").exists)
    if number == signal.SIGINT:
        os.killpg(program.pid, number)
    else:
        program.kill()
    _, errors = program.communicate(timeout=LIMIT)
    pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    assert len(pids) == 2
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert (tmp_path / "closed").exists()
    if number == signal.SIGINT:
        assert errors.count("Traceback") == 1, errors  # the program's own KeyboardInterrupt
