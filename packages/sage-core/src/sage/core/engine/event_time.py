"""Points in event time: seconds or aware datetimes to users, whole microseconds to the engine.

Whole numbers make windows exact: 0.3 seconds are in the window that begins at 0.3, which floats would not tell.
"""

from __future__ import annotations

import math
import operator
from datetime import UTC, datetime
from typing import Any, Final

from sage.core.errors import TimestampError
from sage.core.graph.durations import LONGEST

__all__ = ["MAX_TIME", "MICROS", "MIN_TIME", "to_micros", "to_seconds"]

MICROS: Final = 1_000_000
"""Microseconds in a second."""

MIN_TIME: Final = -(2**63)
"""Before all time: nothing is known to be over yet."""

MAX_TIME: Final = 2**63 - 1
"""After all time: nothing comes any more."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(time: Any, of: str = "a record") -> int:
    """A point in time, as whole microseconds since 1970.

    Args:
        time: seconds since 1970 as a number, negative before it, or a datetime with a time zone.
        of: what it is the time of, for the error.

    Raises:
        TimestampError: it is no such thing.
    """
    if type(time) is float and -LONGEST < time < LONGEST:  # what most give
        return round(time * MICROS)
    if type(time) is int and -LONGEST < time < LONGEST:
        return time * MICROS
    if isinstance(time, bool):
        raise _no_time(time, of, "a truth value is no time")
    if isinstance(time, datetime):
        if time.tzinfo is None or time.utcoffset() is None:
            raise _no_time(time, of, "a datetime without a time zone could be any of a day's hours", _AWARE)
        since = time - _EPOCH
        return (since.days * 86_400 + since.seconds) * MICROS + since.microseconds
    try:
        seconds = operator.index(time)
    except TypeError:
        from numbers import Real  # not above: a user may have a numbers.py, which must not hide what SAGE needs

        if not isinstance(time, Real):
            raise _no_time(time, of, f"{_a(time)} is no time") from None
        share = float(time)
        if not math.isfinite(share):
            raise _no_time(time, of, "it is no point in time") from None
        if -LONGEST < share < LONGEST:
            return round(share * MICROS)
    else:
        if -LONGEST < seconds < LONGEST:
            return seconds * MICROS
    raise _no_time(time, of, "that is not within 10,000 years", "times are in seconds: divide milliseconds by 1000")


def to_seconds(micros: int) -> float:
    """The same point, or duration, in seconds; before and after all time it is infinite."""
    if micros <= MIN_TIME:
        return -math.inf
    return math.inf if micros >= MAX_TIME else micros / MICROS


_HINT = "give seconds since 1970 as a number, or a datetime with a time zone"
_AWARE = "give it a time zone: datetime(…, tzinfo=UTC), or parsed.replace(tzinfo=…)"


def _a(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _no_time(value: Any, of: str, why: str, hint: str = _HINT) -> TimestampError:
    return TimestampError(f"{value!r:.100} cannot be the time of {of}: {why}", hint=hint)
