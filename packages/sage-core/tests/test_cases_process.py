"""Cases of timers and keyed state, rewritten from the public suites of Flink and Beam. See docs/reference/semantics-
cases.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from cases import Looping, Play, ms_of, ordered, seconds

from sage.core.api import CoProcessFunction, DataStream, ProcessFunction, RuntimeContext, Timer
from sage.core.engine.context import TimeKind

TIMES: tuple[TimeKind, ...] = ("event", "processing")


def itself(record: Any) -> Any:
    return record


class Asking(ProcessFunction[int, str]):
    """Tells the time that it is."""

    def __init__(self, time: TimeKind) -> None:
        self.time = time

    def execute(self, value: int) -> Iterable[str]:
        now = self.context.watermark if self.time == "event" else self.context.now
        yield f"{value}TIME:{ms_of(now)} TS:{ms_of(self.context.timestamp or 0)}"


class Setting(ProcessFunction[int, int]):
    """Sets a timer for 5 ms from now."""

    def __init__(self, time: TimeKind) -> None:
        self.time = time

    def execute(self, value: int) -> Iterable[int]:
        yield value
        now = self.context.watermark if self.time == "event" else self.context.now
        self.context.set_timer(seconds(ms_of(now) + 5), time=self.time)

    def on_timer(self, timer: Timer) -> Iterable[int]:
        assert timer.time == self.time
        yield 1777


class Remembering(ProcessFunction[int, str]):
    """Keeps the record of each key until its timer comes."""

    def __init__(self, time: TimeKind) -> None:
        self.time = time

    def open(self, context: RuntimeContext) -> None:
        self.seen = context.value_state("seen")

    def execute(self, value: int) -> Iterable[str]:
        yield f"INPUT:{value}"
        self.seen.set(value)
        now = self.context.watermark if self.time == "event" else self.context.now
        self.context.set_timer(seconds(ms_of(now) + 5), time=self.time)

    def on_timer(self, timer: Timer) -> Iterable[str]:
        yield f"STATE:{self.seen.get()}"


class Both(ProcessFunction[int, str]):
    """Sets a timer of each kind and puts out nothing else."""

    def execute(self, value: int) -> None:
        self.context.set_timer(seconds(5), time="processing")
        self.context.set_timer(seconds(6), time="event")

    def on_timer(self, timer: Timer) -> Iterable[str]:
        yield "EVENT:1777" if timer.time == "event" else "PROC:1777"


# Flink: the process operator


def test_time_and_watermark_are_at_hand() -> None:
    """Flink KeyedProcessOperatorTest.testTimestampAndWatermarkQuerying: the watermark before the record, and its
    own time."""
    with Play(lambda s: s.keyby(itself).process(Asking, "event")) as play:
        play.mark(17)
        assert play.record(5, 12) == [("5TIME:17 TS:12", 12)]
        play.mark(42)
        assert play.record(6, 13) == [("6TIME:42 TS:13", 13)]


def test_time_and_processing_time_are_at_hand() -> None:
    """Flink KeyedProcessOperatorTest.testTimestampAndProcessingTimeQuerying: the clock, and the record's own time."""
    with Play(lambda s: s.keyby(itself).process(Asking, "processing")) as play:
        play.clock(17)
        assert play.record(5, 1) == [("5TIME:17 TS:1", 1)]
        play.clock(42)
        assert play.record(6, 2) == [("6TIME:42 TS:2", 2)]


def test_event_timers() -> None:
    """Flink KeyedProcessOperatorTest.testEventTimeTimers: a watermark fires them; what they put out has their time."""
    with Play(lambda s: s.keyby(itself).process(Setting, "event")) as play:
        play.mark(0)
        assert play.record(17, 42) == [(17, 42)]
        assert play.mark(4) == []
        assert play.mark(5) == [(1777, 5)]
        assert play.mark(9) == []


def test_processing_timers() -> None:
    """Flink KeyedProcessOperatorTest.testProcessingTimeTimers: the clock fires them.

    Ours differs: what they put out carries the watermark's time where the stream has event times, Flink's the timer's,
    though that is a point on another scale.
    """
    with Play(lambda s: s.keyby(itself).process(Setting, "processing")) as play:
        assert play.record(17, 42) == [(17, 42)]
        assert play.clock(4) == []
        assert [out for out, _ in play.clock(5)] == [1777]
        assert play.clock(9) == []


def test_event_timers_see_the_state_of_their_key() -> None:
    """Flink KeyedProcessOperatorTest.testEventTimeTimerWithState: nothing leaks from one key to another."""
    with Play(lambda s: s.keyby(itself).process(Remembering, "event")) as play:
        play.mark(1)
        assert play.record(17, 0) == [("INPUT:17", 0)]
        play.mark(2)
        assert play.record(42, 1) == [("INPUT:42", 1)]
        assert play.mark(6) == [("STATE:17", 6)]
        assert play.mark(7) == [("STATE:42", 7)]


def test_processing_timers_see_the_state_of_their_key() -> None:
    """Flink KeyedProcessOperatorTest.testProcessingTimeTimerWithState: nothing leaks from one key to another."""
    with Play(lambda s: s.keyby(itself).process(Remembering, "processing")) as play:
        play.clock(1)
        play.record(17, 0)
        play.clock(2)
        play.record(42, 0)
        assert [out for out, _ in play.clock(6)] == ["STATE:17"]
        assert [out for out, _ in play.clock(7)] == ["STATE:42"]


def test_timers_are_saved_and_restored() -> None:
    """Flink KeyedProcessOperatorTest.testSnapshotAndRestore: timers of both kinds fire in the job that goes on."""
    with Play(lambda s: s.keyby(itself).process(Both)) as play:
        assert play.record(5, 12) == []
        play.reopen()
        assert [out for out, _ in play.clock(5)] == ["PROC:1777"]
        assert play.mark(6) == [("EVENT:1777", 6)]


class Several(ProcessFunction[tuple[str, int], tuple[str, int]]):
    """Sets timers as the record says, by name: set, or delete."""

    def execute(self, record: tuple[str, int]) -> None:
        what, at = record
        act = self.context.set_timer if what == "set" else self.context.delete_timer
        act(seconds(at), time="event")

    def on_timer(self, timer: Timer) -> Iterable[Any]:
        yield self.context.key, ms_of(timer.at)


def test_setting_a_timer_twice_is_setting_it_once() -> None:
    """Flink InternalTimerServiceImplTest.testSetAndFireEventTimeTimers: timers are a set, for each key."""
    with Play(lambda s: s.keyby(lambda r: "key").process(Several)) as play:
        play.records((("set", 10), 0), (("set", 10), 0), (("set", 11), 0), (("set", 20), 0))
        assert play.mark(15) == [(("key", 10), 10), (("key", 11), 11)]
        assert play.mark(20) == [(("key", 20), 20)]
        assert play.mark(100) == []


def test_deleted_timers_do_not_fire() -> None:
    """Flink InternalTimerServiceImplTest.testDeleteEventTimeTimers: of one key only; deleting what is not set does
    nothing."""
    with Play(lambda s: s.keyby(lambda r: r[0]).process(SeveralOfKeys)) as play:
        for key in ("a", "b"):
            play.records((((key, "set", 10)), 0), ((key, "set", 20), 0))
        play.records((("a", "delete", 10), 0), (("a", "delete", 99), 0))
        assert play.mark(15) == [(("b", 10), 10)]
        assert play.mark(100) == ordered((("a", 20), 20), (("b", 20), 20))


class SeveralOfKeys(ProcessFunction[tuple[str, str, int], tuple[str, int]]):
    """The same, with the key in the record."""

    def execute(self, record: tuple[str, str, int]) -> None:
        act = self.context.set_timer if record[1] == "set" else self.context.delete_timer
        act(seconds(record[2]), time="event")

    def on_timer(self, timer: Timer) -> Iterable[Any]:
        yield self.context.key, ms_of(timer.at)


def test_timers_follow_their_keys_to_other_subtasks() -> None:
    """Flink InternalTimerServiceImplTest.testSnapshotAndRebalancingRestore: each fires once, at another parallelism."""
    parallelism = [2]

    def operator(stream: DataStream[Any]) -> DataStream[Any]:
        return stream.keyby(lambda r: r[0]).process(SeveralOfKeys, parallelism=parallelism[0])

    with Play(operator) as play:
        keys = [f"key{number}" for number in range(10)]
        for key in keys:
            play.record((key, "set", 10), 0)
        parallelism[0] = 3
        play.reopen()
        assert sorted(out for out, _ in play.mark(10)) == sorted((key, 10) for key in keys)
        assert play.end() == []


# Flink: two inputs


class TwoInputs(CoProcessFunction):
    """Keeps what comes by either input, and tells it when its timer comes."""

    def open(self, context: RuntimeContext) -> None:
        self.seen = context.value_state("seen")

    def process0(self, value: int) -> Iterable[str]:
        yield f"INPUT1:{value}"
        self.seen.set(str(value))
        self.context.set_timer(seconds(ms_of(self.context.watermark) + 5))

    def process1(self, value: str) -> Iterable[str]:
        yield f"INPUT2:{value}"
        self.seen.set(value)
        self.context.set_timer(seconds(ms_of(self.context.watermark) + 5))

    def on_timer(self, timer: Timer) -> Iterable[str]:
        yield f"STATE:{self.seen.get()}"


def two_inputs(left: DataStream[int], right: DataStream[str]) -> DataStream[str]:
    return left.connect(right).keyby(str, str).process(TwoInputs)


def test_the_watermark_of_two_inputs_is_the_earlier_one() -> None:
    """Flink KeyedCoProcessOperatorTest.testTimestampAndWatermarkQuerying: time goes on when both inputs have."""
    with Play(two_inputs) as play:
        assert play.marks(1) == []
        assert play.record(17, 0) == [("INPUT1:17", 0)]
        assert play.mark(6) == []
        assert play.mark(5, input=1) == []
        assert play.mark(6, input=1) == [("STATE:17", 6)]


def test_event_timers_of_two_inputs_see_the_state_of_their_key() -> None:
    """Flink KeyedCoProcessOperatorTest.testEventTimeTimerWithState: both inputs share state and timers of a key."""
    with Play(two_inputs) as play:
        play.marks(1)
        assert play.record(17, 0) == [("INPUT1:17", 0)]
        assert play.record("13", 0, input=1) == [("INPUT2:13", 0)]
        play.marks(2)
        assert play.record(13, 1) == [("INPUT1:13", 1)]
        assert play.record("42", 1, input=1) == [("INPUT2:42", 1)]
        assert play.marks(6) == ordered(("STATE:17", 6), ("STATE:13", 6))
        assert play.marks(7) == ordered(("STATE:13", 7), ("STATE:42", 7))


# Beam: ParDo with timers and state


class Once(ProcessFunction[int, str | int]):
    """Puts out 3, and 42 when the window of its life ends."""

    def execute(self, value: int) -> Iterable[int]:
        self.context.set_timer(seconds(1), time="event")
        yield 3

    def on_timer(self, timer: Timer) -> Iterable[int]:
        yield 42


def test_an_event_timer_of_a_bounded_input_fires() -> None:
    """Beam ParDoTest.TimerTests.testEventTimeTimerBounded: the end of input brings the greatest watermark."""
    with Play(lambda s: s.keyby(itself).process(Once)) as play:
        assert play.record(5, 0) == [(3, 0)]
        assert play.end() == [(42, 1)]


def test_a_timer_sets_itself_again() -> None:
    """Beam ParDoTest.TimerTests.testEventTimeTimerLoop: each time fires at its own, one after the other."""
    with Play(lambda s: s.keyby(itself).process(Looping)) as play:
        assert play.record(5, 0) == []
        assert play.mark(100) == [(count, count + 1) for count in range(6)]
        assert play.end() == []


class Keyed(ProcessFunction[tuple[str, int], tuple[str, int]]):
    """A timer for each record, at the time that the record says."""

    def execute(self, record: tuple[str, int]) -> None:
        self.context.set_timer(seconds(record[1]))

    def on_timer(self, timer: Timer) -> Iterable[Any]:
        yield self.context.key, ms_of(timer.at)


def test_timers_of_several_keys() -> None:
    """Beam ParDoTest.TimerTests.testEventTimeTimerMultipleKeys: each key has its own, at the same instant too."""
    with Play(lambda s: s.keyby(lambda r: r[0]).process(Keyed)) as play:
        play.records(*[((f"key{number}", 7), 0) for number in range(5)])
        assert play.end() == [((f"key{number}", 7), 7) for number in range(5)]


def test_timers_fire_in_the_order_of_time() -> None:
    """Beam ParDoTest.TimerTests.testEventTimeTimerOrdering: whatever the order in which they were set."""
    with Play(lambda s: s.keyby(lambda r: "key").process(Several)) as play:
        play.records(*[(("set", time), 0) for time in (30, 10, 20, 15)])
        play.end()
        assert [record for record, _ in play.outputs] == [("key", time) for time in (10, 15, 20, 30)]


class Resetting(ProcessFunction[str, str]):
    """One timer for each key, put off by every record."""

    def open(self, context: RuntimeContext) -> None:
        self.at = context.value_state("at")

    def execute(self, record: str) -> None:
        time: TimeKind = "event" if record.startswith("event") else "processing"
        at, now = self.at.get(), self.context.timestamp if time == "event" else self.context.now
        assert now is not None
        if at is not None:
            self.context.delete_timer(at, time=time)
        self.at.set(now + 0.1)
        self.context.set_timer(now + 0.1, time=time)

    def on_timer(self, timer: Timer) -> Iterable[str]:
        yield f"{timer.time}@{ms_of(timer.at)}"


def test_an_event_timer_is_put_off() -> None:
    """Beam ParDoTest.TimerTests.testEventTimeTimerCanBeReset: only the last setting fires.

    Ours differs: timers have no names, so putting one off is deleting the one and setting the other.
    """
    with Play(lambda s: s.keyby(itself).process(Resetting)) as play:
        play.records(("event", 0), ("event", 50))
        assert play.mark(100) == []
        assert play.mark(150) == [("event@150", 150)]
        assert play.end() == []


def test_a_processing_timer_is_put_off() -> None:
    """Beam ParDoTest.TimerTests.testProcessingTimeTimerCanBeReset: only the last setting fires."""
    with Play(lambda s: s.keyby(itself).process(Resetting)) as play:
        play.record("processing", 0)
        play.clock(50)
        play.record("processing", 0)
        assert play.clock(100) == []
        assert [out for out, _ in play.clock(150)] == ["processing@150"]


class PingPong(ProcessFunction[int, str]):
    """Two timers that set each other, until it has been enough."""

    def open(self, context: RuntimeContext) -> None:
        self.count = context.value_state("count", 0)

    def execute(self, value: int) -> None:
        self.context.set_timer(0.001, time="event")

    def on_timer(self, timer: Timer) -> Iterable[str]:
        self.count.set(self.count.get() + 1)
        if self.count.get() < 4:
            self.context.set_timer(timer.at + 0.001, time="event")
        yield f"{'ping' if self.count.get() % 2 else 'pong'} {ms_of(timer.at)}"


def test_timers_that_set_each_other() -> None:
    """Beam ParDoTest.TimerTests.testTwoTimersSettingEachOther: within one advance of the watermark, in turns."""
    with Play(lambda s: s.keyby(itself).process(PingPong)) as play:
        play.record(1, 0)
        assert play.mark(100) == [("ping 1", 1), ("pong 2", 2), ("ping 3", 3), ("pong 4", 4)]


def test_processing_timers_fire_at_the_end_of_input() -> None:
    """Beam ParDoTest.TimerTests.testSimpleProcessingTimerTimer: a bounded input waits for no clock.

    Ours differs: at the end of input they fire at once, after the event timers; Beam waits for the clock, Flink
    drops them.
    """
    with Play(lambda s: s.keyby(itself).process(Both)) as play:
        play.record(5, 12)
        play.end()
        assert [record for record, _ in play.outputs] == ["EVENT:1777", "PROC:1777"]


class Numbering(ProcessFunction[tuple[str, int], int]):
    """Numbers the records of a key."""

    def open(self, context: RuntimeContext) -> None:
        self.next = context.value_state("next", 0)

    def execute(self, record: tuple[str, int]) -> Iterable[int]:
        yield self.next.get()
        self.next.set(self.next.get() + 1)


def test_value_state() -> None:
    """Beam ParDoTest.StateTests.testValueStateSimple: each record of a key finds what the one before has left."""
    with Play(lambda s: s.keyby(lambda r: r[0]).process(Numbering)) as play:
        out = play.records((("hello", 42), 0), (("hello", 97), 0), (("hello", 84), 0), (("other", 1), 0))
        assert [item for item, _ in out] == [0, 1, 2, 0]


class Bagging(ProcessFunction[tuple[str, int], list[int]]):
    """Puts out what has gathered, when there are four."""

    def open(self, context: RuntimeContext) -> None:
        self.bag = context.list_state("bag")

    def execute(self, record: tuple[str, int]) -> Iterable[list[int]]:
        self.bag.append(record[1])
        if len(self.bag) >= 4:
            yield sorted(self.bag)


def test_list_state() -> None:
    """Beam ParDoTest.StateTests.testBagState: what was appended is there for the next record of the key."""
    with Play(lambda s: s.keyby(lambda r: r[0]).process(Bagging)) as play:
        out = play.records(*[(("hello", number), 0) for number in (97, 42, 84, 12)])
        assert [item for item, _ in out] == [[12, 42, 84, 97]]


# Flink: the time that state lives


class Expiring(ProcessFunction[tuple[str, int | None], Any]):
    """Sets a value where the record has one, and tells what is there."""

    def __init__(self, time: TimeKind) -> None:
        self.time = time

    def open(self, context: RuntimeContext) -> None:
        self.value = context.value_state("value", ttl=seconds(100), ttl_time=self.time)

    def execute(self, record: tuple[str, int | None]) -> Iterable[Any]:
        if record[1] is not None:
            self.value.set(record[1])
        yield self.value.get()


@pytest.mark.parametrize("time", TIMES)
def test_state_expires(time: TimeKind) -> None:
    """Flink TtlStateTestBase.testExactExpirationOnWrite: so long after it was last written, whether it is read or not.

    Ours differs: also by event time; Flink has processing time only.
    """
    with Play(lambda s: s.keyby(lambda r: r[0]).process(Expiring, time)) as play:

        def pass_to(ms: int) -> None:
            play.mark(ms - 1) if time == "event" else play.clock(ms)

        def told(value: int | None, ms: int) -> Any:
            return play.record(("key", value), ms)[0][0]

        assert told(1, 0) == 1
        pass_to(20)
        assert told(None, 20) == 1
        assert told(2, 20) == 2
        pass_to(119)
        assert told(None, 119) == 2
        pass_to(121)
        assert told(None, 121) is None
        assert told(3, 121) == 3


def test_state_that_expires_is_saved_with_its_age() -> None:
    """Flink TtlStateTestBase.testMultipleKeysWithSnapshotCleanup: it expires when it would have without the restart."""
    with Play(lambda s: s.keyby(lambda r: r[0]).process(Expiring, "event")) as play:
        play.record(("a", 1), 0)
        play.mark(49)
        play.record(("b", 2), 50)
        play.reopen()
        play.mark(119)
        assert play.record(("a", None), 120)[0][0] is None
        assert play.record(("b", None), 120)[0][0] == 2
