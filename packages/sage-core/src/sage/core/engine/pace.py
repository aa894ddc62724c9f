"""How many records a task takes in one go."""

from __future__ import annotations

from sage.core.engine.output import BATCH_SIZE

__all__ = ["QUICK", "SLOW", "Pace"]

QUICK = 0.0005
"""Seconds: a slice that took less may be twice as long the next time."""

SLOW = 0.001
"""Seconds: a slice that took more is cut, and what it produced leaves at once."""


class Pace:
    """The size of slices, so that what was produced never waits long for what comes next.

    Starts with one record, doubles while slices are quick, falls back to the measured speed when one was slow.

    Args:
        most: the largest slice, in records.
    """

    __slots__ = ("_most", "limit")

    def __init__(self, most: int = BATCH_SIZE) -> None:
        self._most = most
        self.limit = 1

    def after(self, seconds: float) -> bool:
        """Adapt to a slice that took ``seconds``. Returns whether it was slow."""
        if seconds < QUICK:
            if self.limit < self._most:
                self.limit = min(self.limit * 2, self._most)
            return False
        if seconds <= SLOW:
            return False
        self.limit = max(1, int(self.limit * SLOW / seconds))
        return True
