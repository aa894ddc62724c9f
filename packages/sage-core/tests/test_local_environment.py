"""A job in the user's own process: submit, wait, stop, close; what happens at the end of a program, and Ctrl-C."""

from __future__ import annotations

import itertools
import logging
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import STOP, Job, LocalEnvironment, MapFunction, SourceFunction
from sage.core.api._local_job import _unfinished
from sage.core.engine.host import TaskHost as LocalHost
from sage.core.engine.life import TaskLife
from sage.core.errors import (
    AlreadySubmittedError,
    GraphError,
    JobFailedError,
    WaitTimeoutError,
    WrongStateError,
)
from sage.core.models import ENDED_STATES, JobInfo

LIMIT = 60.0
GOING_ON = ("starting", "running")


def same(value: Any) -> Any:
    return value


class Gate:
    """Lets nothing through before it is opened, and says when it was reached."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, value: Any) -> Any:
        self.reached.set()
        assert self.opened.wait(LIMIT)
        return value


def fail(value: Any) -> Any:
    raise ValueError("no luck")


def failing() -> LocalEnvironment:
    env = LocalEnvironment("sad")
    env.from_batch([1]).sink(fail)
    return env


OPENED = threading.Event()
CLOSED: list[str] = []


class Ever(SourceFunction):
    """Never ends; says that it was opened, and writes down that it was closed."""

    def open(self, context: object) -> None:
        OPENED.set()

    def execute(self) -> Any:
        return None

    def close(self) -> None:
        CLOSED.append("source")


@pytest.fixture(autouse=True)
def _nothing_closed() -> None:
    OPENED.clear()
    CLOSED.clear()


@contextmanager
def unbounded() -> Iterator[LocalEnvironment]:
    env = LocalEnvironment("ever")
    env.from_source(Ever).sink(same)
    yield env
    if env.get_job_status()["status"] != "not_submitted":
        env.close()


def test_the_life_of_a_job(backend: str) -> None:
    """Not submitted, then a job whose text is its uuid; completed, with its times; closing twice is fine."""
    out: list[int] = []
    env = LocalEnvironment("shop", backend=backend)
    assert env.get_job_status() == {"status": "not_submitted", "uuid": env.env_uuid, "name": "shop"}
    env.from_batch([1, 2]).sink(out.append)
    assert out == []
    job = env.submit(autostop=True, timeout=LIMIT)
    assert isinstance(job, Job)
    assert str(job) == job.uuid == env.env_uuid
    assert "shop" in repr(job)
    status = env.get_job_status()
    assert status["status"] == "completed"
    assert (status["name"], status["uuid"], status["backend"]) == ("shop", env.env_uuid, backend)
    assert status["running"] is False
    assert status["failure"] is None
    assert set(status) == {"status", "blocked", "skipped", "dead_lettered", *JobInfo.__dataclass_fields__}
    assert (status["number"], status["attempt"], status["blocked"]) == (None, 1, [])
    assert status["created_at"] <= status["started_at"] <= status["ended_at"]
    assert job.wait() == job.status()
    assert out == [1, 2]
    env.close()
    env.close()


def test_submit_returns_before_the_job_is_done() -> None:
    """Without autostop the caller goes on; `wait` waits."""
    gate = Gate()
    env = LocalEnvironment()
    env.from_batch([1]).sink(gate)
    job = env.submit()
    assert gate.reached.wait(LIMIT)
    assert job.status()["status"] == "running"
    assert job.status()["running"] is True
    gate.opened.set()
    assert job.wait(LIMIT)["status"] == "completed"


def test_one_environment_is_one_job(backend: str) -> None:
    """A second submit names the first job, whether that completed or failed."""
    env = LocalEnvironment(backend=backend)
    env.from_batch([1]).sink(same)
    env.submit(autostop=True, timeout=LIMIT)
    with pytest.raises(AlreadySubmittedError, match=env.env_uuid) as caught:
        env.submit()
    assert caught.value.job == env.env_uuid
    env = LocalEnvironment(backend=backend)
    env.from_batch([1]).sink(fail)
    with pytest.raises(JobFailedError):
        env.submit(autostop=True, timeout=LIMIT)
    with pytest.raises(AlreadySubmittedError):
        env.submit()


def test_what_is_declared_after_submit_is_refused(backend: str) -> None:
    """It would be in no job: sources, operators and services say so at once."""
    env = LocalEnvironment(backend=backend)
    stream = env.from_batch([1])
    stream.sink(same)
    env.submit(autostop=True, timeout=LIMIT)
    for declare in (lambda: env.from_batch([2]), lambda: stream.map(same), lambda: env.register_service("it", Gate)):
        with pytest.raises(AlreadySubmittedError, match=env.env_uuid) as caught:
            declare()
        assert caught.value.hint == "one environment is one job: declare all of it before submit()"


def test_what_was_refused_may_be_submitted_once_mended() -> None:
    """A pipeline that could not run has used up nothing."""
    out: list[int] = []
    env = LocalEnvironment()
    stream = env.from_batch([1])
    with pytest.raises(GraphError):
        env.submit()
    stream.sink(out.append)
    env.submit(autostop=True, timeout=LIMIT)
    assert out == [1]


def test_what_cannot_be_copied_for_each_subtask_is_refused_at_submit(backend: str) -> None:
    """Instances and constructor arguments must pickle here as anywhere; the way to the culprit is named."""

    class Locked(MapFunction):
        def __init__(self, lock: Any = None) -> None:
            self.lock = lock

        def execute(self, value: Any) -> Any:
            return value

    env = LocalEnvironment(backend=backend)
    env.from_batch([1]).map(Locked(threading.Lock())).map(Locked, threading.Lock()).sink(same)
    with pytest.raises(GraphError, match="lock") as caught:
        env.submit()
    assert len(caught.value.problems) == 2
    assert "test_local_environment.py" in str(caught.value.problems[0].where)
    assert env.get_job_status()["status"] == "not_submitted"


def test_autostop_that_takes_too_long_raises_and_the_job_goes_on() -> None:
    """The error names the job; afterwards it can be waited for again."""
    gate = Gate()
    out: list[int] = []
    env = LocalEnvironment("slow")
    env.from_batch([1]).map(gate).sink(out.append)
    with pytest.raises(WaitTimeoutError, match=r"'slow' .* has not ended within 0\.01 s; it goes on") as caught:
        env.submit(autostop=True, timeout=0.01)
    assert caught.value.job == env.env_uuid
    assert env.get_job_status()["status"] in GOING_ON
    gate.opened.set()
    env.close()
    assert out == [1]


def test_a_time_out_that_leaves_with_leaves_the_job_running() -> None:
    """The exception says that the job goes on, and so it does, whether `submit` or `wait` has raised it."""
    for wait_apart in (False, True):
        gate = Gate()
        out: list[int] = []
        with pytest.raises(WaitTimeoutError, match="it goes on until it is done"), LocalEnvironment("slow") as env:
            env.from_batch([1, 2]).map(gate).sink(out.append)
            job = env.submit(autostop=not wait_apart, timeout=0.01)
            job.wait(0.01)
        assert env.get_job_status()["status"] in GOING_ON
        gate.opened.set()
        env.close()
        assert (env.get_job_status()["status"], out) == ("completed", [1, 2])


def test_the_time_out_of_another_job_cancels_like_any_exception() -> None:
    """Only a job that the exception speaks of goes on."""
    gate = Gate()
    outer, inner = LocalEnvironment("outer"), LocalEnvironment("inner")
    outer.from_source(lambda: None).sink(print)
    inner.from_batch([1]).map(gate).sink(print)
    with pytest.raises(WaitTimeoutError, match="'inner'"), outer, inner:
        outer.submit()
        inner.submit(autostop=True, timeout=0.01)
    assert outer.get_job_status()["status"] == "cancelled"
    assert inner.get_job_status()["status"] in GOING_ON
    gate.opened.set()
    inner.close()


def test_a_time_out_that_leaves_with_ends_a_job_in_the_callers_thread() -> None:
    """Nobody would move it any more."""
    numbers = itertools.count()
    with (
        pytest.raises(WaitTimeoutError, match="it goes on when it is waited for again"),
        LocalEnvironment(backend="inline") as env,
    ):
        env.from_source(lambda: next(numbers)).sink(lambda value: None)
        env.submit(autostop=True, timeout=0.05)
    assert env.get_job_status()["status"] == "cancelled"


def test_a_time_out_that_ends_the_program_leaves_the_job_its_time(tmp_path: Path) -> None:
    """The program tells the exception, stays until the bounded job is done, and ends with 1."""
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import threading
            from sage.core.api import LocalEnvironment

            told = threading.Event()

            def slow(value):
                told.wait()
                return value

            def tell(*given):
                print("told", flush=True)
                told.set()

            sys.excepthook = tell
            with LocalEnvironment("long") as env:
                env.from_batch([1]).map(slow).sink(print)
                env.submit(autostop=True, timeout=0.01)
            """
        )
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (1, "told\n1\n", "")


def test_inline_keeps_its_time_limit_and_goes_on_when_waited_for_again() -> None:
    """`timeout` is for autostop; a job on `inline` moves only while somebody waits."""
    numbers = itertools.count()
    out: list[int] = []
    env = LocalEnvironment(backend="inline")
    env.from_source(lambda: next(numbers)).sink(out.append)
    with pytest.raises(WaitTimeoutError):
        env.submit(autostop=True, timeout=0.05)
    so_far = len(out)
    assert out == list(range(so_far))
    env.stop()
    env.close()
    assert len(out) == so_far
    assert env.get_job_status()["status"] == "cancelled"


def test_an_unbounded_source_on_inline_ends_by_itself_or_by_stop() -> None:
    """Without autostop, `submit` on `inline` runs until the source says `STOP`, whatever time that takes."""
    answers = [1, None, 2, STOP]
    out: list[int] = []
    env = LocalEnvironment(backend="inline")
    env.from_source(lambda: answers.pop(0)).sink(out.append)
    env.submit(timeout=0)
    assert out == [1, 2]


def test_stop_ends_a_job_cancelled() -> None:
    """An unbounded job stops when told to; what it opened is closed; its end is no failure."""
    with unbounded() as env:
        with pytest.raises(WrongStateError, match="was not submitted"):
            env.stop()
        job = env.submit()
        assert OPENED.wait(LIMIT)
        env.stop()
        env.stop()
        assert job.wait(LIMIT)["status"] == "cancelled"
        assert CLOSED == ["source"]
        env.stop()
        assert job.status()["status"] == "cancelled"


def test_what_a_local_job_does_not_offer_says_so() -> None:
    """No log of its own, nothing to continue from, no deletion while it runs."""
    with unbounded() as env:
        job = env.submit()
        with pytest.raises(WrongStateError, match="own output"):
            job.logs()
        with pytest.raises(WrongStateError, match="nothing was kept"):
            job.continue_()
        with pytest.raises(WrongStateError, match=r"is (starting|running)"):
            job.delete()
        assert OPENED.wait(LIMIT)
        job.delete(force=True)
        assert CLOSED == ["source"]
        assert env.get_job_status() == {"status": "deleted", "uuid": job.uuid, "name": "ever"}


def test_close_waits_for_a_bounded_job_and_stops_an_unbounded_one() -> None:
    """As `with` does."""
    out: list[int] = []
    with LocalEnvironment() as env, unbounded() as other:
        env.from_batch(range(1000)).map(same, parallelism=2).sink(out.append)
        env.submit()
        other.submit()
        assert OPENED.wait(LIMIT)
    assert len(out) == 1000
    assert other.get_job_status()["status"] == "cancelled"
    assert CLOSED == ["source"]
    LocalEnvironment().close()


def test_that_an_unbounded_job_is_cancelled_is_told_unless_it_is_meant(caplog: pytest.LogCaptureFixture) -> None:
    """Who forgot to wait for a source that would have ended by itself reads why nothing came of it."""
    with unbounded() as env, env:
        env.submit()
    (record,) = caplog.records
    assert record.getMessage().startswith("job 'ever' is cancelled: nobody waits for it")
    caplog.clear()
    with unbounded() as env, env:
        env.submit()
        env.stop()
    assert caplog.records == []


def test_leaving_without_submit_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Unless there is nothing to run, the pipeline was only looked at, or an exception says more."""
    with LocalEnvironment("forgotten") as env:
        env.from_batch([1]).sink(same)
    (record,) = caplog.records
    assert record.getMessage() == "nothing of 'forgotten' has run: env.submit() was not called before leaving it"
    caplog.clear()
    with LocalEnvironment():
        pass
    with LocalEnvironment() as env:
        env.from_batch([1]).sink(same)
        env.explain()
    with pytest.raises(LookupError), LocalEnvironment() as env:
        env.from_batch([1]).sink(same)
        raise LookupError
    assert caplog.records == []


def test_close_raises_what_nobody_was_told_of() -> None:
    """A failure that no `wait` has raised is raised by `close`; one that has been is not repeated."""
    env = failing()
    env.submit()
    with pytest.raises(JobFailedError, match="no luck"):
        env.close()
    env.close()

    env = failing()
    with pytest.raises(JobFailedError):
        env.submit(autostop=True, timeout=LIMIT)
    env.close()

    with pytest.raises(JobFailedError), failing() as env:
        env.submit()


def test_close_raises_the_failure_of_an_unbounded_job() -> None:
    """Stopping a job that has failed before does not hide that."""
    env = LocalEnvironment()
    failed = threading.Event()

    def source() -> Any:
        failed.set()
        raise ValueError("no luck")

    env.from_source(source).sink(same)
    job = env.submit()
    assert failed.wait(LIMIT)
    while job.status()["status"] not in ENDED_STATES:
        threading.Event().wait(0.01)
    with pytest.raises(JobFailedError, match="no luck"):
        env.close()


def test_an_exception_that_leaves_with_cancels_the_job() -> None:
    """The exception goes on; a failure of the job does not take its place."""
    gate = Gate()
    env = LocalEnvironment()
    env.from_batch(itertools.count()).map(gate).sink(same)
    with pytest.raises(LookupError), env:
        env.submit()
        assert gate.reached.wait(LIMIT)
        gate.opened.set()
        raise LookupError
    assert env.get_job_status()["status"] == "cancelled"

    sad = failing()
    with pytest.raises(LookupError), sad:
        job = sad.submit()
        while job.status()["status"] not in ENDED_STATES:
            threading.Event().wait(0.01)
        raise LookupError


class FailsToOpen:
    def open(self, context: object) -> None:
        raise OSError("no luck")

    def execute(self, value: int) -> int:
        return value


def test_a_failure_that_nobody_waits_for_is_logged_and_one_that_is_waited_for_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is lost, and nothing is told twice; a wait that was given up before does not count."""
    env = failing()
    with pytest.raises(JobFailedError):
        env.submit(autostop=True, timeout=LIMIT)
    for backend in ("inline", "local"):
        env = LocalEnvironment("opens", backend)  # it has failed before `submit` begins to wait
        env.from_batch([1]).map(FailsToOpen).sink(fail)
        with pytest.raises(JobFailedError):
            env.submit(autostop=True, timeout=LIMIT)
    assert caplog.records == []

    gate = Gate()
    env = LocalEnvironment("later")
    env.from_batch([1]).map(gate).sink(fail)
    job = env.submit()
    with pytest.raises(WaitTimeoutError):
        job.wait(0.01)
    gate.opened.set()
    while job.status()["status"] not in ENDED_STATES:
        threading.Event().wait(0.01)
    assert [item.levelno for item in caplog.records] == [logging.ERROR]
    message = caplog.records[0].getMessage()
    for part in ("job 'later'", env.env_uuid, "no luck", "in fail"):
        assert part in message


def test_every_waiter_is_told() -> None:
    """Several threads that wait for one job all get its failure."""
    gate = Gate()
    env = LocalEnvironment()
    env.from_batch([1]).map(gate).sink(fail)
    job = env.submit()
    told: list[BaseException] = []

    def wait() -> None:
        try:
            job.wait(LIMIT)
        except JobFailedError as error:
            told.append(error)

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    gate.opened.set()
    for thread in threads:
        thread.join(LIMIT)
    assert len(told) == 5


def test_capture_mode_writes_a_package_instead_of_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each submit is one numbered package; the job that stands for it is not there yet."""
    monkeypatch.setenv("SAGE_CAPTURE", str(tmp_path))
    uuids = []
    for number in range(2):
        env = LocalEnvironment(f"job {number}", backend="inline")
        env.from_batch([1]).print()
        job = env.submit(autostop=True)
        uuids.append(env.env_uuid)
        assert job.wait()["status"] == env.get_job_status()["status"] == "submitted"
        assert "sends it once the program has ended" in job.status()["reason"]
        assert job.status()["backend"] == "inline"
        assert list(job.logs()) == []
        for act in (job.stop, job.continue_, job.delete):
            with pytest.raises(WrongStateError, match="submitted when the script has ended"):
                act()
        with pytest.raises(AlreadySubmittedError):
            env.submit()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{n:03d}-{u}.sagepkg" for n, u in enumerate(uuids, 1)]
    assert capfd.readouterr() == ("", "")


class Program:
    """A script in a process of its own."""

    def __init__(self, script: str) -> None:
        head = """
        import itertools, sys, threading, time
        from sage.core.api import *
        import sage.core.api._local_job
        sage.core.api._local_job.GRACE = 10_000.0  # what should not wait for it would never end

        begun = threading.Event()

        def say(text):
            sys.stdout.write(f"{text}\\n")
            sys.stdout.flush()

        class Ever(SourceFunction):
            said = False
            def execute(self):
                if not self.said:
                    self.said = True
                    say("ready")
                    begun.set()
            def close(self):
                say("closed")

        class Stuck(MapFunction):
            def execute(self, value):
                say("ready")
                threading.Event().wait()
            def close(self):
                say("closed")

        class Slow(MapFunction):
            def execute(self, value):
                if value == 0:
                    say("ready")
                time.sleep(0.0001)
                return value
            def close(self):
                say("closed")
        """
        source = textwrap.dedent(head) + textwrap.dedent(script)
        self.process = subprocess.Popen(
            [sys.executable, "-c", source],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out = ""

    def until(self, line: str) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.out += text
            if text.strip() == line:
                return
        raise AssertionError(f"it ended without saying {line!r}: {self.out}\n{self.ends()[2]}")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def ends(self) -> tuple[int, str, str]:
        """How it ended: status, output, errors."""
        rest, errors = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, self.out + rest, errors

    def remove(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def program() -> Iterator[Callable[[str], Program]]:
    """Starts programs; none outlives the test."""
    started: list[Program] = []

    def start(script: str) -> Program:
        started.append(Program(script))
        return started[-1]

    yield start
    for item in started:
        item.remove()


Start = Callable[[str], Program]


def test_a_bounded_job_keeps_the_program_alive(program: Start) -> None:
    """The script is over at once; its job is done all the same, and the status is the program's own."""
    status, out, errors = program(
        """
        env = LocalEnvironment()
        env.from_batch(range(2000)).map(Slow).map(str, parallelism=2).print()
        env.submit()
        del env
        say("over")
        sys.exit(3)
        """
    ).ends()
    assert (status, errors) == (3, "")
    assert sorted(map(int, set(out.split()) - {"over", "ready", "closed"})) == list(range(2000))


def test_an_unbounded_job_ends_with_the_program(program: Start) -> None:
    """It is stopped in good order, which is told."""
    running = program(
        """
        env = LocalEnvironment("ever")
        env.from_source(Ever).print()
        env.submit()
        begun.wait()
        say("over")
        """
    )
    status, out, errors = running.ends()
    assert status == 0
    assert errors.startswith("job 'ever' is cancelled: nobody waits for it")
    assert len(errors.splitlines()) == 1
    assert out.splitlines()[-1] == "closed"


def test_a_failure_at_the_end_of_a_program_is_on_stderr(program: Start) -> None:
    """Nobody waits, nobody logs: the failure is shown with its traceback."""
    status, _, errors = program(
        """
        env = LocalEnvironment("sad")
        env.from_batch([1]).map(lambda value: 1 / 0, name="divide").print()
        env.submit()
        """
    ).ends()
    assert status == 0
    assert "job 'sad'" in errors
    assert "map 'divide' failed: ZeroDivisionError" in errors
    assert "Traceback" in errors


@pytest.mark.parametrize("backend", ["local", "inline"])
@pytest.mark.parametrize("way", ["autostop", "wait", "with", "at exit"])
def test_ctrl_c_once_cancels_in_good_order(program: Start, backend: str, way: str) -> None:
    """Everything is closed, and the program ends as Ctrl-C ends programs."""
    if backend == "inline" and way == "at exit":
        pytest.skip("on inline nothing is left at exit")
    running = program(
        f"""
        env = LocalEnvironment(backend={backend!r})
        env.from_batch(itertools.count()).map(Slow).sink(id)
        way = {way!r}
        if way == "autostop":
            env.submit(autostop=True, timeout=None)
        elif way == "wait":
            env.submit().wait()
        elif way == "with":
            with env:
                env.submit()
        else:
            env.submit()
        """
    )
    running.until("ready")
    running.interrupt()
    status, out, errors = running.ends()
    assert status == -signal.SIGINT
    assert out.splitlines() == ["ready", "closed"]
    assert ("KeyboardInterrupt" in errors) == (way != "at exit")


def test_ctrl_c_while_a_source_waits_on_inline(program: Start) -> None:
    """A source that has nothing is interrupted, too."""
    running = program(
        """
        env = LocalEnvironment(backend="inline")
        env.from_source(Ever).sink(id)
        env.submit()
        """
    )
    running.until("ready")
    running.interrupt()
    status, out, _ = running.ends()
    assert status == -signal.SIGINT
    assert out.splitlines() == ["ready", "closed"]


@pytest.mark.parametrize("way", ["autostop", "with", "elsewhere", "at exit"])
def test_ctrl_c_twice_leaves_at_once(program: Start, way: str) -> None:
    """User code that does not return is not waited for."""
    running = program(
        f"""
        env = LocalEnvironment()
        env.from_batch(itertools.count()).map(Stuck).sink(id)
        env.from_batch(itertools.count()).map(Slow).sink(id)
        way = {way!r}
        if way == "autostop":
            env.submit(autostop=True, timeout=None)
        elif way == "with":
            with env:
                env.submit().wait()
        elif way == "elsewhere":
            with env:
                env.submit()
                while True:
                    time.sleep(0.1)
        else:
            env.submit()
        """
    )
    running.until("ready")
    running.until("ready")
    running.interrupt()
    running.until("closed")
    running.interrupt()
    status, out, _ = running.ends()
    assert status == -signal.SIGINT
    assert out.splitlines() == ["ready", "ready", "closed"]


def test_a_program_that_ctrl_c_ended_does_not_wait_for_its_jobs(program: Start) -> None:
    """Ctrl-C that meets the program elsewhere cancels its jobs as well, bounded ones included."""
    running = program(
        """
        env = LocalEnvironment()
        env.from_batch(itertools.count()).map(Slow).sink(id)
        env.submit()
        while True:
            time.sleep(0.1)
        """
    )
    running.until("ready")
    running.interrupt()
    status, out, errors = running.ends()
    assert status == -signal.SIGINT
    assert out.splitlines() == ["ready", "closed"]
    assert "KeyboardInterrupt" in errors


def test_what_else_runs_at_exit_still_runs_after_ctrl_c(program: Start) -> None:
    """The program's own functions at exit are not skipped."""
    running = program(
        """
        import atexit
        atexit.register(say, "tidied")
        env = LocalEnvironment()
        env.from_batch(itertools.count()).map(Slow).sink(id)
        env.submit()
        """
    )
    running.until("ready")
    running.interrupt()
    status, out, _ = running.ends()
    assert status == -signal.SIGINT
    assert out.splitlines() == ["ready", "closed", "tidied"]


def test_many_jobs_at_the_end_of_a_program(program: Start) -> None:
    """All bounded ones are waited for, however they end meanwhile."""
    status, out, errors = program(
        """
        for number in range(30):
            env = LocalEnvironment(str(number))
            env.from_batch(range(number * 20)).reduce(lambda left, right: right, final=True).print()
            env.submit()
        """
    ).ends()
    assert (status, errors) == (0, "")
    assert sorted(map(int, out.split())) == [number * 20 - 1 for number in range(1, 30)]


def test_a_child_does_not_wait_for_the_jobs_of_its_parent(program: Start) -> None:
    """A forked process has none of the threads, and ends."""
    status, out, _ = program(
        """
        import os, warnings
        warnings.simplefilter("ignore")
        env = LocalEnvironment()
        env.from_source(Ever).sink(id)
        env.submit()
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            say("child is gone")
        """
    ).ends()
    assert status == 0
    assert "child is gone" in out


def test_jobs_may_run_inside_jobs(backend: str) -> None:
    """User code may run pipelines of its own."""

    def total(count: int) -> int:
        out: list[int] = []
        env = LocalEnvironment(backend=backend)
        env.from_batch(range(count)).reduce(lambda left, right: left + right, final=True).sink(out.append)
        env.submit(autostop=True, timeout=LIMIT)
        return out[0]

    found: list[int] = []
    env = LocalEnvironment(backend=backend)
    env.from_batch([3, 4, 5]).map(total, parallelism=2).sink(found.append)
    env.submit(autostop=True, timeout=LIMIT)
    assert sorted(found) == [3, 6, 10]


@pytest.mark.parametrize("where", ["start of a thread", "after the start"])
def test_ctrl_c_during_submit_leaves_nothing_running(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Threads that had been started end again, and what they opened is closed."""
    start, send = threading.Thread.start, LocalHost.send
    deploy, open_task, open_tasks = LocalHost.deploy, TaskLife.open, threading.Semaphore(0)

    def interrupted_start(thread: threading.Thread) -> None:
        start(thread)
        if thread.name.startswith("sage-task-1.1"):
            assert OPENED.wait(LIMIT)
            raise KeyboardInterrupt

    def interrupted_send(host: LocalHost, task: Any, command: Any) -> None:
        send(host, task, command)
        raise KeyboardInterrupt

    def told_open(life: TaskLife) -> bool:
        has_opened = open_task(life)
        open_tasks.release()
        return has_opened

    def deploy_all(host: LocalHost) -> None:
        """Ctrl-C is raised where the main thread is: let it be the one that sends."""
        deploy(host)
        for _ in host.placement():
            assert open_tasks.acquire(timeout=LIMIT)

    if where == "after the start":
        monkeypatch.setattr(LocalHost, "send", interrupted_send)
        monkeypatch.setattr(LocalHost, "deploy", deploy_all)
        monkeypatch.setattr(TaskLife, "open", told_open)
    else:
        monkeypatch.setattr(threading.Thread, "start", interrupted_start)
    env = LocalEnvironment()
    env.from_source(Ever).map(same, parallelism=3).sink(same)
    with pytest.raises(KeyboardInterrupt), env:
        env.submit()
    monkeypatch.undo()
    for thread in threading.enumerate():
        if thread.name.startswith("sage-task"):
            thread.join(LIMIT)
            assert not thread.is_alive()
    assert CLOSED == ["source"]
    assert not _unfinished
