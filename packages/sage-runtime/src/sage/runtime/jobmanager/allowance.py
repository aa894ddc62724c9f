"""Bounds in rate, for what strangers and jobs may cause to be written."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Allowance"]


class Allowance:
    """So many at once after silence, so many a second in the long run.

    Args:
        per_second: what may pass in the long run.
        burst: what may pass at once after silence.
        clock: monotonic seconds.
    """

    def __init__(self, *, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._burst = float(burst)
        self._clock = clock
        self._credit = self._burst
        self._at = clock()

    def take(self, wanted: int = 1) -> int:
        """How many of ``wanted`` may pass now; they count as passed."""
        now = self._clock()
        self._credit = min(self._burst, self._credit + (now - self._at) * self._rate)
        self._at = now
        allowed = min(wanted, int(self._credit))
        self._credit -= allowed
        return allowed
