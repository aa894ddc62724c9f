"""Time, as the engine sees it: one clock, handed to whatever measures or waits, so that it can be another one."""

from __future__ import annotations

import time
from typing import Protocol

from sage.core.engine.links import Signal

__all__ = ["WALL", "Clock", "VirtualClock"]


class Clock(Protocol):
    """Tells the time, and waits."""

    def now(self) -> float:
        """Seconds from some moment; never less than before."""

    def time(self) -> float:
        """Processing time: seconds since 1970; never less than before."""

    def worked(self) -> float:
        """Seconds, from some moment, that the calling thread has been at work: without those it was kept waiting."""

    def wait(self, signal: Signal, seconds: float) -> bool:
        """Wait until ``signal`` is set, at most ``seconds``, and clear it. Returns whether it was set."""


class _WallClock:
    """The time that passes outside."""

    now = staticmethod(time.perf_counter)  # called for every slice of records: without a frame of ours in between
    worked = staticmethod(time.thread_time)

    def __init__(self) -> None:
        self._since_1970 = time.time() - time.perf_counter()

    def time(self) -> float:
        """What the clock on the wall shows, where that goes on; if it is put back, as if it had not been."""
        now = time.perf_counter()
        self._since_1970 = max(self._since_1970, time.time() - now)
        return now + self._since_1970

    def wait(self, signal: Signal, seconds: float) -> bool:
        return signal.wait(seconds)


WALL = _WallClock()


class VirtualClock:
    """A time that stands still while something is done, and jumps where there is nothing to do but wait.

    Args:
        start: seconds at which it begins.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    time = worked = now

    def wait(self, signal: Signal, seconds: float) -> bool:
        if signal.wait(0.0):
            return True
        self._now += seconds
        return False

    def jump(self, to: float) -> None:
        """Let time pass until ``to``, unless it is later already."""
        self._now = max(self._now, to)
