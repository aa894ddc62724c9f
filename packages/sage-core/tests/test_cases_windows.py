"""Cases of windows, rewritten from the public suites of Flink and Beam. See docs/reference/semantics-cases.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cases import Play, ordered, seconds

from sage.core.api import (
    AfterCount,
    AfterTime,
    AtEnd,
    Count,
    DataStream,
    Global,
    LocalEnvironment,
    Session,
    Sliding,
    Tumbling,
    Window,
    WindowResult,
)
from sage.core.errors import GraphError

Pair = tuple[str, int]
Windowed = Callable[[DataStream[Pair]], DataStream[Any]]


def add(left: Pair, right: Pair) -> Pair:
    return right[0], left[1] + right[1]


def key_of(record: Pair) -> str:
    return record[0]


def by_reduce(window: Any, **keywords: Any) -> Windowed:
    return lambda stream: stream.keyby(key_of).window(window, **keywords).reduce(add)


def by_process(window: Any, **keywords: Any) -> Windowed:
    def total(key: str, window: Window, records: list[Pair]) -> list[Pair]:
        return [(key, sum(value for _, value in records))]

    return lambda stream: stream.keyby(key_of).window(window, **keywords).process(total)


def in_ms(time: float) -> int:
    return round(time * 1000)


def sessions(gap: float, **keywords: Any) -> Windowed:
    """What each session comes to, and from when to when it is."""

    def told(key: str, window: Window, records: list[Pair]) -> list[tuple[str, int, int]]:
        total = sum(value for _, value in records)
        return [(f"{key}-{total}", in_ms(window.start), in_ms(window.end))]

    return lambda stream: stream.keyby(key_of).window(Session(gap), **keywords).process(told)


def sessions_reduced(gap: float, **keywords: Any) -> Windowed:
    """The same, folded as records come."""
    return lambda stream: stream.keyby(key_of).window(Session(gap), **keywords).reduce(add, with_window=True)


def bounds(record: Any) -> Any:
    """What `sessions_reduced` puts out, as `sessions` does."""
    if isinstance(record, WindowResult):
        return f"{record.key}-{record.value[1]}", in_ms(record.window.start), in_ms(record.window.end)
    return record


def windows_of(window: Any, *times: int) -> dict[tuple[int, int], set[int]]:
    """To which windows records of these times are assigned, in the unit of the times."""

    def told(key: None, window: Window, records: list[int]) -> list[tuple[int, int, set[int]]]:
        return [(round(window.start), round(window.end), set(records))]

    with Play(lambda s: s.window(window).process(told)) as play:
        for time in times:
            play.record(time, time * 1000)
        return {(start, end): records for (start, end, records), _ in play.end()}


def problems(window: Any, **keywords: Any) -> str:
    env = LocalEnvironment("windows")
    env.from_collection([1]).assign_timestamps(float).window(window, **keywords).reduce(max).sink(print)
    with pytest.raises(GraphError) as caught:
        env.submit()
    return str(caught.value)


# Flink: the assigners


def test_tumbling_windows_are_assigned() -> None:
    """Flink TumblingEventTimeWindowsTest.testWindowAssignment: the end of a window belongs to the next one."""
    assert windows_of(Tumbling(5000), 0, 4999, 5000) == {(0, 5000): {0, 4999}, (5000, 10000): {5000}}


def test_an_offset_shifts_tumbling_windows() -> None:
    """Flink TumblingEventTimeWindowsTest.testWindowAssignmentWithGlobalOffset: windows begin at the offset."""
    expected = {(100, 5100): {100, 5099}, (5100, 10100): {5100}}
    assert windows_of(Tumbling(5000, offset=100), 100, 5099, 5100) == expected


def test_an_offset_may_be_negative() -> None:
    """Flink TumblingEventTimeWindowsTest.testWindowAssignmentWithNegativeGlobalOffset: it shifts to the past."""
    expected = {(-100, 4900): {0, 4899}, (4900, 9900): {4900}}
    assert windows_of(Tumbling(5000, offset=-100), 0, 4899, 4900) == expected


@pytest.mark.parametrize("window", [Tumbling(-1), Tumbling(10, offset=20), Tumbling(10, offset=-11)])
def test_tumbling_windows_that_cannot_be(window: Any) -> None:
    """Flink TumblingEventTimeWindowsTest.testInvalidParameters: sizes are above 0, offsets smaller than the size."""
    assert "must be" in problems(window)


def test_sliding_windows_are_assigned() -> None:
    """Flink SlidingEventTimeWindowsTest.testWindowAssignment: a record is in size / slide windows."""
    starts = {0: range(-4000, 1000, 1000), 4999: range(0, 5000, 1000), 5000: range(1000, 6000, 1000)}
    for time, expected in starts.items():
        assert sorted(windows_of(Sliding(5000, 1000), time)) == [(start, start + 5000) for start in expected]


@pytest.mark.parametrize(("offset", "first"), [(100, -3900), (-100, -4100)])
def test_an_offset_shifts_sliding_windows(offset: int, first: int) -> None:
    """Flink SlidingEventTimeWindowsTest.testWindowAssignmentWithOffset: windows begin at the offset, also before 0."""
    found = sorted(windows_of(Sliding(5000, 1000, offset=offset), first + 4000))
    assert found == [(start, start + 5000) for start in range(first, first + 5000, 1000)]


@pytest.mark.parametrize(
    "window",
    [
        Sliding(-2, 1),
        Sliding(2, -1),
        Sliding(-20, 10, offset=-1),
        Sliding(20, 10, offset=-11),
        Sliding(20, 10, offset=11),
    ],
)
def test_sliding_windows_that_cannot_be(window: Any) -> None:
    """Flink SlidingEventTimeWindowsTest.testInvalidParameters: sizes are above 0, offsets smaller than the slide."""
    assert "must be" in problems(window)


@pytest.mark.parametrize("gap", [-1, 0])
def test_session_windows_that_cannot_be(gap: int) -> None:
    """Flink EventTimeSessionWindowsTest.testInvalidParameters: the gap is above 0."""
    assert "must be" in problems(Session(gap))


def test_sessions_of_one_record_are_a_gap_long() -> None:
    """Flink EventTimeSessionWindowsTest.testWindowAssignment: a record alone makes a session of one gap."""
    assert windows_of(Session(5000), 0) == {(0, 5000): {0}}
    assert windows_of(Session(5000), 4999) == {(4999, 9999): {4999}}


def test_sessions_that_touch_are_one() -> None:
    """Flink EventTimeSessionWindowsTest.testMergeConsecutiveWindows: records exactly one gap apart are together."""
    assert windows_of(Session(1), 0, 1, 2, 4, 5) == {(0, 3): {0, 1, 2}, (4, 6): {4, 5}}


def test_sessions_within_one_another_are_one() -> None:
    """Flink EventTimeSessionWindowsTest.testMergeCoveringWindow: whichever comes first, they are put together."""
    assert windows_of(Session(4), 1, 2, 3, 9, 8) == {(1, 7): {1, 2, 3}, (8, 13): {8, 9}}


# Flink: the operator

SLIDING_STEPS = (("key2", 3999), ("key2", 3000), ("key1", 20), ("key1", 0), ("key1", 999))
MORE_STEPS = (("key2", 1998), ("key2", 1999), ("key2", 1000))


def out_of_order(play: Play) -> None:
    for key, time in SLIDING_STEPS + MORE_STEPS:
        assert play.record((key, 1), time) == []


@pytest.mark.parametrize("make", [by_reduce, by_process])
def test_sliding_windows_in_event_time(make: Callable[..., Windowed]) -> None:
    """Flink WindowOperatorTest.testSlidingEventTimeWindowsReduce (and …Apply): out of order, saved and restored."""
    with Play(make(Sliding(3, 1))) as play:
        out_of_order(play)
        assert play.mark(999) == [(("key1", 3), 999)]
        assert play.mark(1999) == ordered((("key1", 3), 1999), (("key2", 3), 1999))
        assert play.mark(2999) == ordered((("key1", 3), 2999), (("key2", 3), 2999))
        play.reopen()
        assert play.mark(3999) == [(("key2", 5), 3999)]
        assert play.mark(4999) == [(("key2", 2), 4999)]
        assert play.mark(5999) == [(("key2", 2), 5999)]
        assert play.mark(6999) == []
        assert play.mark(7999) == []
        assert play.end() == []


@pytest.mark.parametrize("make", [by_reduce, by_process])
def test_tumbling_windows_in_event_time(make: Callable[..., Windowed]) -> None:
    """Flink WindowOperatorTest.testTumblingEventTimeWindowsReduce (and …Apply): out of order, saved and restored."""
    with Play(make(Tumbling(3))) as play:
        out_of_order(play)
        assert play.mark(999) == []
        assert play.mark(1999) == []
        play.reopen()
        assert play.mark(2999) == ordered((("key1", 3), 2999), (("key2", 3), 2999))
        assert play.mark(3999) == []
        assert play.mark(4999) == []
        assert play.mark(5999) == [(("key2", 2), 5999)]
        assert play.mark(6999) == []
        assert play.end() == []


@pytest.mark.parametrize("make", [sessions, sessions_reduced])
def test_session_windows(make: Callable[..., Windowed]) -> None:
    """Flink WindowOperatorTest.testSessionWindows (and testReduceSessionWindows): saved while sessions are open."""
    with Play(make(3), shown=bounds) as play:
        play.records((("key2", 1), 0), (("key2", 2), 1000), (("key2", 3), 2500), (("key1", 1), 10), (("key1", 2), 1000))
        play.reopen()
        play.record(("key1", 3), 2500)
        play.records((("key2", 4), 5501), (("key2", 5), 6000), (("key2", 5), 6000), (("key2", 6), 6050))
        assert play.mark(12000) == ordered(
            (("key1-6", 10, 5500), 5499), (("key2-6", 0, 5500), 5499), (("key2-20", 5501, 9050), 9049)
        )
        assert play.records((("key2", 10), 15000), (("key2", 20), 15000)) == []
        assert play.mark(17999) == [(("key2-30", 15000, 18000), 17999)]
        assert play.end() == []


def test_counts_of_sessions_add_up_when_they_become_one() -> None:
    """Flink WindowOperatorTest.testSessionWindowsWithCountTrigger: a record between two sessions makes them fire."""
    with Play(sessions(3, trigger=AfterCount(4, accumulate=False))) as play:
        out = play.records((("key2", 1), 0), (("key2", 2), 1000), (("key2", 3), 2500), (("key2", 4), 3500))
        assert out == [(("key2-10", 0, 6500), 6499)]
        assert play.records((("key1", 1), 10), (("key1", 2), 1000)) == []
        play.reopen()
        assert play.record(("key1", 3), 2500) == []
        assert play.records((("key1", 1), 6000), (("key1", 2), 6500), (("key1", 3), 7000)) == []
        assert play.record(("key1", 10), 4500) == [(("key1-22", 10, 10000), 9999)]


def test_the_global_window_fires_by_count() -> None:
    """Flink WindowOperatorTest.testCountTrigger: times do not matter, and what was put out is gone.

    Ours differs: results of the global window carry the time of the record that made it fire, not the end of time.
    """
    with Play(lambda s: by_reduce(Global(), trigger=AfterCount(4, accumulate=False))(s)) as play:
        records = [("key2", 3000), ("key2", 3999), ("key1", 20), ("key1", 0), ("key1", 999), ("key2", 1998)]
        assert play.records(*[((key, 1), time) for key, time in records]) == []
        play.reopen()
        assert [out for out, _ in play.record(("key2", 1), 1000)] == [("key2", 4)]
        assert [out for out, _ in play.record(("key1", 1), 10999)] == [("key1", 4)]
        records = [("key2", 1000)] * 4
        assert [out for out, _ in play.records(*[((key, 1), time) for key, time in records])] == [("key2", 4)]


def test_tumbling_windows_in_processing_time() -> None:
    """Flink WindowOperatorTest.testProcessingTimeTumblingWindows: by the clock, whatever times records carry."""
    with Play(by_reduce(Tumbling(3, time="processing"))) as play:
        play.clock(3)
        play.records(*[(("key2", 1), 7000)] * 3, *[(("key1", 1), 7000)] * 2)
        assert play.clock(5000) == ordered((("key2", 3), 2999), (("key1", 2), 2999))
        play.records(*[(("key1", 1), 7000)] * 3)
        assert play.clock(7000) == [(("key1", 3), 5999)]


def test_sliding_windows_in_processing_time() -> None:
    """Flink WindowOperatorTest.testProcessingTimeSlidingWindows: by the clock, in the order of the windows."""
    with Play(by_reduce(Sliding(3, 1, time="processing"))) as play:
        play.clock(3)
        play.record(("key2", 1), 99_999)
        assert play.clock(1000) == [(("key2", 1), 999)]
        play.records(*[(("key2", 1), 99_999)] * 2)
        assert play.clock(2000) == [(("key2", 3), 1999)]
        play.records(*[(("key1", 1), 99_999)] * 2)
        assert play.clock(3000) == ordered((("key2", 3), 2999), (("key1", 2), 2999))
        play.records(*[(("key1", 1), 99_999)] * 3)
        assert play.clock(7000) == ordered(
            (("key2", 2), 3999), (("key1", 5), 3999), (("key1", 5), 4999), (("key1", 3), 5999)
        )


def test_session_windows_in_processing_time() -> None:
    """Flink WindowOperatorTest.testProcessingTimeSessionWindows: each record puts the end off by the gap."""
    window = Session(3, time="processing")
    with Play(by_reduce(window)) as play:
        play.clock(3)
        play.record(("key2", 1), 1)
        play.clock(1000)
        play.record(("key2", 1), 1002)
        assert play.clock(5000) == [(("key2", 2), 3999)]
        play.records(*[(("key2", 1), 5000)] * 2, *[(("key1", 1), 5000)] * 3)
        assert play.clock(10000) == ordered((("key2", 2), 7999), (("key1", 3), 7999))


def test_an_offset_in_processing_time() -> None:
    """Flink WindowOperatorTest.testProcessingTimeTumblingWindowsWithOffset: the first window ends at the offset."""
    with Play(by_reduce(Tumbling(3, offset=1, time="processing"))) as play:
        play.clock(3)
        play.records(*[(("key2", 1), 7000)] * 3, *[(("key1", 1), 7000)] * 2)
        assert play.clock(5000) == ordered((("key2", 3), 999), (("key1", 2), 999))
        play.records(*[(("key1", 1), 7000)] * 3)
        assert play.clock(7000) == [(("key1", 3), 6999)]


def test_an_offset_of_sliding_windows_in_processing_time() -> None:
    """Flink WindowOperatorTest.testProcessingTimeSlidingWindowsWithOffset: windows that began before 0 end first."""
    with Play(by_reduce(Sliding(3, 1, offset=seconds(10), time="processing"))) as play:
        play.clock(3)
        play.record(("key2", 1), 0)
        assert play.clock(1111) == ordered((("key2", 1), 9), (("key2", 1), 1009))
        play.record(("key2", 2), 0)
        assert play.clock(2222) == [(("key2", 3), 2009)]


def test_an_offset_in_event_time() -> None:
    """Flink WindowOperatorTest.testEventTimeTumblingWindowsWithOffset: a watermark past the unshifted end is too
    early."""
    with Play(by_process(Tumbling(2, offset=seconds(100)))) as play:
        play.record(("key2", 1), 1000)
        assert play.mark(1985) == []
        play.records((("key2", 2), 1980), (("key2", 3), 1998), (("key2", 4), 2001))
        assert play.mark(2010) == []
        assert play.mark(2999) == [(("key2", 10), 2099)]
        assert play.mark(3999) == []


def test_an_offset_of_sliding_windows_in_event_time() -> None:
    """Flink WindowOperatorTest.testEventTimeSlidingWindowsWithOffset: one watermark closes all windows, in order."""
    with Play(by_process(Sliding(2, 0.5, offset=seconds(10)))) as play:
        play.record(("key2", 1), 333)
        assert play.mark(6666) == [(("key2", 1), time) for time in (509, 1009, 1509, 2009)]


def test_allowed_lateness() -> None:
    """Flink WindowOperatorTest.testLateness: what comes within it makes the window fire again, with that alone."""
    operator = by_reduce(Tumbling(2), trigger=AtEnd(accumulate=False), allowed_lateness=seconds(500))
    with Play(operator, late=True) as play:
        play.record(("key2", 1), 500)
        assert play.mark(1500) == []
        assert play.record(("key2", 1), 1300) == []
        assert play.mark(2300) == [(("key2", 2), 1999)]
        assert play.record(("key2", 1), 1997) == [(("key2", 1), 1999)]
        assert play.mark(6000) == []
        assert play.record(("key2", 1), 1998) == [(("late", ("key2", 1)), 1998)]
        assert play.mark(7000) == []


def test_lateness_beyond_the_end_of_time() -> None:
    """Flink WindowOperatorTest.testCleanupTimeOverflow: a window whose lateness exceeds all time still fires, once.

    Ours differs: times after the year 9999 are refused, so the case is at the very end of that year.
    """
    end = 253_402_300_798_000
    with Play(by_reduce(Tumbling(1), allowed_lateness=200_000_000_000)) as play:
        assert play.record(("key2", 1), end) == []
        assert play.mark(end + 500) == []
        assert [out for out, _ in play.mark(end + 999)] == [("key2", 1)]
        assert play.end() == []


def test_late_records_of_tumbling_windows() -> None:
    """Flink WindowOperatorTest.testDropDueToLatenessTumbling: a window takes records until the watermark is its end."""
    with Play(by_reduce(Tumbling(2))) as play:
        play.record(("key2", 1), 1000)
        assert play.mark(1985) == []
        play.record(("key2", 1), 1980)
        assert play.mark(1999) == [(("key2", 2), 1999)]
        assert play.record(("key2", 1), 1998) == []
        assert play.record(("key2", 1), 2001) == []
        assert play.mark(2999) == []
        assert play.mark(3999) == [(("key2", 1), 3999)]


def test_late_records_of_tumbling_windows_on_the_side() -> None:
    """Flink WindowOperatorTest.testSideOutputDueToLatenessTumbling: dropped records are on the side output."""
    with Play(by_reduce(Tumbling(2)), late=True) as play:
        play.record(("key2", 1), 1000)
        assert play.mark(1985) == []
        play.record(("key2", 1), 1980)
        assert play.mark(1999) == [(("key2", 2), 1999)]
        assert play.record(("key2", 1), 1998) == [(("late", ("key2", 1)), 1998)]
        assert play.record(("key2", 1), 2001) == []
        assert play.mark(2999) == []
        assert play.mark(3999) == [(("key2", 1), 3999)]


def test_late_records_of_sliding_windows() -> None:
    """Flink WindowOperatorTest.testSideOutputDueToLatenessSliding: late is only what is too late for all its
    windows."""
    with Play(by_reduce(Sliding(3, 1)), late=True) as play:
        play.record(("key2", 1), 1000)
        assert play.mark(1999) == [(("key2", 1), 1999)]
        play.record(("key2", 1), 2000)
        assert play.mark(3000) == [(("key2", 2), 2999)]
        play.record(("key1", 1), 3001)
        assert play.records((("key2", 1), 2400), (("key2", 1), 2400)) == []
        play.records((("key1", 1), 3001), (("key2", 1), 3900))
        assert play.mark(6000) == ordered(
            (("key2", 5), 3999),
            (("key1", 2), 3999),
            (("key2", 4), 4999),
            (("key1", 2), 4999),
            (("key2", 1), 5999),
            (("key1", 2), 5999),
        )
        assert play.record(("key1", 1), 3001) == [(("late", ("key1", 1)), 3001)]
        assert play.mark(25000) == []


def late_sessions(play: Play) -> None:
    """What the cases of late sessions begin with."""
    play.record(("key2", 1), 1000)
    assert play.mark(1999) == []
    play.record(("key2", 1), 2000)
    assert play.mark(4998) == []
    assert play.record(("key2", 1), 4500) == []
    assert play.record(("key2", 1), 8500) == []
    assert play.mark(7400) == []
    assert play.record(("key2", 1), 7000) == []
    assert play.mark(11501) == [(("key2-5", 1000, 11500), 11499)]
    play.record(("key2", 1), 11600)
    assert play.mark(14600) == [(("key2-1", 11600, 14600), 14599)]


LATE = [(("late", ("key2", 1)), 10000)]


@pytest.mark.parametrize("accumulate", [True, False])
@pytest.mark.parametrize("make", [sessions, sessions_reduced])
def test_late_records_of_sessions(make: Callable[..., Windowed], accumulate: bool) -> None:
    """Flink WindowOperatorTest.testSideOutputDueToLatenessSessionZeroLateness (and …PurgingTrigger): none is
    dropped that reaches an open session."""
    with Play(make(3, trigger=AtEnd(accumulate=accumulate)), late=True, shown=bounds) as play:
        late_sessions(play)
        assert play.record(("key2", 1), 10000) == LATE
        assert play.record(("key2", 1), 14500) == []
        assert play.mark(20000) == [(("key2-1", 14500, 17500), 17499)]
        assert play.mark(100000) == []


@pytest.mark.parametrize("make", [sessions, sessions_reduced])
def test_a_late_record_reaches_a_session_that_is_kept(make: Callable[..., Windowed]) -> None:
    """Flink WindowOperatorTest.testDropDueToLatenessSessionWithLateness: a session that has fired grows, and fires
    at once."""
    with Play(make(3, allowed_lateness=seconds(10)), late=True, shown=bounds) as play:
        late_sessions(play)
        assert play.record(("key2", 1), 10000) == [(("key2-2", 10000, 14600), 14599)]
        assert play.record(("key2", 1), 14500) == []
        assert play.mark(20000) == [(("key2-3", 10000, 17500), 17499)]
        assert play.mark(100000) == []


@pytest.mark.parametrize("make", [sessions, sessions_reduced])
def test_a_session_that_was_emptied_is_still_one(make: Callable[..., Windowed]) -> None:
    """Flink WindowOperatorTest.testDropDueToLatenessSessionWithLatenessPurgingTrigger: its bounds stay, what it
    held is gone."""
    operator = make(3, trigger=AtEnd(accumulate=False), allowed_lateness=seconds(10))
    with Play(operator, late=True, shown=bounds) as play:
        late_sessions(play)
        assert play.record(("key2", 1), 10000) == [(("key2-1", 10000, 14600), 14599)]
        assert play.record(("key2", 1), 14500) == []
        assert play.mark(20000) == [(("key2-1", 10000, 17500), 17499)]
        assert play.mark(100000) == []


@pytest.mark.parametrize("make", [sessions, sessions_reduced])
def test_a_late_record_joins_two_sessions_that_have_fired(make: Callable[..., Windowed]) -> None:
    """Flink WindowOperatorTest.testDropDueToLatenessSessionWithHugeLateness: the whole of both is put out at once."""
    with Play(make(3, allowed_lateness=10), late=True, shown=bounds) as play:
        late_sessions(play)
        assert play.record(("key2", 1), 10000) == [(("key2-7", 1000, 14600), 14599)]
        assert play.record(("key2", 1), 14500) == []
        assert play.mark(20000) == [(("key2-8", 1000, 17500), 17499)]
        assert play.mark(100000) == []


@pytest.mark.parametrize("make", [sessions, sessions_reduced])
def test_a_late_record_joins_two_sessions_that_were_emptied(make: Callable[..., Windowed]) -> None:
    """Flink WindowOperatorTest.testDropDueToLatenessSessionWithHugeLatenessPurgingTrigger: only the new record is
    put out."""
    operator = make(3, trigger=AtEnd(accumulate=False), allowed_lateness=10)
    with Play(operator, late=True, shown=bounds) as play:
        late_sessions(play)
        assert play.record(("key2", 1), 10000) == [(("key2-1", 1000, 14600), 14599)]
        assert play.record(("key2", 1), 14500) == []
        assert play.mark(20000) == [(("key2-1", 1000, 17500), 17499)]
        assert play.mark(100000) == []


@pytest.mark.parametrize("make", [by_reduce, by_process])
def test_the_end_of_lateness_puts_out_nothing(make: Callable[..., Windowed]) -> None:
    """Flink WindowOperatorTest.testCleanupTimerWithEmptyReduceStateForTumblingWindows (and …ListState…): a window
    is let go of in silence."""
    with Play(make(Tumbling(2), trigger=AtEnd(accumulate=False), allowed_lateness=seconds(1))) as play:
        play.record(("key2", 1), 1000)
        assert play.mark(1599) == []
        assert play.mark(1999) == [(("key2", 1), 1999)]
        assert play.mark(2000) == []
        assert play.mark(5000) == []
        assert play.end() == []


@pytest.mark.parametrize("make", [sessions, sessions_reduced])
def test_the_end_of_lateness_of_a_session_puts_out_nothing(make: Callable[..., Windowed]) -> None:
    """Flink WindowOperatorTest.testCleanupTimerWithEmptyReduceStateForSessionWindows (and …ListState…): the same
    of sessions."""
    with Play(make(3, allowed_lateness=seconds(10)), shown=bounds) as play:
        play.record(("key2", 1), 1000)
        assert play.mark(4998) == [(("key2-1", 1000, 4000), 3999)]
        assert play.mark(14600) == []
        assert play.end() == []


# Flink: triggers


def test_a_late_record_fires_the_event_time_trigger_at_once() -> None:
    """Flink EventTimeTriggerTest.testLateElementTriggersImmediately: a record of a window that has ended does not
    wait."""
    with Play(by_reduce(Tumbling(2), allowed_lateness=10)) as play:
        assert play.mark(2000) == []
        assert play.record(("a", 1), 0) == [(("a", 1), 1999)]
        assert play.record(("a", 1), 1) == [(("a", 2), 1999)]


def test_triggers_of_windows_do_not_interfere() -> None:
    """Flink CountTriggerTest.testWindowSeparationAndFiring: each window counts for itself."""
    with Play(by_reduce(Tumbling(2), trigger=AfterCount(3))) as play:
        assert play.records((("a", 1), 0), (("a", 1), 1), (("a", 10), 2000)) == []
        assert play.record(("a", 1), 2) == [(("a", 3), 1999)]
        assert play.record(("a", 10), 2001) == []
        assert play.record(("a", 10), 2002) == [(("a", 30), 3999)]


def test_a_count_trigger_counts_again_after_firing() -> None:
    """Flink PurgingTriggerTest.testForwarding: with accumulate=False a firing empties the window, else it does not."""
    for accumulate, second in ((True, 4), (False, 2)):
        with Play(by_reduce(Tumbling(9), trigger=AfterCount(2, accumulate=accumulate))) as play:
            assert play.record(("a", 1), 0) == []
            assert play.record(("a", 1), 1) == [(("a", 2), 8999)]
            assert play.record(("a", 1), 2) == []
            assert play.record(("a", 1), 3) == [(("a", second), 8999)]


def test_count_windows() -> None:
    """Flink EvictingWindowOperatorTest.testCountTrigger: every 2 records, the last 4 of the key."""

    def operator(stream: DataStream[Pair]) -> DataStream[Pair]:
        return stream.keyby(key_of).window(Count(4, every=2)).reduce(add)

    with Play(operator) as play:
        keys = ["key2", "key2", "key1", "key1", "key1", "key2", "key2", "key2"]
        out = play.records(*[((key, 1), 0) for key in keys])
        assert sorted(item for item, _ in out) == [("key1", 2), ("key2", 2), ("key2", 4)]
        out = play.records((("key1", 1), 10999), (("key2", 1), 1000))
        assert sorted(item for item, _ in out) == [("key1", 4), ("key2", 4)]


# Beam: window functions


def test_fixed_windows() -> None:
    """Beam FixedWindowsTest.testSimpleFixedWindow: windows without records are not there."""
    expected = {(0, 10): {1, 2, 5, 9}, (10, 20): {10, 11}, (100, 110): {100}}
    assert windows_of(Tumbling(10), 1, 2, 5, 9, 10, 11, 100) == expected


def test_fixed_windows_with_an_offset() -> None:
    """Beam FixedWindowsTest.testFixedOffsetWindow: the first window begins before 0."""
    expected = {(-5, 5): {1, 2}, (5, 15): {5, 9, 10, 11}, (95, 105): {100}}
    assert windows_of(Tumbling(10, offset=5), 1, 2, 5, 9, 10, 11, 100) == expected


def test_sliding_windows_of_beam() -> None:
    """Beam SlidingWindowsTest.testSimple: windows reach to before 0."""
    expected = {(-5, 5): {1, 2}, (0, 10): {1, 2, 5, 9}, (5, 15): {5, 9, 10, 11}, (10, 20): {10, 11}}
    assert windows_of(Sliding(10, 5), 1, 2, 5, 9, 10, 11) == expected


def test_sliding_windows_that_overlap_slightly() -> None:
    """Beam SlidingWindowsTest.testSlightlyOverlapping: a size that is no multiple of the slide."""
    expected = {(-5, 2): {1}, (0, 7): {1, 2, 5}, (5, 12): {5, 9, 10, 11}, (10, 17): {10, 11}}
    assert windows_of(Sliding(7, 5), 1, 2, 5, 9, 10, 11) == expected


def test_sliding_windows_with_gaps_are_refused() -> None:
    """Beam SlidingWindowsTest.testElidings: records between windows would be in none.

    Ours differs: such windows are refused, since records would be lost without a trace; Beam drops them.
    """
    assert "would be lost" in problems(Sliding(3, 10))


def test_sliding_windows_with_an_offset() -> None:
    """Beam SlidingWindowsTest.testOffset: they are all shifted by it."""
    expected = {(-8, 2): {1}, (-3, 7): {1, 2, 5}, (2, 12): {2, 5, 9, 10, 11}, (7, 17): {9, 10, 11}}
    assert windows_of(Sliding(10, 5, offset=2), 1, 2, 5, 9, 10, 11) == expected


def test_sessions_apart() -> None:
    """Beam SessionsTest.testSimple: records a gap and more apart are sessions of their own.

    Ours differs: records exactly one gap apart are in one session, as in Flink; in Beam they are in two.
    """
    assert windows_of(Session(10), 0, 11, 101) == {(0, 10): {0}, (11, 21): {11}, (101, 111): {101}}
    assert windows_of(Session(10), 0, 10, 101) == {(0, 20): {0, 10}, (101, 111): {101}}


def test_sessions_merge() -> None:
    """Beam SessionsTest.testMerging: in whatever order records come."""
    expected = {(1, 40): {1, 10, 15, 22, 30}, (95, 111): {95, 100, 101}}
    assert windows_of(Session(10), 1, 15, 30, 100, 101, 95, 22, 10) == expected


# Beam: panes


def listed(window: Any, **keywords: Any) -> Windowed:
    """What each pane holds."""

    def told(key: str, window: Window, records: list[Any]) -> list[list[Any]]:
        return [list(records)]

    return lambda stream: stream.keyby(lambda record: "key").window(window, **keywords).process(told)


def test_late_data_accumulates() -> None:
    """Beam TestStreamTest.testLateDataAccumulating: the pane at the end, one for each late record, none when
    droppably late."""
    minute = 60_000
    trigger = AtEnd(early=AfterTime(120), late=AfterCount(1))
    operator = listed(Tumbling(300), trigger=trigger, allowed_lateness=300)
    with Play(operator, late=True) as play:
        assert play.records((1, 0), (2, 0), (3, 0)) == []
        assert play.mark(6 * minute) == [([1, 2, 3], 5 * minute - 1)]
        assert play.record(4, 0) == [([1, 2, 3, 4], 5 * minute - 1)]
        assert play.record(5, 0) == [([1, 2, 3, 4, 5], 5 * minute - 1)]
        assert play.mark(20 * minute) == []
        assert play.record(-1, 0) == [(("late", -1), 0)]
        assert play.end() == []


def test_early_panes_of_the_global_window() -> None:
    """Beam TestStreamTest.testProcessingTimeTrigger: a pane so long after the first record since the last pane."""

    def operator(stream: DataStream[int]) -> DataStream[int]:
        trigger = AtEnd(early=AfterTime(300))
        return stream.keyby(lambda value: "key").window(Global(), trigger=trigger).reduce(lambda a, b: a + b)

    with Play(operator) as play:
        play.records((1, 1000), (2, 2000))
        assert [out for out, _ in play.clock(12 * 60_000)] == [3]
        play.record(3, 3000)
        assert [out for out, _ in play.clock(18 * 60_000)] == [6]
        assert [out for out, _ in play.end()] == [6]


def test_early_panes_of_a_window() -> None:
    """Beam TestStreamTest.testEarlyPanesOfWindow: three early panes and one at the end, each with all there is."""

    def operator(stream: DataStream[int]) -> DataStream[int]:
        trigger = AtEnd(early=AfterTime(300))
        return stream.keyby(lambda value: "key").window(Tumbling(1800), trigger=trigger).reduce(lambda a, b: a + b)

    with Play(operator) as play:
        end = 1_799_999
        for number, expected in ((1, 1), (2, 3), (3, 6)):
            play.record(number, number * 1000)
            assert play.clock(number * 360_000) == [(expected, end)]
        assert play.end() == [(6, end)]


def test_panes_that_discard() -> None:
    """Beam TestStreamTest.testDiscardingMode: each record is in one pane: early, at the end, or late.

    Ours differs: each late record is a pane of its own. Beam's case has one at the very end of the window's life
    instead.
    """
    trigger = AtEnd(early=AfterCount(2), accumulate=False)
    with Play(listed(Tumbling(1), trigger=trigger, allowed_lateness=5)) as play:
        assert play.mark(0) == []
        assert play.record("firstPane", 100) == []
        assert play.record("alsoFirstPane", 200) == [(["firstPane", "alsoFirstPane"], 999)]
        assert play.record("onTimePane", 500) == []
        assert play.mark(1000) == [(["onTimePane"], 999)]
        assert play.record("finalLatePane", 750) == [(["finalLatePane"], 999)]
        assert play.record("alsoFinalLatePane", 250) == [(["alsoFinalLatePane"], 999)]
        assert play.end() == []


def test_the_first_record_is_late() -> None:
    """Beam TestStreamTest.testFirstElementLate: it is dropped, and what follows in time is not."""
    with Play(listed(Tumbling(1), allowed_lateness=5), late=True) as play:
        play.mark(0)
        assert play.record("late", -1_000_000) == [(("late", "late"), -1_000_000)]
        assert play.record("onTime", 100) == []
        assert play.end() == [(["onTime"], 999)]


def test_records_at_the_end_of_time() -> None:
    """Beam TestStreamTest.testElementsAtAlmostPositiveInfinity: their window fires at the end of input."""
    last = 253_402_300_799_999
    with Play(listed(Tumbling(6 * 3600))) as play:
        assert play.records(("foo", last), ("bar", last)) == []
        assert [out for out, _ in play.end()] == [["foo", "bar"]]


def test_late_records_of_one_key() -> None:
    """Beam LateDataDroppingDoFnRunnerTest.testLateDataFilter: only what is too late is dropped, and counted."""
    with Play(listed(Tumbling(0.01)), late=True) as play:
        play.mark(15)
        assert play.records((13, 13), (5, 5), (16, 16), (18, 18)) == [(("late", 5), 5)]
        assert play.end() == [([13, 16, 18], 19)]
