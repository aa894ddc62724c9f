"""Ctrl-C on the thread that runs a job, or starts one: no line of the engine is cut by it.

Python raises `KeyboardInterrupt` between any two lines of the main thread. In user code that is what one wants; amidst
the engine it would leave a task half reported, or a thread half started. While a `Guard` is entered it is raised only
where user code runs or nothing is done but wait, and noted elsewhere, to be raised by `check`. When it is pressed again
before that, it is raised anywhere.

It does so on the main thread, where Python's own handler of the signal is in force, and lets any other be.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, TracebackType
from typing import Any, Self, TypeVar

__all__ = ["Guard", "check", "freely", "is_pressed", "put_off", "to_its_end"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

_OWN = "sage.core."
_NEVER_CUT = ("logging", "sage.core.connectors.files.sink", "sage.core.connectors.files.whole")
_LIKE_THE_USERS = ("sage.core.connectors.", "sage.core.testing", "sage.core.engine.generated")
_DEBUGGER = frozenset({"bdb", "cmd", "pdb"})

_guards: list[Guard] = []  # those entered; user code may run jobs of its own
_whole: set[CodeType] = set()


class _Pressed:
    """What was pressed on the main thread."""

    noted = False
    raised: KeyboardInterrupt | None = None


class Guard:
    """Ctrl-C is raised in here where it does no harm, and at the end if it is noted then."""

    def __init__(self) -> None:
        self.free = 0
        self._frame: FrameType | None = None

    def __enter__(self) -> Self:
        if _on_main_thread() and signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _on_signal):
            self._frame = sys._getframe(1)
            _guards.append(self)
            signal.signal(signal.SIGINT, _on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._frame is None:
            return
        self._frame = None
        _guards.remove(self)
        noted = _Pressed.noted
        if not _guards:
            _Pressed.noted, _Pressed.raised = False, None
            if signal.getsignal(signal.SIGINT) is _on_signal:  # else user code has set one of its own
                signal.signal(signal.SIGINT, signal.default_int_handler)
        if noted and not isinstance(error, KeyboardInterrupt):
            _raise()

    def is_in_user_code(self, frame: FrameType | None) -> bool:
        """Whether ``frame`` is user code or called by it, and may be cut."""
        found = False
        while frame is not None and frame is not self._frame:
            name = frame.f_globals.get("__name__")
            if frame.f_code in _whole or name in _NEVER_CUT:
                return False
            found = found or _belongs_to_user(frame, name)
            frame = frame.f_back
        return found


def check() -> None:
    """Raise `KeyboardInterrupt` if one is noted."""
    if _Pressed.noted and _on_main_thread():
        _raise()


@contextmanager
def freely() -> Iterator[None]:
    """Nothing is done in here that Ctrl-C must not cut: it is raised at once."""
    guard = _guards[-1] if _guards and _on_main_thread() else None
    if guard is None:
        yield
        return
    guard.free += 1
    try:
        check()
        yield
    finally:
        guard.free -= 1


def is_pressed(error: BaseException) -> bool:
    """Whether ``error`` is what Ctrl-C has raised, and not what user code has."""
    return error is _Pressed.raised


def put_off() -> None:
    """Note again what was raised: where it has come to it would do harm."""
    _Pressed.noted = True


def to_its_end(function: _Function) -> _Function:
    """User code that ``function`` calls is not cut."""
    _whole.add(function.__code__)
    return function


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _on_signal(number: int, frame: FrameType | None) -> None:
    # Without a guard, for instance when a debugger puts back the handler that it has found, it is what Python's is.
    guard = _guards[-1] if _guards else None
    if guard is None or guard.free or _Pressed.noted or guard.is_in_user_code(frame):
        _raise()
    _Pressed.noted = True


def _raise() -> None:
    _Pressed.noted = False
    error = KeyboardInterrupt()
    if _guards:
        _Pressed.raised = error
    raise error


def _belongs_to_user(frame: FrameType, name: object) -> bool:
    """Whether it is code of the user's, or stands for it; ``name`` is its module's."""
    if not isinstance(name, str) or name.startswith(_LIKE_THE_USERS):
        return True
    package = name.partition(".")[0]
    if package == "asyncio":
        return frame.f_code.co_name == "run_forever"  # coroutines run in there, or are waited for
    return not name.startswith(_OWN) and (package in _DEBUGGER or package not in sys.stdlib_module_names)
