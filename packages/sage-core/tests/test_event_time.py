"""Points in time: exact, and refused where they are none."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.core.engine.event_time import MAX_TIME, MICROS, MIN_TIME, to_micros, to_seconds
from sage.core.errors import TimestampError
from sage.core.graph.durations import LONGEST


@pytest.mark.parametrize(
    ("time", "micros"),
    [
        (0, 0),
        (-1, -MICROS),
        (0.3, 300_000),
        (-0.000001, -1),
        (1_700_000_000.123456, 1_700_000_000_123_456),
        (Fraction(1, 4), 250_000),
        (datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC), MICROS + 5),
        (datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), -MICROS),
        (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 0),
    ],
)
def test_times_are_whole_microseconds(time: Any, micros: int) -> None:
    """Numbers of seconds and aware datetimes, before 1970 as well."""
    assert to_micros(time) == micros


@pytest.mark.parametrize(
    ("time", "why"),
    [
        (None, "None is no time"),
        (True, "truth value"),
        ("2024-01-01", "a str is no time"),
        (math.nan, "no point in time"),
        (math.inf, "no point in time"),
        (Decimal(5), "a Decimal is no time"),
        (datetime(2024, 1, 1), "without a time zone"),
        (date(2024, 1, 1), "a date is no time"),
        (1_700_000_000_000, "divide milliseconds by 1000"),
        (-float(LONGEST), "within 10,000 years"),
    ],
)
def test_what_is_no_time_is_refused(time: Any, why: str) -> None:
    """With the value, the reason and what to do."""
    with pytest.raises(TimestampError, match=why) as caught:
        to_micros(time)
    assert caught.value.hint


@given(st.integers(-(LONGEST - 1) * MICROS, (LONGEST - 1) * MICROS))
def test_datetimes_and_numbers_agree(micros: int) -> None:
    """The same point is the same, however it is told, as far as datetimes reach."""
    try:
        told = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    except OverflowError:
        return
    assert to_micros(told) == micros
    assert to_micros(Fraction(micros, MICROS)) == pytest.approx(micros, abs=32)  # it passes through a float


def test_all_time_has_ends() -> None:
    """Before anything is known, and when all is over."""
    assert (to_seconds(MIN_TIME), to_seconds(MAX_TIME), to_seconds(1_500_000)) == (-math.inf, math.inf, 1.5)


def test_what_it_is_the_time_of_is_told() -> None:
    """A timer that is given a duration is no record; and what a date lacks is no time zone."""
    with pytest.raises(TimestampError, match=r"cannot be the time of a timer: a timedelta is no time"):
        to_micros(timedelta(seconds=5), "a timer")
    with pytest.raises(TimestampError) as caught:
        to_micros(date(2024, 1, 1))
    assert "tzinfo" not in str(caught.value.hint)
