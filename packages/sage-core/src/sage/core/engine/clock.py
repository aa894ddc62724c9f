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

    def wait(self, signal: Signal, seconds: float) -> bool:
        """Wait until ``signal`` is set, at most ``seconds``, and clear it. Returns whether it was set."""


class _WallClock:
    """The time that passes outside."""

    now = staticmethod(time.perf_counter)  # called for every slice of records: without a frame of ours in between

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

    def wait(self, signal: Signal, seconds: float) -> bool:
        if signal.wait(0.0):
            return True
        self._now += seconds
        return False

    def jump(self, to: float) -> None:
        """Let time pass until ``to``, unless it is later already."""
        self._now = max(self._now, to)
