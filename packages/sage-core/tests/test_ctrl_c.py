"""Ctrl-C at every moment of a job that the main thread runs or starts: it ends in good order and is told."""

from __future__ import annotations

import io
import pdb
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import LocalEnvironment, MapFunction
from sage.core.api._local_job import _unfinished
from sage.core.errors import JobFailedError

LIMIT = 60.0
OPENED: list[int] = []
CLOSED: list[int] = []


class Careful(MapFunction):
    """Tells when it is opened and closed."""

    def open(self, context: Any) -> None:
        OPENED.append(id(self))

    def execute(self, value: Any) -> Any:
        return value

    def close(self) -> None:
        CLOSED.append(id(self))


@pytest.fixture(autouse=True)
def _python_handles_ctrl_c() -> Iterator[None]:
    OPENED.clear()
    CLOSED.clear()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def press(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)


def job_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("sage-task")]


def all_end() -> None:
    deadline, pause = time.monotonic() + LIMIT, threading.Event()
    while job_threads() and time.monotonic() < deadline:  # one that is not yet known as started cannot be joined
        pause.wait(0.001)
    assert not job_threads()


def pressed_in_call(number: int, left: list[int]) -> Callable[..., None]:
    """A profile function that presses Ctrl-C where the engine makes its ``number``-th call, as if between two lines.

    Its own frame belongs to none: it is made with the name of a module of Python's.
    """
    source = """
def profile(frame, event, arg):
    if event == "call" and frame.f_globals.get("__name__", "").startswith(("sage.core.", "threading", "contextlib")):
        left[0] -= 1
        if left[0] == 0:
            setprofile(None)
            raise_signal(SIGINT)
"""
    left[:] = [number]
    names: dict[str, Any] = {"__name__": "contextlib", "left": left, "setprofile": sys.setprofile}
    names.update(raise_signal=signal.raise_signal, SIGINT=signal.SIGINT)
    exec(source, names)
    profile: Callable[..., None] = names["profile"]
    return profile


def test_ctrl_c_at_any_call_of_the_engine_ends_the_job_in_good_order(backend: str, tmp_path: Path) -> None:
    """All that was opened is closed, no file is left half written, no thread runs on, and Ctrl-C leaves `submit`."""
    number, step = 1, 23 if backend == "inline" else 11  # every single one takes half a minute
    left: list[int] = []
    while True:
        OPENED.clear()
        CLOSED.clear()
        env = LocalEnvironment("pressed", backend)
        env.from_batch(["a", "b"]).map(Careful).rebalance().map(Careful, parallelism=2).to_text(tmp_path / f"{number}")
        was_told = False
        sys.setprofile(pressed_in_call(number, left))
        try:
            env.submit(autostop=True, timeout=LIMIT)
        except KeyboardInterrupt:
            was_told = True
        finally:
            sys.setprofile(None)
        all_end()
        status = env.get_job_status()["status"]
        was_pressed = left[0] <= 0
        assert was_told == was_pressed, f"call {number}: {status}"
        assert not env.get_job_status().get("failure"), env.get_job_status()["failure"]
        assert status in ({"cancelled", "completed", "not_submitted"} if was_pressed else {"completed"})
        assert sorted(OPENED) == sorted(CLOSED), f"call {number}: {status}"
        assert not list(tmp_path.rglob("*.tmp")), f"call {number}: {status}"
        assert not _unfinished
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if not was_pressed:
            break
        number += step
    assert number > 50


@pytest.mark.parametrize("where", ["execute", "open", "close", "source"])
def test_ctrl_c_that_meets_user_code_on_inline_is_a_cancel(where: str) -> None:
    """Not a failure, neither of the function nor of SAGE: state, counts and closed functions say so."""

    class Pressed(Careful):
        def open(self, context: Any) -> None:
            super().open(context)
            if where == "open":
                press()

        def execute(self, value: Any) -> Any:
            if where == "execute" and value == 2:
                press()
            return value

        def close(self) -> None:
            super().close()
            if where == "close":
                press()

    def numbers() -> Iterator[int]:
        yield 1
        yield 2
        if where == "source":
            press()

    env = LocalEnvironment("pressed", "inline")
    env.from_batch(numbers).map(Pressed).rebalance().map(Careful, parallelism=2).sink(str)
    with pytest.raises(KeyboardInterrupt):
        env.submit()
    status = env.get_job_status()
    assert status["status"] == "cancelled"
    assert not status.get("failure")
    assert sorted(OPENED) == sorted(CLOSED)
    assert len(OPENED) == 3 or where == "open"


def test_what_user_code_raises_itself_is_a_failure_though_it_looks_like_ctrl_c() -> None:
    """Nobody has pressed anything."""

    def leave(value: int) -> int:
        raise KeyboardInterrupt

    env = LocalEnvironment("raised", "inline")
    env.from_batch([1]).map(leave).sink(str)
    with pytest.raises((KeyboardInterrupt, JobFailedError)):
        env.submit()
    assert env.get_job_status()["status"] == "failed"


def test_user_code_may_take_ctrl_c_for_itself() -> None:
    """What it catches has not left it, and the job goes on."""
    caught: list[int] = []

    def catch(value: int) -> int:
        try:
            press()
        except KeyboardInterrupt:
            caught.append(value)
        return value

    env = LocalEnvironment("caught", "inline")
    out = env.from_batch([1, 2]).map(catch).collect()
    env.submit()
    assert env.get_job_status()["status"] == "completed"
    assert list(out) == caught == [1, 2]


def test_a_handler_of_the_users_own_is_let_be(backend: str) -> None:
    """Who handles the signal decides what it means."""
    heard: list[int] = []

    def hear(*_: object) -> None:
        heard.append(1)

    signal.signal(signal.SIGINT, hear)
    env = LocalEnvironment("heard", backend)
    env.from_batch([1]).map(press).sink(str)
    env.submit(autostop=True, timeout=LIMIT)
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is hear
    assert heard == [1]


def test_ctrl_c_in_a_job_within_a_job_ends_both() -> None:
    """The inner one is cancelled, and what leaves it cancels the outer one."""
    inner: list[LocalEnvironment] = []

    def run(value: int) -> int:
        env = LocalEnvironment("inner", "inline")
        inner.append(env)
        env.from_batch([1]).map(Careful).map(press).sink(str)
        env.submit()
        return value

    env = LocalEnvironment("outer", "inline")
    env.from_batch([1, 2]).map(Careful).map(run).sink(str)
    with pytest.raises(KeyboardInterrupt):
        env.submit()
    assert [item.get_job_status()["status"] for item in (*inner, env)] == ["cancelled", "cancelled"]
    assert len(OPENED) == 2 and sorted(OPENED) == sorted(CLOSED)


@pytest.mark.parametrize("handled", ["by Python", "by the user"])
def test_ctrl_c_while_a_thread_starts_is_ctrl_c(monkeypatch: pytest.MonkeyPatch, handled: str) -> None:
    """A thread that runs already, but is not yet known as started, cannot be joined; it ends by itself."""
    wait, set_ = threading.Event.wait, threading.Event.set
    main, left = threading.main_thread(), [3]
    was_pressed = threading.Event()

    def wait_pressed(event: threading.Event, timeout: float | None = None) -> bool:
        if threading.current_thread() is main and sys._getframe(1).f_code.co_name == "start":
            left[0] -= 1
            if left[0] == 0:
                if handled == "by the user":
                    raise KeyboardInterrupt
                press()
        return wait(event, timeout)

    def set_late(event: threading.Event) -> None:
        if left[0] <= 1 and sys._getframe(1).f_code.co_name == "_bootstrap_inner" and not was_pressed.is_set():
            wait(was_pressed, 0.2)
        set_(event)

    monkeypatch.setattr(threading.Event, "wait", wait_pressed)
    monkeypatch.setattr(threading.Event, "set", set_late)
    env = LocalEnvironment("starting")
    env.from_batch(range(10)).map(Careful).rebalance().map(Careful).rebalance().sink(str)
    with pytest.raises(KeyboardInterrupt):
        env.submit(autostop=True, timeout=LIMIT)
    monkeypatch.undo()
    set_(was_pressed)
    assert left == [0] or left[0] < 0
    all_end()
    assert env.get_job_status()["status"] in ("cancelled", "not_submitted")
    assert sorted(OPENED) == sorted(CLOSED)
    assert not _unfinished


class Answers:
    """What somebody types at the debugger's prompt: a line, or Ctrl-C."""

    def __init__(self, *lines: str) -> None:
        self._lines = iter(lines)

    def readline(self) -> str:
        line = next(self._lines)
        if line == "^C":
            press()
        return line


def test_the_debuggers_own_ctrl_c_works_in_a_function() -> None:
    """At its prompt and, after ``continue``, in the program; neither ends the job."""
    said = io.StringIO()
    typed: Any = Answers("^C", "c\n", "c\n")
    debugger = pdb.Pdb(stdin=typed, stdout=said, readrc=False)

    def debugged(value: int) -> int:
        if value == 1:
            debugger.set_trace()
        else:
            press()
        return value

    env = LocalEnvironment("debugged", "inline")
    out = env.from_batch([1, 2]).map(debugged).collect()
    try:
        env.submit()
    finally:
        sys.settrace(None)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert list(out) == [1, 2]
    assert "--KeyboardInterrupt--" in said.getvalue()
    assert "Program interrupted" in said.getvalue()
