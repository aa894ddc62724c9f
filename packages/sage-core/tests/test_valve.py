"""The valve in front of a task, where public suites have no case of it; see test_cases_watermarks."""

from __future__ import annotations

from sage.core.engine.event_time import MAX_TIME
from sage.core.engine.valve import Valve


def test_a_channel_that_has_ended_is_not_waited_for() -> None:
    """The others tell the time."""
    valve = Valve(2)
    valve.mark(0, 3)
    valve.mark(1, 5)
    assert valve.end(0) and valve.time == 5
    valve.mark(1, 8)
    assert valve.time == 8
    valve.end(1)
    assert valve.time <= MAX_TIME
