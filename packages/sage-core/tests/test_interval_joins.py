"""Joins within a distance in time: late and out-of-order records, the unmatched, what is kept and how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from join_models import Event, interval_join
from test_restoring import Saved, run

from sage.core.api import DataStream, JoinFunction, LocalEnvironment, ProcessFunction, Tumbling, dead_letter
from sage.core.engine.operators import interval_join as interval_joins
from sage.core.engine.operators.interval_join import IntervalJoinOperator
from sage.core.errors import GraphError, JobFailedError
from sage.core.testing import At, Forever, Idle, Input, Watermark, run_operator, simulate

How = Literal["inner", "left", "right", "outer"]
HOWS: tuple[How, ...] = ("inner", "left", "right", "outer")
Arrival = tuple[int, Event]
"""By which side a record comes, 0 for the left one, and the record."""

hows = st.sampled_from(HOWS)
arrivals = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(-20, 20)), max_size=40).map(
    lambda found: [(side, Event(key, time, number)) for number, (side, key, time) in enumerate(found)]
)
bounds = st.tuples(st.integers(-8, 8), st.integers(-8, 8)).map(lambda ends: (min(ends), max(ends)))


def pair(left: Any, right: Any) -> tuple[Any, Any]:
    return left, right


def is_of(side: int) -> Callable[[Arrival], bool]:
    return lambda arrival: arrival[0] == side


def declare(
    env: LocalEnvironment,
    arrivals: list[Arrival],
    within: tuple[int, int],
    how: str,
    *,
    out_of_order: float,
    parallelism: int = 1,
) -> DataStream[Any]:
    """A join of one source's records, which so come in one order."""
    source = env.from_batch(arrivals, name="arrivals")
    timed = source.assign_timestamps(lambda arrival: arrival[1].time, out_of_order=out_of_order)
    left, right = (timed.filter(is_of(side)).map(lambda arrival: arrival[1]) for side in (0, 1))
    keyed: Any = left.connect(right).keyby(lambda event: event.key, lambda event: event.key)
    stream: DataStream[Any] = keyed.join(pair, within=within, how=how, parallelism=parallelism, name="pair")
    return stream


def in_time(arrivals: list[Arrival], out_of_order: int) -> Iterator[Arrival]:
    """Those that are not late, where the watermark moves with each record."""
    high = -1000
    for side, event in arrivals:
        if event.time >= high - out_of_order:
            yield side, event
        high = max(high, event.time)


def expected(arrivals: list[Arrival], within: tuple[int, int], how: str) -> Counter[Any]:
    lefts, rights = ([event for side, event in arrivals if side == n] for n in (0, 1))
    return interval_join(lefts, rights, *within, how)


class Tell(ProcessFunction):
    """What comes, with its time, and whether that is late here."""

    def execute(self, value: Any) -> list[Any]:
        assert self.context.timestamp is not None
        return [(value, self.context.timestamp, self.context.timestamp <= self.context.watermark)]


@given(arrivals, bounds, hows, st.integers(0, 15), st.integers(1, 4))
@settings(max_examples=150)
def test_interval_joins_are_those_of_the_model(
    arrivals: list[Arrival], within: tuple[int, int], how: How, out_of_order: int, parallelism: int
) -> None:
    """Every pair of records that are not late, once; the late ones on the side; results that are late for nobody."""
    env = LocalEnvironment("model", "inline")
    joined = declare(env, arrivals, within, how, out_of_order=out_of_order, parallelism=parallelism)
    told, late = joined.process(Tell, parallelism=parallelism).collect(), joined.late_records.collect()
    job = env.submit(autostop=True)
    taken = list(in_time(arrivals, out_of_order))
    assert Counter(value for value, _, _ in told) == expected(taken, within, how)
    assert Counter(late) == Counter(event for side, event in arrivals if (side, event) not in taken)
    assert all(time == max(event.time for event in value if event is not None) for value, time, _ in told)
    assert not any(is_late for _, _, is_late in told)
    assert {operator.name: operator.late for operator in job.metrics().operators}["pair"] == len(late)


@given(arrivals, bounds, hows, st.integers(0, 15), st.integers(1, 4), st.integers(0, 2**32))
@settings(max_examples=50)
def test_no_schedule_changes_what_an_interval_join_promises(
    arrivals: list[Arrival],
    within: tuple[int, int],
    how: How,
    out_of_order: int,
    parallelism: int,
    seed: int,
) -> None:
    """Which records are late depends on the order of arrival; what comes of the others does not."""
    env = LocalEnvironment("simulated", "inline")
    joined = declare(env, arrivals, within, how, out_of_order=out_of_order, parallelism=parallelism)
    told, late = joined.process(Tell, parallelism=parallelism).collect(), joined.late_records.collect()
    simulate(env, seed=seed)
    taken = [(side, event) for side, event in arrivals if event not in late]
    assert Counter(value for value, _, _ in told) == expected(taken, within, how)
    assert not any(is_late for _, _, is_late in told)
    if out_of_order >= 40:
        assert late == []


@pytest.mark.parametrize("how", HOWS)
def test_threads_do_not_change_an_interval_join(how: How) -> None:
    """Two sources that are read side by side, with all the time that their records need."""
    lefts = [Event(number % 13, (number * 7) % 200, number) for number in range(300)]
    rights = [Event(number % 13, (number * 11) % 200, 1000 + number) for number in range(300)]
    env = LocalEnvironment("threads", "local")
    left, right = (
        env.from_batch(found, uid=uid).assign_timestamps(lambda event: event.time, out_of_order=200, uid=f"t {uid}")
        for uid, found in (("left", lefts), ("right", rights))
    )
    keyed: Any = left.connect(right).keyby(lambda event: event.key, lambda event: event.key)
    out = keyed.join(pair, within=(-5, 3), how=how, parallelism=3).collect()
    env.submit(autostop=True)
    assert Counter(out) == interval_join(lefts, rights, -5, 3, how)


@given(
    arrivals,
    bounds,
    hows,
    st.lists(st.integers(0, 20), max_size=3),
    st.lists(st.integers(1, 4), min_size=4, max_size=4),
)
@settings(max_examples=50)
def test_an_interval_join_goes_on_from_what_was_saved(
    arrivals: list[Arrival], within: tuple[int, int], how: How, cuts: list[int], parallelisms: list[int]
) -> None:
    """Interrupted anywhere, and moved to another number of subtasks by key, it gives what it would have given."""
    out: list[Any] = []
    saved: Saved = {}
    for turns, parallelism in zip([*cuts, None], parallelisms, strict=False):

        def build(env: LocalEnvironment, parallelism: int = parallelism) -> DataStream[Any]:
            return declare(env, arrivals, within, how, out_of_order=5, parallelism=parallelism)

        part = run(build, turns=turns, restored=saved)
        out += part.out
        saved = part.saved
        if part.ended:
            break
    taken = list(in_time(arrivals, 5))
    assert Counter(out) == expected(taken, within, how)


def test_bounds_are_included_and_may_be_timedeltas(backend: str) -> None:
    """A right record exactly as far away as it may be is a partner; a microsecond further it is none."""
    env = LocalEnvironment("bounds", backend)
    left = env.from_batch([10.0], uid="left").assign_timestamps(lambda time: time)
    times = [8.999999, 9.0, 10.0, 12.5, 12.500001]
    right = env.from_batch(times, uid="right").assign_timestamps(lambda time: time, uid="times")
    keyed = left.connect(right).keyby(lambda _: 0, lambda _: 0)
    out = keyed.join(pair, within=(timedelta(seconds=-1), 2.5)).collect()
    env.submit(autostop=True)
    assert sorted(out) == [(10.0, 9.0), (10.0, 10.0), (10.0, 12.5)]


def test_the_unmatched_come_out_when_no_partner_can_come() -> None:
    """Not before the watermark has reached the end of what would be near enough, and not at the end of input only."""
    log: list[Any] = []

    def arrives(event: Event) -> Event:
        log.append(event.number)
        return event

    env = LocalEnvironment("when", "inline")
    events = [Event(1, 10, 0), Event(2, 14, 1), Event(2, 15, 2), Event(2, 15, 3), Event(1, 16, 4), Event(1, 20, 5)]
    times = env.from_batch(events).map(arrives).assign_timestamps(lambda event: event.time)
    nothing = times.filter(lambda event: False)
    keyed = times.connect(nothing).keyby(lambda event: event.key, lambda event: event.key)
    keyed.join(lambda left, _: log.append((left.number,)), within=(0, 5), how="left").sink(lambda _: None)
    env.submit(autostop=True)
    assert log == [0, 1, 2, 3, 4, (0,), 5, (1,), (2,), (3,), (4,), (5,)]


def test_what_is_over_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long stream with few keys a bounded part is kept, of one with ever new keys too; nothing at the end."""
    most = [0, 0, 0]

    class Watched(IntervalJoinOperator):
        def pairs(self, *args: Any) -> Any:
            answer = super().pairs(*args)
            kept = sum(len(side[0]) for sides in self._kept.values() for side in sides)
            most[:] = max(most[0], kept), max(most[1], len(self._kept)), max(most[2], len(self._timers))
            return answer

    monkeypatch.setattr(interval_joins, "IntervalJoinOperator", Watched)
    for keys in (1, 10_000):
        for how in HOWS:
            env = LocalEnvironment("forgets", "inline")
            arrivals = [(number % 2, Event(number % keys, number, number)) for number in range(2000)]
            declare(env, arrivals, (-10, 10), how, out_of_order=3).sink(lambda _: None)
            env.submit(autostop=True)
            assert most[0] <= 100 and most[1] <= 100 and most[2] <= 200, (keys, how, most)


def test_a_late_record_is_counted_and_finds_nobody(backend: str) -> None:
    """Also where nobody takes the late records."""
    env = LocalEnvironment("late", backend)
    arrivals = [(0, Event(1, 100, 0)), (0, Event(1, 200, 1)), (1, Event(1, 100, 2))]
    times = env.from_batch(arrivals, name="arrivals").assign_timestamps(lambda arrival: arrival[1].time)
    left, right = times.filter(lambda a: a[0] == 0), times.filter(lambda a: a[0] == 1, name="rights")
    key = lambda arrival: arrival[1].key  # noqa: E731
    joined = left.connect(right).keyby(key, key).join(pair, within=(-1, 1))
    out, late = joined.collect(), joined.late_records.collect()
    env.submit(autostop=True)
    if backend == "inline":
        assert out == [] and late == [arrivals[2]]
    assert len(out) + len(late) == 1


def test_an_unmatched_record_is_under_the_policy() -> None:
    """What fails for a record that is alone is given up like any pair; the dead letters all arrive."""

    def refuse(left: Event, right: Event | None) -> Event:
        if right is None:
            raise ValueError(left)
        return left

    env = LocalEnvironment("policy", "inline")
    arrivals = [(0, Event(1, time, time)) for time in range(5)]
    times = env.from_batch(arrivals).assign_timestamps(lambda arrival: arrival[1].time).map(lambda a: a[1])
    nothing = env.from_batch([], uid="none").assign_timestamps(lambda event: event.time, uid="no times")
    keyed = times.connect(nothing).keyby(lambda event: event.key, lambda event: event.key)
    joined = keyed.join(refuse, within=(0, 1), how="left", on_error=dead_letter())
    out, letters = joined.collect(), joined.dead_letters.collect()
    env.submit(autostop=True)
    assert out == []
    assert [letter.record for letter in letters] == [(event, None) for _, event in arrivals]


def test_a_join_function_sees_key_and_time() -> None:
    """That of the pair is the later one's."""
    told: list[Any] = []

    class See(JoinFunction):
        def execute(self, left: Event | None, right: Event | None) -> Any:
            return left and left.number, right and right.number, self.context.key

    env = LocalEnvironment("sees", "inline")
    arrivals = [(0, Event("a", 1, 0)), (1, Event("a", 3, 1)), (0, Event("b", 9, 2))]
    timed = env.from_batch(arrivals).assign_timestamps(lambda arrival: arrival[1].time, out_of_order=9)
    left, right = (timed.filter(is_of(side)).map(lambda arrival: arrival[1]) for side in (0, 1))
    keyed: Any = left.connect(right).keyby(lambda event: event.key, lambda event: event.key)
    keyed.join(See, within=(0, 5), how="outer").process(Tell).sink(told.append)
    env.submit(autostop=True)
    assert told == [((0, 1, "a"), 3.0, False), ((2, None, "b"), 9.0, False)]


def test_a_stream_without_times_is_refused_and_a_record_without_one_fails() -> None:
    """At submit where the whole stream has none; at the record where a union has brought one."""
    env = LocalEnvironment("untimed", "inline")
    plain = env.from_batch([1])
    timed = env.from_batch([2], uid="timed").assign_timestamps(float)
    timed.connect(plain).keyby(int, int).join(pair, within=(0, 1)).collect()
    with pytest.raises(GraphError, match="which the records of the right stream do not have"):
        env.submit()
    env = LocalEnvironment("half", "inline")
    timed = env.from_batch([2], uid="timed").assign_timestamps(float)
    both = timed.union(env.from_batch([1])).map(int)
    both.connect(timed).keyby(int, int).join(pair, within=(0, 1)).collect()
    with pytest.raises(JobFailedError, match="the record has no event time") as caught:
        env.submit(autostop=True)
    assert caught.value.failure is not None and caught.value.failure.uid == "interval_join:pair"


def test_idle_inputs_are_not_waited_for_behind_an_inner_join() -> None:
    """Nothing waits for a join that puts out nothing of its own accord: that its inputs are idle is handed on."""

    def both(left: Any, right: Any, other: Any) -> DataStream[Any]:
        keyed = left.connect(right).keyby(lambda event: 0, lambda event: 0)
        joined: DataStream[Any] = keyed.join(pair, within=(0, 1))
        return joined.union(other).window(Tumbling(10)).process(lambda key, window, records: [records])

    steps = [Input(2, At(5, "x")), Input(2, Watermark(20)), Input(0, Idle()), Input(1, Idle())]
    fired = run_operator(both, [*steps, Input(0, Forever()), Input(1, Forever()), Input(2, Forever())])
    assert [found.record for found in fired if isinstance(found, At)] == [["x"]]
