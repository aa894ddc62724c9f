"""Keyed state that expires: seen until its time, never after it, removed without being asked for, and restored."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cases import records_of
from hypothesis import given, settings
from hypothesis import strategies as st

from sage.core.api import LocalEnvironment, MapFunction, ProcessFunction, RuntimeContext, Timer, ValueState, retry, skip
from sage.core.api.datastream import DataStream
from sage.core.engine.expiring_state import (
    ExpiringListState,
    ExpiringMapState,
    ExpiringReducingState,
    ExpiringValueState,
    TimeToLive,
)
from sage.core.engine.keyed_state import KeyedStates
from sage.core.errors import JobFailedError, StateError
from sage.core.testing import Harness, simulate

TTL = 4_000_000
SECOND = 1_000_000


class Doors:
    """One state of each kind, apart from any operator; the time and the key are set by hand."""

    def __init__(self, time: str = "processing", refresh: str = "write") -> None:
        self.context = SimpleNamespace(key="a")
        self.states = KeyedStates(cast(RuntimeContext, self.context))
        self.states.refusal = None
        self.states.has_key = True
        self.time = time
        ttl = [TimeToLive(name, TTL / SECOND, time, refresh) for name in ("value", "reduced", "list", "map")]
        self.value: ExpiringValueState[Any] = ExpiringValueState("value", self.states, None, ttl[0])
        self.reduced: ExpiringReducingState[Any] = ExpiringReducingState("reduced", self.states, max, ttl[1])
        self.list: ExpiringListState[Any] = ExpiringListState("list", self.states, ttl[2])
        self.map: ExpiringMapState[Any, Any] = ExpiringMapState("map", self.states, ttl[3])

    def at(self, now: int, key: str) -> None:
        self.states.times[self.time][0] = now
        self.context.key = key

    def told(self) -> Any:
        return self.value.get(), self.reduced.get(), self.list.get(), list(self.map.items())

    def sweep(self, now: int, limit: int) -> None:
        self.states.sweep({"processing": now, "event": now}, limit)

    @property
    def keys(self) -> int:
        return sum(map(len, self.states.tables.values()))


class Model:
    """The same in plain Python: each thing that is kept with the time when it was written."""

    def __init__(self, reads: bool) -> None:
        self.reads = reads
        self.value: Any = None
        self.reduced: Any = None
        self.list: list[Any] = []
        self.map: dict[Any, Any] = {}

    def forget(self, now: int) -> None:
        """Drop what has expired: time goes on for everybody."""
        self.value = self.value if self.value and now - self.value[1] < TTL else None
        self.reduced = self.reduced if self.reduced and now - self.reduced[1] < TTL else None
        self.list = [item for item in self.list if now - item[1] < TTL]
        self.map = {name: item for name, item in self.map.items() if now - item[1] < TTL}

    def told(self, now: int) -> Any:
        seen = (
            self.value and self.value[0],
            self.reduced and self.reduced[0],
            [item for item, _ in self.list],
            [(name, item) for name, (item, _) in self.map.items()],
        )
        if self.reads:
            self.value = self.value and (self.value[0], now)
            self.reduced = self.reduced and (self.reduced[0], now)
            self.list = [(item, now) for item, _ in self.list]
            self.map = {name: (item, now) for name, (item, _) in self.map.items()}
        return seen


def do(what: str, n: int, now: int, doors: Doors, model: Model) -> None:
    """One thing, done to both."""
    touched = [(item, now if model.reads else time) for item, time in model.list]
    if what == "set":
        doors.value.set(n)
        model.value = n, now
    elif what == "clear":
        doors.value.clear()
        model.value = None
    elif what == "add":
        kept = model.reduced[0] if model.reduced else n
        model.reduced = max(kept, n), now
        assert doors.reduced.add(n) == model.reduced[0]
    elif what == "append":
        doors.list.extend([n, n])
        model.list += [(n, now), (n, now)]
    elif what == "insert":
        doors.list.insert(n, n)
        model.list.insert(n, (n, now))
    elif what == "pop" and doors.list:
        model.list = touched
        assert doors.list.pop() == model.list.pop()[0]
    elif what == "cut":
        del doors.list[:1]
        del model.list[:1]
    elif what == "replace" and doors.list:
        model.list = touched
        doors.list[0] = n
        model.list[0] = n, now
    elif what == "slice":
        doors.list[n:] = [n, 0]
        model.list[n:] = [(n, now), (0, now)]
    elif what == "forget list":
        doors.list.clear()
        model.list = []
    elif what == "put":
        doors.map[n] = now
        model.map[n] = now, now
    elif what == "drop":
        if n in doors.map:
            del doors.map[n]
        model.map.pop(n, None)
    elif what == "look up":
        item = model.map.get(n)
        assert doors.map.get(n) == (item and item[0])
        if item and model.reads:
            model.map[n] = item[0], now
    elif what == "forget map":
        doors.map.clear()
        model.map = {}


CALLS = st.lists(
    st.tuples(
        st.integers(0, TTL // 2),  # time that passes before it
        st.sampled_from("ab"),
        st.lists(
            st.tuples(
                st.sampled_from(
                    [
                        "set",
                        "clear",
                        "add",
                        "append",
                        "insert",
                        "pop",
                        "cut",
                        "replace",
                        "slice",
                        "forget list",
                        "put",
                        "put",
                        "drop",
                        "look up",
                        "forget map",
                    ]
                ),
                st.integers(0, 3),
            ),
            max_size=4,
        ),
        st.booleans(),  # whether it fails
        st.sampled_from([0, 1, 1000]),  # how much is swept after it
    ),
    max_size=12,
)


@settings(max_examples=300)
@given(CALLS, st.booleans(), st.booleans())
def test_what_lives_is_seen_and_what_has_expired_is_not(calls: list[Any], reads: bool, moves: bool) -> None:
    """Against a model, with failing calls set back, sweeps at any time, and restored in between."""
    doors = Doors(refresh="read" if reads else "write")
    journal = doors.states.keep_journal()
    models = {key: Model(reads) for key in "ab"}
    now = 0
    for passed, key, steps, fails, swept in calls:
        now += passed
        for model in models.values():
            model.forget(now)
        doors.at(now, key)
        before = copy.deepcopy(models[key])
        for what, n in steps:
            do(what, n, now, doors, models[key])
        if fails:
            doors.states.undo()
            models[key] = before
        journal.clear()
        doors.sweep(now, swept)
        assert doors.told() == models[key].told(now)
        journal.clear()
    if moves:  # to where the clock shows another time: what is left of each life goes along
        saved = doors.states.saved_tables({"processing": now})
        doors = Doors(refresh="read" if reads else "write")
        for name, table in saved.items():
            doors.states.restore_table(name, table.items(), "processing", {"processing": now + 17})
        now += 17
        for model in models.values():
            for kept in (model.list, model.map):
                assert isinstance(kept, list | dict)
            model.value = model.value and (model.value[0], model.value[1] + 17)
            model.reduced = model.reduced and (model.reduced[0], model.reduced[1] + 17)
            model.list = [(item, time + 17) for item, time in model.list]
            model.map = {name: (item, time + 17) for name, (item, time) in model.map.items()}
    for passed in (0, TTL // 3, TTL // 3, TTL // 3):
        now += passed
        for key, model in models.items():
            doors.at(now, key)
            model.forget(now)
            assert doors.told() == model.told(now)
    doors.sweep(now + TTL + TTL // 8, 1_000_000)
    assert doors.keys == 0
    assert all(not expiry._buckets and expiry.due is None for expiry in doors.states.expiries.values())


@given(st.lists(st.tuples(st.integers(0, 3 * TTL), st.integers(0, 3), st.booleans()), max_size=15), st.integers(0, TTL))
def test_events_come_in_any_order(writes: list[tuple[int, int, bool]], behind: int) -> None:
    """By event time, each item lives as long as its own record says, and a later write never shortens a life."""
    doors = Doors("event")
    journal = doors.states.keep_journal()
    times: dict[int, int] = {}
    appended: list[int] = []
    value = None
    watermark = 0
    for time, name, fails in writes:
        now = max(time, watermark)
        doors.at(now, "a")
        doors.map[name] = time
        doors.list.append(now)
        doors.value.set(now)
        if fails:
            doors.states.undo()
        else:
            is_new = name not in times or now - times[name] >= TTL
            times[name] = now if is_new else max(times[name], now)
            appended.append(now)
            value = now if value is None else max(value, now)
        journal.clear()
        watermark = max(watermark, time - behind)
        doors.sweep(watermark, 2)
        times = {name: at for name, at in times.items() if watermark - at < TTL}
        appended = [at for at in appended if watermark - at < TTL]
        doors.at(watermark, "a")
        assert set(doors.map) == set(times)
        assert doors.list.get() == appended
        assert (doors.value.get() is not None) == (value is not None and watermark - value < TTL)
    doors.sweep(watermark + 4 * TTL, 1_000_000)
    assert doors.keys == 0


def test_a_sweep_is_bounded() -> None:
    """However much has expired, one sweep looks at about as much as it may."""
    doors = Doors()
    for number in range(1000):
        doors.at(0, f"k{number}")
        doors.value.set(number)
    doors.sweep(2 * TTL, 10)
    assert doors.keys == 990
    doors.sweep(2 * TTL, 5000)
    assert doors.keys == 0


class Seen(MapFunction):
    """How often each key was seen, for ten seconds."""

    def __init__(self, refresh: str = "write") -> None:
        self.refresh = refresh

    def open(self, context: RuntimeContext) -> None:
        self.count = context.value_state("count", 0, ttl=timedelta(seconds=10), ttl_refresh=cast(Any, self.refresh))
        self.words = context.map_state("words", ttl=10)

    def execute(self, record: tuple[str, bool]) -> Any:
        _, writes = record
        count = self.count.get()
        if writes:
            self.count.set(count + 1)
            self.words[len(self.words)] = count
        return count, list(self.words.values())


def seen(parallelism: int = 1, refresh: str = "write") -> Callable[[DataStream[Any]], DataStream[Any]]:
    return lambda stream: stream.keyby(lambda record: record[0]).map(
        Seen(refresh), parallelism=parallelism, uid="seen", on_error=retry(1)
    )


def keys_kept(harness: Harness) -> int:
    return sum(
        len(table)
        for task in harness._backend.running.tasks
        for operator in task.chain.operators
        for table in operator.states.tables.values()
    )


def test_in_a_pipeline_it_expires_by_the_clock() -> None:
    """Each write lets a value live for ten seconds more; items of a map expire one by one."""
    with Harness(seen()) as harness:
        assert harness.send(("a", True)) == [(0, [0])]
        harness.advance(6)
        assert harness.send(("a", True)) == [(1, [0, 1])]
        harness.advance(6)
        assert harness.send(("a", False)) == [(2, [1])]
        harness.advance(4)
        assert harness.send(("a", False)) == [(0, [])]


class LastSeen(ProcessFunction):
    """Puts out what it saw before, with each record and nine and eleven seconds after it."""

    def open(self, context: RuntimeContext) -> None:
        self.last: ValueState[int | None] = context.value_state("last", None, ttl=10, ttl_time="event")

    def execute(self, time: int) -> Iterator[tuple[str, int, int | None]]:
        yield "record", time, self.last.get()
        self.last.set(time)
        self.context.set_timer(time + 9)
        self.context.set_timer(time + 11)

    def on_timer(self, timer: Timer) -> Iterator[tuple[str, float, int | None]]:
        yield "timer", timer.at, self.last.get()


def test_in_a_pipeline_it_expires_by_event_time() -> None:
    """By the time of the record in hand, or of the timer that fires, however long the program takes."""
    env = LocalEnvironment("expires", "inline")
    timed = env.from_collection([100, 105, 115]).assign_timestamps(float)
    found = timed.keyby(lambda time: "all").process(LastSeen).collect()
    env.submit()
    assert [(kind, time - 100, last) for kind, time, last in found] == [
        ("record", 0, None),
        ("record", 5, 100),
        ("record", 15, None),
        ("timer", 9, 115),
        ("timer", 11, 115),
        ("timer", 14, 115),
        ("timer", 16, 115),
        ("timer", 24, 115),
        ("timer", 26, None),
    ]


def test_reading_may_count_as_using() -> None:
    """With ttl_refresh='read' it lives on as long as it is asked for."""
    with Harness(seen(refresh="read")) as harness:
        harness.send(("a", True))
        for _ in range(4):
            harness.advance(6)
            assert harness.send(("a", False))[0][0] == 1
        harness.advance(10)
        assert harness.send(("a", False))[0][0] == 0


def test_it_is_removed_though_nothing_happens_any_more() -> None:
    """No record comes, and yet the memory is free again."""
    with Harness(seen()) as harness:
        for number in range(3000):
            harness.send((f"k{number}", True))
        assert keys_kept(harness) == 6000
        harness.advance(5)
        assert keys_kept(harness) == 6000
        harness.advance(6)
        assert keys_kept(harness) == 0


@pytest.mark.parametrize("parallelism", [1, 3])
def test_what_is_left_of_its_time_is_saved_with_it(parallelism: int) -> None:
    """Restored, also at another parallelism, it lives as long as it had left: the time between does not count."""
    with Harness(seen(2)) as harness:
        for key in "abcdef":
            harness.send((key, True))
        harness.advance(7)
        harness.send(("g", True))
        saved = harness.snapshot()
    with Harness(seen(parallelism), restored=saved) as harness:
        harness.advance(2)
        assert {harness.send((key, False))[0][0] for key in "abcdefg"} == {1}
        harness.advance(2)
        assert {harness.send((key, False))[0][0] for key in "abcdef"} == {0}
        assert harness.send(("g", False)) == [(1, [0])]
        harness.advance(7)
        assert keys_kept(harness) == 0


class Plain(MapFunction):
    """The same state without a time to live, or with another one."""

    def __init__(self, ttl: float | None, time: str = "processing") -> None:
        self.ttl = ttl
        self.time = time

    def open(self, context: RuntimeContext) -> None:
        time = cast(Any, self.time)
        self.count = context.value_state("count", 0, ttl=self.ttl, ttl_time=time)
        self.words = context.map_state("words", ttl=self.ttl, ttl_time=time)

    def execute(self, record: tuple[str, bool]) -> Any:
        if record[1]:
            self.count.set(5)
            self.words["x"] = "y"
        return self.count.get(), dict(self.words)


def plain(ttl: float | None, time: str = "processing") -> Callable[[DataStream[Any]], DataStream[Any]]:
    return lambda s: s.keyby(lambda record: record[0]).map(Plain(ttl, time), uid="seen")


def test_a_time_to_live_may_come_go_and_change() -> None:
    """What was kept for good lives on from when it is restored; a new time holds for what was kept before, too."""
    with Harness(plain(None)) as harness:
        assert harness.send(("a", True)) == [(5, {"x": "y"})]
        saved = harness.snapshot()
    with Harness(plain(10), restored=saved) as harness:
        harness.advance(6)
        assert harness.send(("a", False)) == [(5, {"x": "y"})]
        saved = harness.snapshot()
        harness.advance(4)
        assert harness.send(("a", False)) == [(0, {})]
    for ttl, expected in ((5, (0, {})), (7, (5, {"x": "y"})), (None, (5, {"x": "y"}))):
        with Harness(plain(ttl), restored=saved) as harness:
            assert harness.send(("a", False)) == [expected]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ttl": 0}, "must be seconds above 0 or a timedelta, not 0"),
        ({"ttl": -1.5}, "not -1.5"),
        ({"ttl": True}, "not True"),
        ({"ttl": "10s"}, "not '10s'"),
        ({"ttl": float("nan")}, "not nan"),
        ({"ttl": float("inf")}, "not inf"),
        ({"ttl": timedelta(seconds=-1)}, "must be seconds above 0"),
        ({"ttl": 1, "ttl_time": "wall"}, "ttl_time of keyed state 'x' must be 'processing' or 'event', not 'wall'"),
        ({"ttl": 1, "ttl_refresh": "never"}, "ttl_refresh of keyed state 'x' must be 'write' or 'read', not 'never'"),
    ],
)
def test_a_time_to_live_that_makes_no_sense_is_refused(options: Any, told: str) -> None:
    """By name of the state, with what was given."""

    class Wrong(MapFunction):
        def open(self, context: RuntimeContext) -> None:
            context.list_state("x", **options)

        def execute(self, record: Any) -> Any:
            return record

    with (
        Harness(lambda s: s.keyby(lambda _: "k").map(Wrong)) as harness,
        pytest.raises(JobFailedError, match="keyed state 'x'") as caught,
    ):
        harness.open()
    assert isinstance(caught.value.__cause__, StateError)
    assert told in str(caught.value)


def test_the_time_stands_still_for_a_call() -> None:
    """What a call has seen it can still reach at its end, however long it takes: the clock is asked once."""

    class Slow(MapFunction):
        def open(self, context: RuntimeContext) -> None:
            self.items = context.map_state("items", ttl=1)

        def execute(self, record: Any) -> Any:
            self.items[record] = record
            for name in self.items:
                harness._backend.running._clock.wait(harness._backend.running._signal, 5.0)
                assert self.items[name] == name
            return len(self.items)

    with Harness(lambda s: s.keyby(lambda _: "k").map(Slow, on_error=skip())) as harness:
        assert harness.send(1) == [1]
        assert harness.send(2) == [1]


class Latest(MapFunction):
    """What was kept of records of the last ten seconds, in the time of the records."""

    def open(self, context: RuntimeContext) -> None:
        self.value = context.value_state("value", ttl=10, ttl_time="event")
        self.list = context.list_state("list", ttl=10, ttl_time="event")

    def execute(self, record: tuple[str, float]) -> Any:
        before = self.value.get(), self.list.get()
        self.value.set(record[1])
        self.list.append(record[1])
        return before


def latest(stream: DataStream[Any]) -> DataStream[Any]:
    timed = stream.assign_timestamps(lambda record: record[1], out_of_order=5)
    return timed.keyby(lambda record: record[0]).map(Latest, uid="latest", on_error=retry(1))


def test_by_event_time_each_record_sees_as_of_its_own_time() -> None:
    """One that is ahead of the watermark does not see what is over for it; one that comes out of order still does."""
    with Harness(latest) as harness:
        assert records_of(harness.send(("a", 100))) == [(None, [])]
        assert records_of(harness.send(("a", 109))) == [(100, [100])]
        assert records_of(harness.send(("a", 112))) == [(109, [109])]
        assert records_of(harness.send(("a", 107.5))) == [
            (112, [100, 109, 112])
        ]  # out of order: 100 is not over for it
        assert records_of(harness.send(("a", 130))) == [(None, [])]
        assert records_of(harness.send(("a", 1))) == [(130, [130])]  # late: it counts as of the watermark
        assert records_of(harness.send(("a", 134))) == [(1, [130, 1])]


def test_by_event_time_it_is_removed_when_the_watermark_has_passed() -> None:
    """A record of any key moves it; the clock does not."""
    with Harness(latest) as harness:
        for number in range(3000):
            harness.send((f"k{number}", 100))
        harness.advance(1000)
        assert keys_kept(harness) == 6000
        harness.send(("other", 200))
        harness.advance(0)
        assert keys_kept(harness) == 2


def test_by_event_time_it_is_restored_with_its_times() -> None:
    """And what was kept for good begins to expire with the event time that it was."""
    with Harness(latest) as harness:
        harness.send(("a", 100))
        harness.send(("b", 104))
        saved = harness.snapshot()
    assert saved["latest"][0].ttl_times == {"value": "event", "list": "event"}
    with Harness(latest, restored=saved) as harness:
        assert records_of(harness.send(("a", 109.9))) == [(100, [100])]
        assert records_of(harness.send(("b", 114))) == [(None, [])]
    expires: dict[str, Any] = {"ttl": 10, "ttl_time": "event"}

    class Kept(MapFunction):
        def __init__(self, options: dict[str, Any]) -> None:
            self.options = options

        def open(self, context: RuntimeContext) -> None:
            self.items = context.map_state("items", **self.options)

        def execute(self, record: tuple[str, float]) -> Any:
            found = dict(self.items)
            self.items[record[1]] = 1
            return found

    def kept(options: dict[str, Any]) -> Callable[[DataStream[Any]], DataStream[Any]]:
        return lambda s: (
            s.assign_timestamps(lambda record: record[1]).keyby(lambda record: record[0]).map(Kept(options), uid="kept")
        )

    with Harness(kept({})) as harness:
        nothing = harness.open().snapshot()
        harness.send(("a", 100))
        saved = harness.snapshot()
    with Harness(kept(expires), restored=saved) as harness:
        assert records_of(harness.send(("a", 109))) == [{100: 1}]
        assert records_of(harness.send(("a", 111))) == [{109: 1}]
    with Harness(kept(expires), restored=nothing) as harness:  # nothing was kept, so there is nothing to ask
        assert records_of(harness.send(("a", 109))) == [{}]
    with Harness(kept({"ttl": 10}), restored=saved) as harness:
        saved = harness.open().snapshot()
    with (
        Harness(kept(expires), restored=saved) as harness,
        pytest.raises(JobFailedError, match="expired by processing"),
    ):
        harness.open()


def test_a_timer_sees_what_lived_at_its_time() -> None:
    """However far the watermark has jumped: an event timer sees state as of its own time, before it is removed."""

    class Timing(ProcessFunction[Any, Any]):
        def open(self, context: RuntimeContext) -> None:
            self.value = context.value_state("value", ttl=10, ttl_time="event")
            self.recent = context.value_state("recent", ttl=10)

        def execute(self, record: tuple[str, float]) -> None:
            self.value.set(record[1])
            self.recent.set(record[1])
            for after in (5, 9, 11):
                self.context.set_timer(record[1] + after)

        def on_timer(self, timer: Timer) -> Any:
            yield self.context.key, timer.at, self.value.get(), self.recent.get()

    with Harness(
        lambda s: s.assign_timestamps(lambda record: record[1]).keyby(lambda record: record[0]).process(Timing)
    ) as harness:
        assert records_of(harness.send(("a", 100))) == []
        assert records_of(harness.send(("b", 10_000))) == [
            ("a", 105, 100, 100),
            ("a", 109, 100, 100),
            ("a", 111, None, 100),
        ]
        assert keys_kept(harness) == 3
        harness.advance(12)
        assert keys_kept(harness) == 1
        assert records_of(harness.end()) == [
            ("b", 10_005, 10_000, None),
            ("b", 10_009, 10_000, None),
            ("b", 10_011, None, None),
        ]


def test_without_event_time_nothing_can_expire_by_it() -> None:
    """It is refused as it is declared, with what to do."""
    with (
        Harness(lambda s: s.keyby(lambda record: record[0]).map(Latest)) as harness,
        pytest.raises(
            JobFailedError, match="'value' cannot expire by event time: the records that come to it have none"
        ),
    ):
        harness.open()


def test_timers_of_failing_calls_are_set_back_without_any_state() -> None:
    """A process function that declares no state may fail all the same, before its first timer and after."""

    class Failing(ProcessFunction[Any, Any]):
        def execute(self, record: tuple[float, bool]) -> None:
            at, fails = record
            self.context.set_timer(at, time="processing")
            if fails:
                raise ValueError(at)

        def on_timer(self, timer: Timer) -> Any:
            yield timer.at

    with Harness(lambda s: s.keyby(lambda _: "k").process(Failing, on_error=skip())) as harness:
        harness.send((1, True))
        harness.send((2, False))
        assert harness.advance(3) == [2]
        harness.send((4, True))
        harness.send((5, False))
        assert harness.advance(3) == [5]


class Since(MapFunction):
    """The records of its key in the last ten seconds, in the time of the records; rules say whether they count."""

    def open(self, context: RuntimeContext) -> None:
        self.seen = context.list_state("seen", ttl=10, ttl_time="event")
        self.last = context.map_state("last", ttl=10, ttl_time="event")

    def execute(self, record: tuple[str, int]) -> Any:
        key, time = record
        found = key, time, self.seen.get(), sorted(self.last.items())
        self.seen.append(time)
        self.last[time % 3] = time
        return found


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 12)), max_size=30),
    st.integers(1, 3),
    st.integers(0, 1 << 30),
)
def test_what_records_in_order_see_does_not_depend_on_the_schedule(
    steps: list[tuple[str, int]], parallelism: int, seed: int
) -> None:
    """However batches are cut, tasks take turns and watermarks come: by event time it is as in a plain loop."""
    records, time = [], 0
    for key, passed in steps:
        time += passed
        records.append((key, time))
    env = LocalEnvironment("since")
    timed = env.from_collection(records).assign_timestamps(lambda record: record[1], out_of_order=3)
    found = timed.keyby(lambda record: record[0]).map(Since, parallelism=parallelism).collect()
    simulate(env, seed=seed)
    expected = []
    for number, (key, time) in enumerate(records):
        seen = [at for other, at in records[:number] if other == key and time - at < 10]
        expected.append((key, time, seen, sorted({at % 3: at for at in seen}.items())))
    assert sorted(found) == sorted(expected)
