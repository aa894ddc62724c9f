"""Points in time are written in one form, and read in any that RFC 3339 knows."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.core import timestamps


def test_there_is_one_form() -> None:
    """UTC, as ``Z``, with milliseconds, whatever the zone of the time."""
    noon = datetime(2026, 3, 1, 12, 0, 0, 5_999, timezone(timedelta(hours=2)))
    assert timestamps.written(noon) == "2026-03-01T10:00:00.005Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamps.now())


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_was_written_is_read(time: datetime) -> None:
    """Reading gives the time back, to the millisecond."""
    assert timestamps.parse(timestamps.written(time)) == time.replace(microsecond=time.microsecond // 1000 * 1000)


@pytest.mark.parametrize("text", ["2026-03-01T10:00:00", "2026-03-01T10:00:00+00:00", "2026-03-01T12:00:00.000+02:00"])
def test_other_forms_are_read_too(text: str) -> None:
    """Times of an older SAGE, and of others."""
    assert timestamps.parse(text) == datetime(2026, 3, 1, 10, tzinfo=UTC)


def test_what_is_no_time_is_told() -> None:
    """No time comes out of what is none."""
    with pytest.raises(ValueError, match="yesterday"):
        timestamps.parse("yesterday")
