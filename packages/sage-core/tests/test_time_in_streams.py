"""Event time through pipelines: it stays with records, no watermark overtakes them, timers fire when it has come."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.core.api import (
    CoProcessFunction,
    DataStream,
    LocalEnvironment,
    ProcessFunction,
    RuntimeContext,
    SourceFunction,
    Timer,
    TimestampFunction,
    retry,
    skip,
)
from sage.core.connectors.api import STOP
from sage.core.errors import GraphError, JobFailedError, TimerError, TimestampError
from sage.core.testing import At, Forever, Harness, Idle, Input, Watermark, run_operator

Declare = Callable[[LocalEnvironment], DataStream[Any]]


def run(declare: Declare, backend: str = "inline", **options: Any) -> list[Any]:
    found: list[Any] = []
    env = LocalEnvironment("time", backend, options=options)
    declare(env).sink(found.append)
    env.submit(autostop=True, timeout=60)
    return found


class Seen(ProcessFunction[Any, tuple[Any, float | None, bool]]):
    """Puts out a record, its time, and whether it is late."""

    def execute(self, value: Any) -> Iterable[tuple[Any, float | None, bool]]:
        time = self.context.timestamp
        yield value, time, time is not None and time <= self.context.watermark


async def soon(value: Any) -> Any:
    await asyncio.sleep(0.001 * (int(value) % 3))
    return value


def same(value: Any) -> Any:
    return value


WAYS: dict[str, Callable[[DataStream[Any]], DataStream[Any]]] = {
    "nothing": lambda stream: stream,
    "map": lambda stream: stream.map(same),
    "filter_map": lambda stream: stream.filter_map(lambda value: value if value % 2 == 0 else None),
    "filter": lambda stream: stream.filter(lambda value: value % 3),
    "flatmap": lambda stream: stream.flatmap(lambda value: [value] * (value % 3)),
    "keyby, reduce": lambda stream: stream.keyby(lambda value: value % 5).reduce(lambda _, value: value, parallelism=2),
    "keyby, filter": lambda stream: stream.keyby(lambda value: value % 5).filter(
        lambda value: value % 2, parallelism=3
    ),
    "union": lambda stream: stream.union(stream.map(same)),
    "comap": lambda stream: stream.connect(stream.map(same)).comap(same, same),
    "broadcast": lambda stream: stream.broadcast().map(same, parallelism=2),
    "rebalance": lambda stream: stream.rebalance().map(same, parallelism=3),
    "map_batches": lambda stream: stream.map_batches(list, max_size=7),
    "map_batches that leave some out": lambda stream: stream.map_batches(lambda batch: batch[-1:], max_size=7),
    "map_async": lambda stream: stream.map_async(soon, concurrency=8),
    "map_async, unordered": lambda stream: stream.map_async(soon, concurrency=8, ordered=False),
    "process": lambda stream: stream.process(lambda value: [value]),
    "timestamps again": lambda stream: stream.assign_timestamps(lambda value: value),
}


@pytest.mark.parametrize("backend", ["inline", "local"])
@pytest.mark.parametrize("way", WAYS)
def test_times_stay_with_their_records_and_watermarks_behind_them(way: str, backend: str) -> None:
    """Whatever operators are in between: each result has the time of its record, and none in order is late."""
    found = run(
        lambda env: WAYS[way](env.from_batch(range(100)).assign_timestamps(lambda value: value)).process(Seen), backend
    )
    assert found
    assert all(time == value for value, time, _ in found)
    assert not any(late for _, _, late in found)


@given(st.lists(st.integers(-50, 50), max_size=40), st.integers(0, 20))
def test_a_record_is_late_if_its_time_is_not_after_the_watermark(times: list[int], behind: int) -> None:
    """Record by record on `inline`: the watermark is just short of the highest time before, less ``out_of_order``."""
    found = run(lambda env: env.from_batch(times).assign_timestamps(same, out_of_order=behind).process(Seen))
    assert found == [
        (time, time, time < max(times[:number], default=-math.inf) - behind) for number, time in enumerate(times)
    ]


class Alarm(ProcessFunction[Any, Any]):
    """A timer for each record, at its second field."""

    def execute(self, value: Any) -> None:
        self.context.set_timer(value[1])

    def on_timer(self, timer: Timer) -> Iterator[Any]:
        yield self.context.key, timer.at, self.context.timestamp, self.context.watermark


def keyed(env: LocalEnvironment, records: list[Any]) -> DataStream[Any]:
    return env.from_batch(records).assign_timestamps(lambda record: record[2]).keyby(lambda record: record[0])


def test_timers_fire_in_the_order_of_time_once_the_watermark_has_come() -> None:
    """Each once, with its key and its own time; what is left fires at the end of input."""
    records = [("a", 10, 1), ("b", 5, 2), ("a", 10, 3), ("b", 30, 12), ("a", 20, 13)]
    assert run(lambda env: keyed(env, records).process(Alarm)) == [
        ("b", 5.0, 5.0, 11.999999),
        ("a", 10.0, 10.0, 11.999999),
        ("a", 20.0, 20.0, math.inf),
        ("b", 30.0, 30.0, math.inf),
    ]


@pytest.mark.parametrize("backend", ["inline", "local"])
@pytest.mark.parametrize("parallelism", [1, 3])
def test_every_timer_fires_once(backend: str, parallelism: int) -> None:
    """On any backend, at any parallelism, also where thousands are due at once."""
    records = [(number % 500, number + 50, number) for number in range(20_000)]
    found = run(lambda env: keyed(env, records).process(Alarm, parallelism=parallelism), backend)
    assert sorted((key, time) for key, time, _, _ in found) == sorted((key, float(at)) for key, at, _ in records)


def test_a_timer_in_the_past_fires_next() -> None:
    """Before the next record, at the time that it was set for."""
    found = run(lambda env: keyed(env, [("a", 100, 50), ("a", 3, 60), ("b", 200, 61)]).process(Alarm))
    assert [item[:2] for item in found] == [("a", 3.0), ("a", 100.0), ("b", 200.0)]


class Restless(ProcessFunction[Any, Any]):
    def execute(self, value: Any) -> None:
        self.context.set_timer(value[2])

    def on_timer(self, timer: Timer) -> None:
        self.context.set_timer(timer.at)


def test_a_timer_that_never_comes_to_rest_is_named() -> None:
    """One that is set for its own instant whenever it fires would go on for ever."""
    with pytest.raises(JobFailedError, match="sets timers for times that have come already") as caught:
        run(lambda env: keyed(env, [("a", 0, 1), ("a", 0, 2)]).process(Restless))
    assert isinstance(caught.value.__cause__, TimerError)


class Heartbeat(ProcessFunction[Any, Any]):
    def execute(self, value: Any) -> None:
        self.context.set_timer(math.ceil(value[2] / 10) * 10)

    def on_timer(self, timer: Timer) -> Iterator[Any]:
        self.context.set_timer(timer.at + 10)
        yield timer.at


def test_what_is_set_when_time_is_over_does_not_fire() -> None:
    """A timer that sets the next one goes on as long as time does, and does not keep the job from ending."""
    assert run(lambda env: keyed(env, [("a", 0, 1), ("a", 0, 35)]).process(Heartbeat)) == [10.0, 20.0, 30.0, 40.0]


class Late(ProcessFunction[Any, Any]):
    """Timers by the clock."""

    def execute(self, value: Any) -> Iterator[Any]:
        yield "record", value[0], self.context.now
        self.context.set_timer(self.context.now + value[1], time="processing")

    def on_timer(self, timer: Timer) -> Iterator[Any]:
        yield timer.time, self.context.key, timer.at, self.context.now, self.context.timestamp


class Slowly(SourceFunction):
    """A record every ten seconds, by a clock that is asked for the time."""

    def __init__(self) -> None:
        self.given = 0

    def open(self, context: RuntimeContext) -> None:
        self.asked = 0

    def execute(self) -> Any:
        self.asked += 1
        if self.asked % 100:
            return None
        self.given += 1
        return STOP if self.given > 3 else (f"key {self.given}", 0.005 * self.given)


def test_timers_of_the_clock_fire_without_any_record() -> None:
    """When their time has come by the clock; those that are left fire at the end of input."""
    found = run(lambda env: env.from_source(Slowly).keyby(lambda record: record[0]).process(Late), clock="virtual")
    fired = {item[1]: item for item in found if item[0] == "processing"}
    assert set(fired) == {"key 1", "key 2", "key 3"}
    for number in (1, 2):
        _, key, time, now, timestamp = fired[f"key {number}"]
        assert now >= time
        assert timestamp is None
        assert found.index(fired[key]) > found.index(next(item for item in found if item[:2] == ("record", key)))


class Failing(ProcessFunction[Any, Any]):
    def execute(self, value: Any) -> None:
        self.context.set_timer(value[1])
        if value[0] == "bad":
            self.context.delete_timer(7)
            raise ValueError("not this one")

    def on_timer(self, timer: Timer) -> Iterator[Any]:
        yield timer.at


def test_a_call_that_fails_sets_no_timers_and_takes_none_back() -> None:
    """As its writes to keyed state, what it did to timers is undone."""
    records = [("bad", 5, 1), ("good", 6, 2), ("bad", 8, 3)]

    def declare(env: LocalEnvironment) -> DataStream[Any]:
        timed = env.from_batch([("good", 7, 0), *records]).assign_timestamps(lambda record: record[2])
        return timed.keyby(lambda record: 0).process(Failing, on_error=skip())

    assert run(declare) == [6.0, 7.0]


def test_timers_need_a_key_and_event_time_needs_times() -> None:
    """Both are told where the timer is set."""
    with pytest.raises(JobFailedError, match="a timer belongs to a key"):
        run(lambda env: env.from_batch([("a", 1, 2)]).assign_timestamps(lambda record: record[2]).process(Alarm))
    with pytest.raises(JobFailedError, match="has no event time"):
        run(lambda env: env.from_batch([("a", 1, 2)]).keyby(lambda record: record[0]).process(Alarm))


class BothSet(CoProcessFunction):
    """Sets a timer for the records of both inputs."""

    def process0(self, value: int) -> None:
        self.context.set_timer(value)

    process1 = process0

    def on_timer(self, timer: Timer) -> Iterable[Any]:
        yield self.context.key, timer.at


def test_a_record_without_a_key_sets_no_timer_where_others_have_one() -> None:
    """Also without any keyed state, and whatever keys came before."""

    def declare(env: LocalEnvironment) -> DataStream[Any]:
        keyed = env.from_batch([1]).assign_timestamps(same).keyby(lambda value: "key")
        return keyed.connect(env.from_batch([2, 3]).assign_timestamps(same)).process(BothSet, on_error=skip())

    assert run(declare) == [("key", 1.0)]


@pytest.mark.parametrize("time", [None, math.nan, "noon", datetime(2024, 1, 1), 1_700_000_000_000])
def test_a_record_without_a_usable_time_is_one_that_failed(time: Any) -> None:
    """It fails the job by name, or is treated as the policy says."""

    def declare(env: LocalEnvironment, **policy: Any) -> DataStream[Any]:
        return env.from_batch([1, time, 3]).assign_timestamps(same, **policy).process(Seen)

    with pytest.raises(JobFailedError) as caught:
        run(declare)
    assert isinstance(caught.value.__cause__, TimestampError)
    assert [value for value, _, _ in run(lambda env: declare(env, on_error=skip()))] == [1, 3]
    with pytest.raises(JobFailedError):
        run(lambda env: declare(env, on_error=retry(1, backoff=0)))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"out_of_order": -1}, "out_of_order must be"),
        ({"out_of_order": math.nan}, "out_of_order must be"),
        ({"out_of_order": "5s"}, "out_of_order must be"),
        ({"idle_after": 0}, "idle_after must be"),
        ({"idle_after": True}, "idle_after must be"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_submit(options: dict[str, Any], what: str) -> None:
    """With all other problems of the pipeline."""
    env = LocalEnvironment()
    env.from_batch([1]).assign_timestamps(same, **options).sink(same)
    with pytest.raises(GraphError, match=what):
        env.submit()


class Punctuated(TimestampFunction[tuple[int, int | None]]):
    def execute(self, value: tuple[int, int | None]) -> float:
        return value[0]

    def watermark(self, record: tuple[int, int | None], time: float) -> float | None:
        assert time == record[0]
        return record[1]


class Watching(ProcessFunction[Any, float]):
    def execute(self, value: Any) -> Iterable[float]:
        return [self.context.watermark]


def test_a_function_may_tell_the_watermarks_itself() -> None:
    """None leaves it as it is, and one that goes back changes nothing."""
    records = [(1, None), (5, 4), (3, None), (9, 2), (9, 7), (9, None)]
    found = run(lambda env: env.from_batch(records).assign_timestamps(Punctuated).process(Watching))
    assert found == [-math.inf, -math.inf, 4.0, 4.0, 4.0, 7.0]


class Days:
    """Two partitions that are read in turn, the second a day behind the first."""

    bounded = False

    def partitions(self) -> list[str]:
        return ["today", "yesterday"]

    def open(self, partition: str, position: object | None) -> _Reader:
        return _Reader(86_400 if partition == "today" else 0)


class _Reader:
    def __init__(self, start: int) -> None:
        self._start = start
        self._read = 0

    def read(self, n: int) -> Any:
        self._read += 1
        return STOP if self._read > 50 else [self._start + self._read]

    def position(self) -> object:
        return self._read

    def wait(self, timeout: float) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("backend", ["inline", "local"])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_partition_a_day_behind_is_not_late(backend: str, parallelism: int) -> None:
    """Each partition has a mark of its own, and the slowest of them is the watermark."""
    found = run(
        lambda env: env.from_connector(Days, parallelism=parallelism).assign_timestamps(same).rebalance().process(Seen),
        backend,
    )
    assert len(found) == 100
    assert not any(late for _, _, late in found)


class Gather(CoProcessFunction):
    """Timed records, and others that have no time."""

    def process0(self, value: Any) -> Iterable[Any]:
        return [(value, self.context.timestamp, self.context.watermark)]

    def process1(self, value: Any) -> Iterable[Any]:
        assert self.context.timestamp is None
        return []


def test_an_input_without_times_does_not_hold_the_others_back() -> None:
    """Rules that come by a second stream are no reason to wait."""
    found = run(
        lambda env: (
            env.from_batch([1, 5, 9])
            .assign_timestamps(same)
            .connect(env.from_batch(["rule"]).broadcast())
            .process(Gather)
        )
    )
    assert found == [(1, 1.0, -math.inf), (5, 5.0, 0.999999), (9, 9.0, 4.999999)]


class RestlessByTheClock(ProcessFunction[Any, Any]):
    def execute(self, value: Any) -> None:
        self.context.set_timer(self.context.now, "processing")

    def on_timer(self, timer: Timer) -> None:
        self.context.set_timer(timer.at, "processing")


@pytest.mark.parametrize("backend", ["inline", "local"])
def test_a_timer_by_the_clock_that_never_comes_to_rest_is_named(backend: str) -> None:
    """It would fire for ever, and no input would be read."""
    with pytest.raises(JobFailedError, match="sets timers for times that have come already"):
        run(lambda env: env.from_batch([1]).keyby(same).process(RestlessByTheClock), backend)


class OnceMore(ProcessFunction[Any, Any]):
    def open(self, context: RuntimeContext) -> None:
        self.fired = context.value_state("fired", False)

    def execute(self, value: Any) -> None:
        self.context.set_timer(1)

    def on_timer(self, timer: Timer) -> Iterable[Any]:
        if self.fired.get():
            return [self.context.key]
        self.fired.set(True)
        self.context.set_timer(timer.at)
        return []


def test_many_keys_may_set_one_more_timer_for_the_same_instant() -> None:
    """A function that calls itself once more for each key is not one that never comes to rest."""
    numbers = list(range(10_001))
    found = run(lambda env: env.from_batch(numbers).assign_timestamps(lambda _: 1).keyby(same).process(OnceMore))
    assert found == numbers


class Marks(TimestampFunction[int]):
    def execute(self, record: int) -> float:
        return record

    def watermark(self, record: int, time: float) -> float | None:
        if record == 2:
            raise ValueError(record)
        return None if record == 3 else time


def test_the_error_policy_holds_for_watermarks_too() -> None:
    """A record whose watermark cannot be told is given up as one whose time cannot."""
    assert run_operator(lambda s: s.assign_timestamps(Marks, on_error=skip()), [1, 2, 3, 4]) == [
        At(1, 1),
        Watermark(1),
        At(3, 3),
        At(4, 4),
        Watermark(4),
    ]


HOLDING: dict[str, Callable[[DataStream[Any]], DataStream[Any]]] = {
    "map_async": lambda stream: stream.map_async(soon),
    "map_batches": lambda stream: stream.map_batches(lambda batch: batch, max_size=2),
    "map_batches, of one": lambda stream: stream.map_batches(lambda batch: batch, max_size=1),
    "map": lambda stream: stream.map(same),
}


@pytest.mark.parametrize("way", HOLDING)
def test_an_operator_that_holds_records_hands_on_that_nothing_is_expected(way: str) -> None:
    """Nobody waits for a stream that is idle, unless some of its records are still to come out."""
    steps = [At(1, 1), Idle(), Input(1, At(50, 50)), Input(1, Watermark(50)), At(60, 60), Watermark(60)]
    steps += [Forever(), Input(1, Forever())]
    found = run_operator(lambda first, second: HOLDING[way](first).union(second), steps)
    assert [step for step in found if isinstance(step, Watermark)] == [Watermark(50)]
    assert found.index(At(1, 1)) < found.index(Watermark(50))


class Ticking(ProcessFunction[Any, Any]):
    def execute(self, value: Any) -> Iterable[Any]:
        self.context.set_timer(self.context.now, "processing")
        yield value

    def on_timer(self, timer: Timer) -> None:
        self.context.set_timer(self.context.now, "processing")


@pytest.mark.parametrize("backend", ["inline", "local"])
def test_a_timer_that_is_always_due_lets_the_input_in(backend: str) -> None:
    """One that is set for now whenever it fires keeps the task busy, and the records come all the same."""
    numbers = list(range(100))
    assert run(lambda env: env.from_batch(numbers).keyby(lambda _: 1).process(Ticking), backend) == numbers


class Now(ProcessFunction[Any, Any]):
    def execute(self, value: Any) -> None:
        self.context.set_timer(self.context.now, "processing")

    def on_timer(self, timer: Timer) -> Iterable[Any]:
        yield self.context.key, timer.at


def test_a_timer_for_now_fires_before_the_next_record() -> None:
    """Also where no time passes by the clock."""
    assert run_operator(lambda s: s.keyby(same).process(Now), ["a", "b"]) == [("a", 0.0), ("b", 0.0)]
    with Harness(lambda s: s.keyby(same).process(Now)) as harness:
        assert harness.send("a") == [("a", 0.0)]


class Remembering(ProcessFunction[Any, Any]):
    def open(self, context: RuntimeContext) -> None:
        self.seen = context.value_state("seen", ttl=10, ttl_time="event")

    def execute(self, value: Any) -> None:
        self.seen.set(value)
        self.context.set_timer(1000, "processing")
        self.context.set_timer(self.context.timestamp or 0)

    def on_timer(self, timer: Timer) -> Iterable[Any]:
        return [(self.context.key, self.seen.get())] if timer.time == "processing" else []


@pytest.mark.parametrize("parallelism", [1, 2, 3])
def test_what_is_remembered_at_the_end_does_not_depend_on_other_keys(parallelism: int) -> None:
    """A timer of the clock sees the event time that the watermark had come to, not that of another key's timer."""
    steps = [At(number * 100, number) for number in range(6)]
    found = run_operator(lambda s: s.keyby(same).process(Remembering, parallelism=parallelism), steps)
    assert sorted(found) == [(number, number) for number in range(6)]
