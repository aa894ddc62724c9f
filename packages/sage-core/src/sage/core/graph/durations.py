"""Lengths of time as users give them."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, Final

__all__ = ["LONGEST", "is_duration", "seconds"]

LONGEST: Final = 253_402_300_800
"""Seconds from 1970 to the year 10000: no length of time is longer, and no event further away from 1970."""


def seconds(duration: Any) -> Any:
    """A length of time in seconds. What is none stays as it is, to be reported with all else that is wrong."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def is_duration(value: Any, *, above_zero: bool = False) -> bool:
    """Whether ``value`` is a number of seconds, at least 0, that microseconds can tell."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return (round(value * 1_000_000) >= 1 if above_zero else value >= 0) and value < LONGEST
