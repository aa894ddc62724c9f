"""The watermark of several channels, against its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sage.core.engine.event_time import MIN_TIME
from sage.core.engine.valve import Valve

_NEWS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["mark", "idle", "end"]), st.integers(0, 20)), max_size=40
)


@given(_NEWS)
def test_it_is_the_slowest_of_those_that_are_waited_for(news: list[tuple[int, str, int]]) -> None:
    """It never goes back: who is behind it is not waited for. Where all are idle, the furthest tells it."""
    valve = Valve(3)
    marks, idle, ended, time = [MIN_TIME] * 3, [False] * 3, [False] * 3, MIN_TIME
    for channel, what, value in news:
        if ended[channel]:
            continue
        before = (valve.time, valve.idle)
        if what == "end":
            ended[channel] = True
            told = valve.end(channel)
        else:
            marks[channel] = max(marks[channel], value)
            idle[channel] = what == "idle"
            told = valve.mark(channel, value, idle=idle[channel])
        left = [number for number in range(3) if not ended[number]]
        active = [marks[number] for number in left if not idle[number]]
        if active:
            time = min((mark for mark in active if mark >= time), default=time)
        elif left:
            time = max(time, *(marks[number] for number in left))
        assert valve.time == time
        if left:
            assert valve.idle is (not active)
        assert told == (before != (valve.time, valve.idle))


def test_a_watermark_that_goes_back_changes_nothing() -> None:
    """Event time only goes on."""
    valve = Valve(1)
    assert valve.mark(0, 10)
    assert not valve.mark(0, 5)
    assert valve.time == 10


def test_a_channel_that_wakes_up_behind_is_waited_for_once_it_has_caught_up() -> None:
    """Until then what it brings is late, and the others do not wait for it."""
    valve = Valve(2)
    valve.mark(0, 100)
    assert valve.mark(1, MIN_TIME, idle=True)
    assert valve.time == 100
    assert not valve.mark(1, 50)
    assert valve.mark(0, 200)
    assert valve.time == 200
    valve.mark(1, 250)
    valve.mark(0, 300)
    assert valve.time == 250
