"""An event loop that a task's own thread runs while the task waits: no second thread, and nothing to hand over."""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from sage.core.engine.clock import WALL, Clock
from sage.core.engine.links import Signal
from sage.core.engine.threads import Threads

__all__ = ["LoopSignal", "whereabouts"]


_ROUNDS = selectors.DefaultSelector is getattr(selectors, "EpollSelector", None)
"""Whether the selector waits for whole milliseconds, always more than it is asked for."""

_FINE = 0.05
"""Seconds: a wait below that is not rounded up, so that a short sleep of a coroutine is no longer than need be."""

_SELECTABLE = 1024  # file descriptors below that


_Answer = TypeVar("_Answer")
_Arguments = TypeVarTuple("_Arguments")


class _Selector(selectors.DefaultSelector):
    """Knows since when callbacks of the loop run: while it waits for news, none does. Waits by the task's clock.

    Attributes:
        since: when they began to, by the clock; None while it waits.
        busy: seconds that they ran before, by the clock.
        calls: how many calls on threads coroutines wait for.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._now = clock.now
        self.since: float | None = None
        self.busy = 0.0
        self.calls = 0

    @property
    def hears_outside(self) -> bool:
        """Whether coroutines wait for a thread or a file, and so for time that no clock of ours can let jump."""
        return self.calls > 0 or len(self.get_map()) > 1  # one is the loop's own

    @property
    def has_news(self) -> bool:
        return bool(super().select(0))

    def leave(self) -> None:
        """No callback runs any more."""
        if self.since is not None:
            self.busy += self._now() - self.since
            self.since = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.leave()
        if self._clock is WALL or not timeout:
            found = self._await(timeout)
        elif not (found := super().select(0)):
            found = self._pass(timeout)
        self.since = self._now()
        return found

    def _await(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        if _ROUNDS and timeout is not None and 0 < timeout < _FINE and self.fileno() < _SELECTABLE:
            select.select((self.fileno(),), (), (), timeout)
            timeout = 0
        return super().select(timeout)

    def _pass(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        """Let the clock jump; while something outside is waited for, it goes no faster than time does there."""
        found: list[tuple[selectors.SelectorKey, int]] = []
        if self.hears_outside:
            began = WALL.now()
            if found := self._await(seconds):
                seconds = min(seconds, WALL.now() - began)
        self._clock.wait(_NEVER, seconds)
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Clock) -> None:
        self.selector = _Selector(clock)
        self._now = clock.now
        super().__init__(self.selector)

    def time(self) -> float:
        return self._now()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Arguments], _Answer], *args: *_Arguments
    ) -> asyncio.Future[_Answer]:
        answer = super().run_in_executor(executor, _without_stop, func, *args)
        self.selector.calls += 1
        answer.add_done_callback(self._answered)
        return answer

    def _answered(self, _: object) -> None:
        self.selector.calls -= 1


def _without_stop(function: Callable[[*_Arguments], _Answer], *args: *_Arguments) -> _Answer:
    """Call a function for a coroutine: no future can carry `StopIteration`, so that the coroutine would never go on."""
    try:
        return function(*args)
    except StopIteration as error:
        raise RuntimeError("the function that was called on a thread raised StopIteration") from error


_NEVER = Signal()


def _swap_task(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None) -> asyncio.Task[Any] | None:
    """Make ``task`` the running one of a loop, while Python would let no other be stepped; returns the one before."""
    swap = getattr(asyncio.tasks, "_swap_current_task", None)
    before: asyncio.Task[Any] | None = None if swap is None else swap(loop, task)
    return before


class LoopSignal(Signal):
    """A signal whose waiting thread runs coroutines meanwhile.

    Between `open` and `close`, to wait is to run the loop; before and after it is a plain signal. All but `set` is
    called by the thread that waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self._loop: _Loop | None = None
        self._waiting = False
        self._was_busy = 0.0

    @property
    def since(self) -> float | None:
        """When the code that the loop runs now was entered, None if it waits or does not run."""
        loop = self._loop
        return None if loop is None else loop.selector.since

    @property
    def busy(self) -> float:
        loop = self._loop
        return self._was_busy if loop is None else loop.selector.busy

    def open(self, name: str, threads: int, clock: Clock) -> None:
        """Make the loop.

        Args:
            name: of the threads on which `asyncio.to_thread` runs what coroutines call.
            threads: how many of them there may be.
            clock: by which coroutines sleep.
        """
        self._loop = _Loop(clock)
        self._loop.set_default_executor(Threads(name, threads))

    def set(self) -> None:
        super().set()
        loop = self._loop
        if self._waiting and loop is not None:
            self._waiting = False
            try:
                loop.call_soon_threadsafe(loop.stop)
            except RuntimeError:  # closed meanwhile: its thread waits no longer
                return

    def wait(self, timeout: float | None = None) -> bool:
        loop = self._loop
        if loop is None:
            return super().wait(timeout)
        self._waiting = True  # before looking, so that whoever sets the signal now stops the loop
        was_set, timer = super().wait(0.0), None
        if was_set or timeout == 0:
            loop.stop()  # one turn nevertheless: frequent news must not starve the coroutines
        elif timeout is not None:
            timer = loop.call_later(timeout, loop.stop)
        try:
            self._run(loop)
        finally:
            self._waiting = False
            if timer is not None:
                timer.cancel()
        return super().wait(0.0) or was_set

    def stop(self) -> None:
        """End the wait after this turn of the loop; called by what the loop runs."""
        assert self._loop is not None
        self._loop.stop()

    def start(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        return asyncio.Task(coroutine, loop=self._loop, name=name)

    def complete(self, coroutine: Coroutine[Any, Any, Any], interrupted: Callable[[], bool]) -> Any:
        """Run a coroutine to its end; it is cancelled if ``interrupted``. Returns, or raises, what it did."""
        ended: list[tuple[Any, BaseException | None]] = []

        async def attend() -> None:
            try:
                ended.append((await coroutine, None))
            except BaseException as error:  # raised to the caller, not to the loop
                ended.append((None, error))

        task = self.start(attend(), "open, or close")
        task.add_done_callback(lambda _: self.stop())
        asked = False
        while not task.done():
            self.wait()
            if not asked and interrupted():
                asked = task.cancel()
        if not ended:  # cancelled before its first step
            coroutine.close()
            raise asyncio.CancelledError
        result, error = ended[0]
        if error is not None:
            raise error
        return result

    def end(self, tasks: Iterable[asyncio.Task[Any]], grace: float) -> list[asyncio.Task[Any]]:
        """Cancel tasks and wait for their end. Returns those that have not ended within ``grace`` seconds."""
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        return self._await(left, grace)

    def close(self, grace: float) -> list[asyncio.Task[Any]]:
        """Cancel what still runs and close the loop. Returns the tasks that did not end within ``grace`` seconds."""
        loop = self._loop
        if loop is None:
            return []
        left: list[asyncio.Task[Any]] = []
        try:
            try:
                left = self.end(asyncio.all_tasks(loop), grace)
            finally:
                left += self._await([self.start(loop.shutdown_asyncgens(), "shutdown")], grace)
        finally:
            for task in asyncio.all_tasks(loop):
                task._log_destroy_pending = False  # type: ignore[attr-defined] # the caller tells of them
            self._was_busy = loop.selector.busy
            self._loop = None
            loop.close()
        return left

    def _await(self, tasks: list[asyncio.Task[Any]], grace: float) -> list[asyncio.Task[Any]]:
        """Returns those that have not ended in time. Raises what callbacks of the user's raise, but not before."""
        assert self._loop is not None
        left, now = set(tasks), self._loop.time
        raised: BaseException | None = None

        def ended(task: asyncio.Task[Any]) -> None:
            left.discard(task)
            if not left:
                self.stop()

        for task in tasks:
            task.add_done_callback(ended)
        deadline = now() + grace
        while left and (patience := deadline - now()) > 0:
            try:
                self.wait(patience)
            except BaseException as error:  # others are to end nevertheless
                raised = error if raised is None else raised
        if raised is not None:
            raise raised
        return list(left)

    def _run(self, loop: _Loop) -> None:
        # A notebook runs a loop of its own on the thread that a job may be run by: ours takes its place for a while.
        outer = asyncio._get_running_loop()
        task = None if outer is None else _swap_task(outer, None)
        asyncio._set_running_loop(None)
        try:
            loop.run_forever()
        finally:
            loop.selector.leave()
            asyncio._set_running_loop(outer)
            if outer is not None:
                _swap_task(outer, task)


def whereabouts(task: asyncio.Task[Any]) -> str | None:
    """Where a suspended coroutine waits: its innermost line outside of asyncio; None if that cannot be seen."""
    found: str | None = None
    step: Any = task.get_coro()
    while step is not None:
        frame = getattr(step, "cr_frame", None) or getattr(step, "gi_frame", None) or getattr(step, "ag_frame", None)
        if frame is not None and not frame.f_globals.get("__name__", "").startswith(("asyncio", "sage.core.engine")):
            found = f"{frame.f_code.co_name} ({frame.f_code.co_filename}:{frame.f_lineno})"
        step = getattr(step, "cr_await", None) or getattr(step, "gi_yieldfrom", None) or getattr(step, "ag_await", None)
    return found
