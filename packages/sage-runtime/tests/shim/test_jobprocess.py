"""Jobs with the real job process: packages that scripts of users have made."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from sage.core.models import FailureInfo, JobMetrics
from sage.runtime.shim.client import wait_exit
from sage.runtime.shim.sweep import find_processes

Make = Callable[..., Any]


def failure_of(job: Any) -> FailureInfo:
    """Why the job has failed."""
    last = job.wait_ended()
    assert last["state"] == "failed", job.log()
    return FailureInfo.from_json(last["failure"])


def test_a_pipeline(packaged: Make) -> None:
    """A pipeline runs to its end: output in the log, numbers in the metrics, states in the events."""
    job = packaged(
        """
        class Count(BatchFunction):
            def __init__(self, limit):
                self.n, self.limit = 0, limit
            def execute(self):
                self.n += 1
                return self.n if self.n <= self.limit else None
        class Double(MapFunction):
            def execute(self, value):
                return value * 2
        class Show(SinkFunction):
            def execute(self, value):
                print("got", value)
        environment.from_batch(Count, 5).map(Double).sink(Show)
        environment.submit()
        """
    ).start()
    last = job.wait_ended()
    assert last["state"] == "completed", job.log()
    assert job.states() == ["submitted", "queued", "starting", "running", "completed"]
    assert job.log() == "".join(f"got {value}\n" for value in (2, 4, 6, 8, 10))
    metrics = JobMetrics.from_json(json.loads((job.folder / "metrics.json").read_bytes()))
    assert [item.records_in for item in metrics.operators][1:] == [5, 5]
    assert job.events()[3]["tasks"] == metrics.tasks >= 1


def test_user_code_raises(packaged: Make) -> None:
    """The failure names operator, record, type and the user's own line."""
    job = packaged(
        """
        def divide(value):
            return 1 // value
        environment.from_batch([2, 1, 0]).map(divide, name="divide").sink(print)
        environment.submit()
        """
    ).start()
    failure = failure_of(job)
    assert failure.kind == "user_code"
    assert failure.operator == "divide"
    assert failure.record == "0"
    assert failure.error_type is not None and "ZeroDivisionError" in failure.error_type
    assert "return 1 // value" in (failure.traceback or "")
    assert job.states()[-3:] == ["running", "failing", "failed"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("os._exit(3)", ("process", 3, None)),
        ("ctypes.string_at(0)", ("process", None, "SIGSEGV")),
        ("os.kill(os.getpid(), signal.SIGKILL)", ("process", None, "SIGKILL")),
        ("os.abort()", ("process", None, "SIGABRT")),
    ],
)
def test_user_code_ends_the_process(packaged: Make, body: str, expected: tuple[Any, ...]) -> None:
    """Whatever takes the process away is the job's failure, with what is known of how."""
    job = packaged(
        f"""
        def leave(value):
            {body}
        environment.from_batch([1]).map(leave).sink(print)
        environment.submit()
        """
    ).start()
    failure = failure_of(job)
    assert (failure.kind, failure.exit_status, failure.signal) == expected
    if failure.signal in ("SIGSEGV", "SIGABRT"):
        assert "in leave" in (failure.traceback or "")


@pytest.mark.parametrize(
    "body",
    [
        "raise SystemExit(4)",
        "raise KeyboardInterrupt",
        "raise BaseException('no Exception')",
        "return (lambda f: f(f))(lambda f: f(f))",
        "raise Hostile()",
        "raise ValueError('x' * 50_000_000)",
    ],
)
def test_user_code_raises_what_it_should_not(packaged: Make, body: str) -> None:
    """Exceptions of every kind, texts of every size and objects that fight back fail the job in order."""
    job = packaged(
        f"""
        class Hostile(Exception):
            def __str__(self):
                raise RuntimeError("no text")
            __repr__ = __str__
            def __reduce__(self):
                raise RuntimeError("no pickle")
        def misbehave(value):
            {body}
        environment.from_batch([1]).map(misbehave).sink(print)
        environment.submit()
        """
    ).start()
    failure = failure_of(job)
    assert failure.kind == "user_code"
    assert len(failure.message) < 10_000


def test_cancel_an_unbounded_job(packaged: Make) -> None:
    """A job that would never end does, when it is cancelled, in its own order: functions are closed."""
    job = packaged(
        """
        class Ticks(SourceFunction):
            def execute(self):
                return 1
        class Quiet(SinkFunction):
            def execute(self, value):
                pass
            def close(self):
                print("closed")
        environment.from_source(Ticks).sink(Quiet)
        environment.submit()
        """
    ).start()
    job.wait_for("running")
    job.cancel(30)
    last = job.wait_ended()
    assert job.states()[-3:] == ["running", "cancelling", "cancelled"]
    assert last["reason"] == "cancel was asked for"
    assert "closed" in job.log()


def test_cancel_what_never_returns(packaged: Make) -> None:
    """User code that never returns is left after the grace, with or without the interpreter's lock in its hands."""
    job = packaged(
        """
        def hang(value):
            print("hanging")
            ctypes.PyDLL(None).sleep(1000)
        environment.from_batch([1]).map(hang).sink(print)
        environment.submit()
        """
    ).start()
    job.wait_for("running")
    job.cancel(0.5)
    last = job.wait_ended()
    assert last["state"] == "cancelled"
    assert "was terminated" in last["reason"]
    assert "in hang" in job.log()
    assert find_processes(str(job.folder)) == []


def test_cancel_while_opening(packaged: Make) -> None:
    """A job is cancelled before it runs if the word comes while its package is opened."""
    job = packaged(
        """
        class Slow:
            def __reduce__(self):
                return time.sleep, (1,)
        environment.from_batch([Slow()]).sink(print)
        environment.submit()
        """
    ).start()
    job.cancel(30)
    assert job.wait_ended()["state"] == "cancelled"
    assert job.states() == ["submitted", "queued", "starting", "cancelling", "cancelled"]


def test_the_shim_is_killed(packaged: Make) -> None:
    """A job process whose shim is gone stops in order, and ends."""
    job = packaged(
        """
        class Ticks(SourceFunction):
            def execute(self):
                return 1
        class Keep(SinkFunction):
            def execute(self, value):
                pass
            def close(self):
                with open("closed", "w") as file:
                    file.write("yes")
        environment.from_source(Ticks).sink(Keep)
        environment.submit()
        """
    ).start()
    job.wait_for("running")
    process = job.process()
    job.kill_shim()
    asyncio.run(asyncio.wait_for(wait_exit(process), 60))
    assert find_processes(str(job.folder)) == []
    assert (job.folder / "work" / "closed").read_text() == "yes"


def test_a_corrupt_package(packaged: Make) -> None:
    """A package that cannot be opened fails the job before anything of it is run."""
    job = packaged("environment.from_batch([1]).sink(print); environment.submit()")
    package = job.folder / "package.zip"
    package.write_bytes(package.read_bytes()[:-40])
    failure = failure_of(job.start())
    assert failure.kind == "load"
    assert job.states()[-3:] == ["starting", "failing", "failed"]


def test_code_that_cannot_be_loaded(packaged: Make) -> None:
    """What goes wrong while the user's code is loaded is told with its traceback."""
    job = packaged(
        """
        class Broken:
            def __reduce__(self):
                return int, ("no number",)
        environment.from_batch([Broken()]).sink(print)
        environment.submit()
        """
    )
    failure = failure_of(job.start())
    assert failure.kind == "load"
    assert "ValueError" in (failure.traceback or "")


def test_an_unknown_backend(packaged: Make) -> None:
    """A backend that is not installed where the job runs is named, with those that are."""
    job = packaged("environment.from_batch([1]).sink(print); environment.submit()", backend="nowhere")
    failure = failure_of(job.start())
    assert failure.kind == "backend"
    assert "nowhere" in failure.message and "local" in failure.message


def test_modules_beside_the_script(packaged: Make, tmp_path: Any) -> None:
    """Modules of the user travel along and are imported in the job, not from the job's folder."""
    (tmp_path / "prices.py").write_text("import os\ndef price(n):\n    return n * 3\n")
    job = packaged(
        """
        import prices
        environment.from_batch([1, 2]).map(prices.price).sink(print)
        environment.submit()
        """
    )
    (job.folder / "work" / "json.py").write_text("raise RuntimeError('a file in the working folder was imported')")
    assert job.start().wait_ended()["state"] == "completed", job.log()
    assert job.log() == "3\n6\n"


def test_odd_output(packaged: Make) -> None:
    """Any text can be printed, log records come as lines, and a closed stream does no harm."""
    job = packaged(
        r"""
        import logging
        def speak(value):
            print("\\ud800 \u20ac")
            logging.getLogger("sage.function.speak").info("told")
            logging.getLogger("other").warning("bare")
            sys.stdout.close()
            return value
        environment.from_batch([1]).map(speak).sink(lambda value: None)
        environment.submit()
        """
    )
    assert job.start().wait_ended()["state"] == "completed", job.log()
    first, second, third = job.log().splitlines()
    assert first == "\\ud800 \u20ac"
    assert second.endswith("INFO sage.function.speak: told")
    assert third == "bare"


def test_threads_that_do_not_end(packaged: Make) -> None:
    """A job is completed though a thread of the user's would keep the interpreter: it gets the grace."""
    job = packaged(
        """
        def start(value):
            threading.Thread(target=threading.Event().wait, daemon=False).start()
        environment.from_batch([1]).map(start).sink(print)
        environment.submit()
        """,
        grace=0.5,
    )
    last = job.start().wait_ended()
    assert last["state"] == "completed"
    assert "terminated" in last["reason"]


def test_arguments_of_the_process_are_not_the_programs(packaged: Make) -> None:
    """Code that looks into sys.argv finds nothing there, above all not what the job process was started with."""
    job = packaged(
        """
        environment.from_batch([1]).map(lambda value: sys.argv[1:]).sink(print)
        environment.submit()
        """
    ).start()
    assert job.wait_ended()["state"] == "completed", job.log()
    assert job.log() == "[]\n"


def test_children_do_not_speak_for_the_job(packaged: Make) -> None:
    """The line to the shim is not handed on to what user code starts."""
    job = packaged(
        """
        import subprocess
        def run(value):
            return subprocess.run(["sh", "-c", "ls /proc/self/fd | tr '\\\\n' ' '; echo [$SAGE_SHIM_FD]"],
                                  capture_output=True, text=True, close_fds=False).stdout
        environment.from_batch([1]).map(run).sink(print)
        environment.submit()
        """
    )
    assert job.start().wait_ended()["state"] == "completed", job.log()
    assert job.log().split() == ["0", "1", "2", "3", "[]"]


def test_not_started_by_a_shim() -> None:
    """Started by hand, the job process says what it is and does nothing."""
    environment = {name: value for name, value in os.environ.items() if name != "SAGE_SHIM_FD"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sage.runtime.jobprocess", "/nowhere"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "sage run" in done.stderr
    assert done.stdout == ""


def test_light_to_import() -> None:
    """What the job process imports before it has opened anything leaves out what only some jobs need."""
    code = "import sys, sage.runtime.jobprocess.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    assert not loaded & {"asyncio", "pluggy", "cloudpickle", "ssl", "http", "yaml", "fastapi", "ray", "numpy"}
