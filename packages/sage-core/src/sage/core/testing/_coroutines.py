"""The event loop of a simulated task: one turn at a time, by virtual time."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from sage.core.engine.coroutines import LoopSignal
from sage.core.engine.links import Signal

__all__ = ["LoopFlag"]


class LoopFlag(LoopSignal):
    """A `LoopSignal` that is asked whether it was set, and whose loop takes its turns when told to.

    Attributes:
        is_set: whether the task was woken.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_set = False
        self._stopped = False

    def set(self) -> None:
        self.is_set = True
        super().set()

    def stop(self) -> None:
        self._stopped = True
        super().stop()

    def wait(self, timeout: float | None = None) -> bool:
        was_set = super().wait(timeout)
        self.is_set = self.is_set and not was_set
        return was_set

    def take(self) -> None:
        """Clear it."""
        self.is_set = False
        Signal.wait(self, 0.0)

    @property
    def next_event(self) -> float:
        """When something is to run in the loop: at once, at a time, or never."""
        loop: Any = self._loop  # asyncio tells only by these attributes
        if loop is None:
            return math.inf
        if loop._ready or (loop.selector.hears_outside and loop.selector.has_news):
            return -math.inf
        return min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=math.inf)

    @property
    def files(self) -> tuple[int, ...]:
        """What becomes readable when something from outside is to run in the loop, if a coroutine may wait for it."""
        loop = self._loop
        return () if loop is None or not asyncio.all_tasks(loop) else (loop.selector.fileno(),)

    @property
    def outside(self) -> tuple[int, ...]:
        """What becomes readable when a thread has ended, or a file is ready, that a coroutine is known to wait for."""
        loop = self._loop
        return (loop.selector.fileno(),) if loop is not None and loop.selector.hears_outside else ()

    def turn(self) -> bool:
        """Run what is to run now. Returns whether that ends the wait for this signal."""
        self._stopped = False
        if super().wait(0.0):
            Signal.set(self)  # the task is told of it at its next step
        return self._stopped
