"""How a task that waits for something is told to end."""

from __future__ import annotations

from collections.abc import Callable

from sage.core.engine.clock import WALL, Clock
from sage.core.engine.links import Signal

__all__ = ["GRACE", "Interrupt"]

GRACE = 10.0
"""Seconds that code of the user's gets, unless it is said otherwise, to return once its task is to end."""


class Interrupt:
    """Whether a task is to end, and a way to wait that notices.

    Args:
        signal: the task's.
        clock: by which it waits.

    Attributes:
        cancelled: whether the task is to end at its next step.
        stop: empty until then, and not from then on: what generated code can ask at next to no cost.
    """

    def __init__(self, signal: Signal, clock: Clock = WALL) -> None:
        self.signal = signal
        self.clock = clock
        self.cancelled = False
        self.stop: list[bool] = []
        self._also: list[Callable[[], None]] = []

    def wakes(self, callback: Callable[[], None]) -> None:
        """Call ``callback``, too, when the task is to end: for a wait that the signal does not end."""
        self._also.append(callback)

    def cancel(self) -> None:
        """End the task; any thread may ask."""
        self.cancelled = True
        self.stop.append(True)
        self.signal.set()
        for callback in self._also:
            callback()

    def pause(self, seconds: float) -> bool:
        """Wait on the task's own thread. Returns False, at once, if the task is to end."""
        clock = self.clock
        until = clock.now() + seconds
        while not self.cancelled:
            left = until - clock.now()
            if left <= 0:
                return True
            clock.wait(self.signal, left)  # what else it may announce is looked for at the next step anyway
        return False
