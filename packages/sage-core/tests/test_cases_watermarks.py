"""Cases of watermarks, rewritten from the public suites of Flink and Beam. See docs/reference/semantics-cases.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from cases import Play, ms_of, records_of, seconds

from sage.core.api import DataStream, ProcessFunction, TimestampFunction, Tumbling
from sage.core.engine.event_time import MIN_TIME
from sage.core.engine.valve import Valve
from sage.core.testing import Harness

# Flink: the valve in front of a task


def test_all_channels_start_active() -> None:
    """Flink StatusWatermarkValveTest.testAllInputChannelsStartAsActive: an input is idle when the last channel is."""
    valve = Valve(4)
    for channel in (3, 0, 1):
        assert not valve.mark(channel, MIN_TIME, idle=True)
        assert not valve.idle
    assert valve.mark(2, MIN_TIME, idle=True)
    assert valve.idle and valve.time == MIN_TIME


def test_one_channel() -> None:
    """Flink StatusWatermarkValveTest.testOneInputValve: watermarks never go back, idle or not.

    Ours differs: a watermark without the mark of idleness wakes its channel up; there is no message for that alone.
    """
    valve = Valve(1)
    for time, news in ((0, True), (25, True), (18, False), (42, True)):
        assert valve.mark(0, time) is news
    assert valve.time == 42
    assert valve.mark(0, 42, idle=True) and valve.idle
    assert not valve.mark(0, 42, idle=True)
    assert valve.mark(0, 40) and not valve.idle  # it has woken up
    assert valve.time == 42
    assert valve.mark(0, 68) and valve.time == 68
    assert valve.mark(0, 72) and valve.time == 72


def test_several_channels() -> None:
    """Flink StatusWatermarkValveTest.testMultipleInputValve: the slowest active channel tells the time."""
    valve = Valve(3)
    assert not valve.mark(0, 0)
    assert not valve.mark(1, 0)
    assert valve.mark(2, 0) and valve.time == 0
    assert not valve.mark(0, 12)
    assert not valve.mark(2, 8)
    assert not valve.mark(2, 10)
    assert valve.mark(1, 15) and valve.time == 10
    assert not valve.mark(0, 6)
    assert valve.mark(2, 10, idle=True) and valve.time == 12
    assert valve.mark(0, 17) and valve.time == 15
    assert not valve.mark(0, 25)
    assert valve.mark(1, 20) and valve.time == 20


def awake_behind() -> Valve:
    """Of three channels, the last was idle and woke up at 18, when it was 20."""
    valve = Valve(3)
    for channel, time in ((0, 25), (1, 20), (2, 10)):
        valve.mark(channel, time)
    valve.mark(2, 10, idle=True)
    assert valve.time == 20
    valve.mark(2, 18)
    assert valve.time == 20
    return valve


def test_a_channel_that_wakes_up_behind_is_not_waited_for() -> None:
    """Flink StatusWatermarkValveTest.testMultipleInputValve (resuming): it counts again when it has caught up."""
    valve = awake_behind()
    assert valve.mark(1, 22) and valve.time == 22
    assert not valve.mark(0, 28)
    assert valve.mark(1, 33) and valve.time == 28
    assert not valve.mark(2, 30)
    assert valve.mark(0, 31) and valve.time == 30
    assert valve.mark(2, 34) and valve.time == 31
    assert valve.mark(0, 31, idle=True) and valve.time == 33
    valve.mark(2, 34, idle=True)
    assert not valve.idle
    assert valve.mark(1, 33, idle=True) and valve.idle


def test_a_channel_behind_that_goes_idle_again_changes_nothing() -> None:
    """Flink StatusWatermarkValveTest.testUnalignedActiveChannelBecomesIdle: it was not waited for before either."""
    valve = Valve(2)
    valve.mark(0, 7)
    valve.mark(1, 0, idle=True)
    assert valve.time == 7
    valve.mark(1, 5)  # awake, and behind
    assert valve.time == 7
    valve.mark(1, 5, idle=True)
    assert valve.time == 7 and not valve.idle
    assert valve.mark(0, 9) and valve.time == 9


def test_the_furthest_tells_the_time_when_all_are_idle() -> None:
    """Flink StatusWatermarkValveTest.testMultipleInputFlushMaxWatermarkAndStreamStatusOnceAllInputsBecomeIdle:
    nobody is waited for."""
    valve = Valve(3)
    for channel, time in ((0, 10), (1, 5), (2, 3)):
        valve.mark(channel, time)
    assert valve.time == 3
    assert not valve.mark(0, 10, idle=True)
    assert valve.mark(2, 3, idle=True) and valve.time == 5
    assert valve.mark(1, 5, idle=True)
    assert (valve.time, valve.idle) == (10, True)


def test_nothing_happens_when_all_that_are_active_are_behind() -> None:
    """Flink StatusWatermarkValveTest.testNoOutputWhenAllActiveChannelsAreUnaligned: time stands still."""
    valve = Valve(3)
    valve.mark(0, 10)
    valve.mark(1, 7)
    assert valve.mark(2, MIN_TIME, idle=True) and valve.time == 7
    valve.mark(2, 1)  # awake, and behind
    valve.mark(0, 10, idle=True)
    valve.mark(1, 7, idle=True)
    assert valve.time == 7 and not valve.idle


def test_a_channel_that_wakes_up_ahead_tells_the_time_alone() -> None:
    """Flink StatusWatermarkValveTest.testWatermarkAdvancesWhenReactivatedChannelBecomesOnlyAlignedChannel: at once."""
    valve = Valve(3)
    valve.mark(0, 10)
    valve.mark(1, 7)
    valve.mark(2, MIN_TIME, idle=True)
    valve.mark(2, 1)
    valve.mark(0, 10, idle=True)
    valve.mark(1, 7, idle=True)
    assert valve.time == 7
    assert valve.mark(0, 10) and valve.time == 10 and not valve.idle


# Flink: where watermarks come from


class Telling(ProcessFunction[Any, float]):
    """Tells the watermark that a record finds, in ms."""

    def execute(self, record: Any) -> Iterable[Any]:
        watermark = self.context.watermark
        yield watermark if abs(watermark) == float("inf") else ms_of(watermark)


def after(records: list[int], *, out_of_order: float = 0) -> list[Any]:
    """The watermarks that records at these ms find."""

    def operator(stream: DataStream[int]) -> DataStream[Any]:
        return stream.assign_timestamps(seconds, out_of_order=seconds(out_of_order)).process(Telling)

    with Harness(operator) as harness:
        return [out for ms in records for out in records_of(harness.send(ms))]


def test_no_watermark_before_a_record() -> None:
    """Flink BoundedOutOfOrdernessWatermarksTest.testWatermarkBeforeRecords: nothing is known to be over yet."""
    assert after([0], out_of_order=10) == [float("-inf")]


def test_watermarks_stay_behind_the_records() -> None:
    """Flink BoundedOutOfOrdernessWatermarksTest.testWatermarkAfterEvent: by what they may be out of order, and a bit.

    Ours differs: the bit is a microsecond, Flink's a millisecond.
    """
    assert after([1337, 9999], out_of_order=10)[1] == 1337 - 10 - 1


def test_watermarks_do_not_go_back() -> None:
    """Flink BoundedOutOfOrdernessWatermarksTest.testWatermarkAfterNonMonotonousEvents: the highest time so far
    counts."""
    assert after([12345, 12300, 12340, 12345, 0], out_of_order=10)[1:] == [12345 - 10 - 1] * 4


def test_watermarks_of_records_in_order() -> None:
    """Flink AscendingTimestampsWatermarksTest.testWatermarkAfterEvent: all before the record is over, its own time
    is not."""
    assert after([1337, 1337, 1338])[1:] == [1336, 1336]


def test_negative_times_have_watermarks() -> None:
    """Flink TimestampsAndWatermarksOperatorTest.testNegativeTimestamps: times before 1970 are like
    others."""
    assert after([-12345, 0], out_of_order=10)[1] == -12345 - 10 - 1


class Said(TimestampFunction[tuple[int, int | None]]):
    """Some records say how far time has come."""

    def execute(self, record: tuple[int, int | None]) -> float:
        return seconds(record[0])

    def watermark(self, record: tuple[int, int | None], time: float) -> float | None:
        return None if record[1] is None else seconds(record[1])


def test_watermarks_that_records_bring() -> None:
    """Flink TimestampsAndWatermarksOperatorTest.punctuatedWatermarksEmitInStreamingMode: one that goes back is none.

    Ours differs: a watermark is in force for the next record; Flink's goes out directly behind the record, which
    is the same.
    """
    with Harness(lambda s: s.assign_timestamps(Said).process(Telling)) as harness:
        out = [records_of(harness.send(step))[0] for step in ((1, None), (5, 4), (3, 2), (9, 8), (9, None))]
    assert out == [float("-inf"), float("-inf"), 4, 4, 8]


def both(left: DataStream[int], right: DataStream[int]) -> DataStream[Any]:
    """Two inputs; the first is not waited for when nothing comes for 10 s."""
    first = left.assign_timestamps(seconds, idle_after=10)
    return first.union(right.assign_timestamps(seconds)).process(Telling)


def test_an_idle_input_is_not_waited_for() -> None:
    """Flink WatermarksWithIdlenessTest.testPeriodicWatermarksWithIdleness (and
    AbstractStreamOperatorTest.testIdleWatermarkHandling): until it has something again."""
    with Harness(both) as harness:
        harness.send(1000)
        harness.send(5000, input=1)
        assert records_of(harness.send(6000, input=1)) == [999]
        harness.advance(9)
        assert records_of(harness.send(7000, input=1)) == [999]
        harness.advance(2)
        assert records_of(harness.send(8000, input=1)) == [6999]
        assert records_of(harness.send(7500)) == [7999]
        assert records_of(harness.send(9000, input=1)) == [7999]


def test_the_slower_input_tells_the_time() -> None:
    """Flink TwoInputStreamTaskTest.testWatermarkMetrics (and the valve): a stream of two has the earlier of their
    watermarks."""
    with Harness(both) as harness:
        harness.send(5000)
        assert records_of(harness.send(1000, input=1)) == [float("-inf")]
        assert records_of(harness.send(3000, input=1)) == [999]
        assert records_of(harness.send(9000)) == [2999]


async def doubled(value: int) -> int:
    return 2 * value


@pytest.mark.parametrize("ordered", [True, False])
def test_watermarks_do_not_overtake_coroutines(ordered: bool) -> None:
    """Flink AsyncWaitOperatorTest.testEventTimeOrdered (and testEventTimeUnordered): what was before a watermark
    stays so."""

    def operator(stream: DataStream[int]) -> DataStream[Any]:
        found = stream.map_async(doubled, ordered=ordered)
        return found.window(Tumbling(1)).process(lambda key, window, records: [sorted(records)])

    with Play(operator, late=True) as play:
        play.records((1, 1), (2, 2))
        assert play.mark(2) == []
        play.record(3, 3)
        assert play.mark(1000) == [([2, 4, 6], 999)]
