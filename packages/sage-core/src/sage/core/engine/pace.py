"""How many records a task takes in one go."""

from __future__ import annotations

from sage.core.engine.output import BATCH_SIZE

__all__ = ["IN_A_ROW", "QUICK", "SLOW", "Pace"]

QUICK = 0.0005
"""Seconds: a slice that took less counts as quick; after `IN_A_ROW` of them slices become twice as long."""

SLOW = 0.001
"""Seconds: a slice that took more is cut, and what it produced leaves at once."""

IN_A_ROW = 8
"""Quick slices in a row before they grow: a source that catches up after a stall is quick for a moment only, and what
it hands out next must not wait for a large slice to fill."""


class Pace:
    """The size of slices, so that what was produced never waits long for what comes next.

    Starts with one record, doubles once several slices in a row were quick, falls back to the measured speed when one
    was slow.

    Args:
        most: the largest slice, in records.
    """

    __slots__ = ("_most", "_quick", "limit")

    def __init__(self, most: int = BATCH_SIZE) -> None:
        self._most = most
        self._quick = 0
        self.limit = 1

    def after(self, seconds: float) -> bool:
        """Adapt to a slice that took ``seconds``. Returns whether it was slow."""
        if seconds < QUICK:
            self._quick += 1
            if self._quick >= IN_A_ROW and self.limit < self._most:
                self.limit = min(self.limit * 2, self._most)
                self._quick = 0
            return False
        self._quick = 0
        if seconds <= SLOW:
            return False
        self.limit = max(1, int(self.limit * SLOW / seconds))
        return True
