"""Joins and groups of two streams by windows: all that a window holds of both, once it is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from join_models import keeps
from test_restoring import Saved, run
from window_model import Arrival, Cut, Fired, Model, When, play

from sage.core.api import (
    CoGroupFunction,
    ConnectedStreams,
    Count,
    DataStream,
    Global,
    LocalEnvironment,
    ProcessFunction,
    Session,
    Sliding,
    Tumbling,
    Window,
    dead_letter,
)
from sage.core.errors import GraphError, JobFailedError
from sage.core.testing import simulate

How = Literal["inner", "left", "right", "outer"]
HOWS: tuple[How, ...] = ("inner", "left", "right", "outer")
WINDOWS: dict[str, tuple[Any, Cut]] = {
    "tumbling": (Tumbling(10), Cut(10, 10)),
    "shifted": (Tumbling(7, offset=3), Cut(7, 7, 3)),
    "sliding": (Sliding(12, 4), Cut(12, 4)),
    "session": (Session(4), Cut(gap=4)),
}
arrivals = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(-20, 40), st.integers(0, 1)),
    max_size=35,
).map(lambda found: [Arrival(key, time, 2 * number + side) for number, (key, time, side) in enumerate(found)])
"""Of the left side are those with even numbers."""


def pair(left: Any, right: Any) -> tuple[Any, Any]:
    return left, right


def sides(numbers: Iterable[int]) -> tuple[list[int], list[int]]:
    numbers = sorted(numbers)
    return [number for number in numbers if number % 2 == 0], [number for number in numbers if number % 2]


def marked(arrivals: list[Arrival], out_of_order: int) -> list[Arrival]:
    """With the watermark that follows each, if it moves with each."""
    high, found = -1000, []
    for arrival in arrivals:
        high = max(high, arrival.time)
        found.append(arrival._replace(mark=high - out_of_order - 1))
    return found


def pairs(fired: Fired, how: str) -> Iterator[tuple[int | None, int | None]]:
    lefts, rights = sides(fired.numbers)
    left_too, right_too = keeps(how)
    yield from ((left, right) for left in lefts for right in rights)
    if left_too and not rights:
        yield from ((left, None) for left in lefts)
    if right_too and not lefts:
        yield from ((None, right) for right in rights)


def connected(
    env: LocalEnvironment, arrivals: list[Arrival], out_of_order: float
) -> ConnectedStreams[Arrival, Arrival]:
    """The two sides of one source's records, which so come in one order."""
    times = env.from_batch(arrivals, name="arrivals").assign_timestamps(lambda a: a.time, out_of_order=out_of_order)
    left, right = (
        times.filter(lambda a: a.number % 2 == 0, uid="left"),
        times.filter(lambda a: a.number % 2, uid="right"),
    )
    return left.connect(right).keyby(lambda a: a.key, lambda a: a.key)


def join(keyed: Any, window: str, how: str, parallelism: int) -> DataStream[Any]:
    stream: DataStream[Any] = keyed.join(
        lambda left, right: (left and left.number, right and right.number),
        window=WINDOWS[window][0],
        how=how,
        parallelism=parallelism,
        name="pair",
    )
    return stream


class Tell(ProcessFunction):
    def execute(self, value: Any) -> list[Any]:
        assert self.context.timestamp is not None
        return [(value, self.context.timestamp, self.context.timestamp <= self.context.watermark)]


cut = st.sampled_from(sorted(WINDOWS))


@given(arrivals, cut, st.sampled_from(HOWS), st.integers(0, 20), st.integers(1, 4))
@settings(max_examples=120)
def test_windowed_joins_are_those_of_the_model(
    arrivals: list[Arrival], window: str, how: How, out_of_order: int, parallelism: int
) -> None:
    """The pairs of each window, at its last instant; what is late is counted and goes to the side, of either stream."""
    env = LocalEnvironment("model", "inline")
    joined = join(connected(env, arrivals, out_of_order), window, how, parallelism)
    told, late = joined.process(Tell, parallelism=parallelism).collect(), joined.late_records.collect()
    env.submit(autostop=True)
    model = Model(WINDOWS[window][1], When(), 0)
    fired = play(marked(arrivals, out_of_order), model)
    expected = Counter((found, one.end - 0.000001) for one in fired for found in pairs(one, how))
    assert Counter((value, time) for value, time, _ in told) == expected
    assert sorted(arrival.number for arrival in late) == sorted(model.late)
    assert not any(is_late for _, _, is_late in told)


@given(arrivals, cut, st.integers(0, 20), st.integers(1, 4))
@settings(max_examples=80)
def test_co_groups_are_those_of_the_model(
    arrivals: list[Arrival], window: str, out_of_order: int, parallelism: int
) -> None:
    """Each window of each key once, with what both sides have in it."""

    def told(key: str, window: Window, lefts: list[Arrival], rights: list[Arrival]) -> list[Any]:
        return [(key, window, sorted(a.number for a in lefts), sorted(a.number for a in rights))]

    env = LocalEnvironment("model", "inline")
    keyed = connected(env, arrivals, out_of_order)
    out = keyed.co_group(told, window=WINDOWS[window][0], parallelism=parallelism).collect()
    env.submit(autostop=True)
    fired = play(marked(arrivals, out_of_order), Model(WINDOWS[window][1], When(), 0))
    expected = Counter((one.key, Window(one.start, one.end), *map(tuple, sides(one.numbers))) for one in fired)
    assert Counter((key, window, tuple(lefts), tuple(rights)) for key, window, lefts, rights in out) == expected


@given(arrivals, cut, st.sampled_from(HOWS), st.integers(1, 4), st.integers(0, 2**32))
@settings(max_examples=40)
def test_no_schedule_changes_a_windowed_join(
    arrivals: list[Arrival], window: str, how: How, parallelism: int, seed: int
) -> None:
    """Where nothing is late, a simulated job gives the same by any order of steps."""
    env = LocalEnvironment("simulated", "inline")
    out = join(connected(env, arrivals, 100), window, how, parallelism).collect()
    simulate(env, seed=seed)
    fired = play(arrivals, Model(WINDOWS[window][1], When(), 0))
    assert Counter(out) == Counter(found for one in fired for found in pairs(one, how))


@pytest.mark.parametrize("window", sorted(WINDOWS))
def test_threads_do_not_change_a_windowed_join(window: str) -> None:
    """The same on several threads."""
    arrivals = [Arrival("abcdefg"[number % 7], (number * 13) % 90, number) for number in range(300)]
    env = LocalEnvironment("threads", "local")
    out = join(connected(env, arrivals, 100), window, "outer", 3).collect()
    env.submit(autostop=True)
    fired = play(arrivals, Model(WINDOWS[window][1], When(), 0))
    assert Counter(out) == Counter(found for one in fired for found in pairs(one, "outer"))


@given(
    arrivals,
    cut,
    st.sampled_from(HOWS),
    st.lists(st.integers(0, 20), max_size=3),
    st.lists(st.integers(1, 4), min_size=4, max_size=4),
)
@settings(max_examples=40)
def test_a_windowed_join_goes_on_from_what_was_saved(
    arrivals: list[Arrival], window: str, how: How, cuts: list[int], parallelisms: list[int]
) -> None:
    """Interrupted anywhere, and moved to another number of subtasks by key, it gives what it would have given."""
    out: list[Any] = []
    saved: Saved = {}
    for turns, parallelism in zip([*cuts, None], parallelisms, strict=False):

        def build(env: LocalEnvironment, parallelism: int = parallelism) -> DataStream[Any]:
            return join(connected(env, arrivals, 5), window, how, parallelism)

        part = run(build, turns=turns, restored=saved)
        out += part.out
        saved = part.saved
        if part.ended:
            break
    fired = play(marked(arrivals, 5), Model(WINDOWS[window][1], When(), 0))
    assert Counter(out) == Counter(found for one in fired for found in pairs(one, how))


class Balance(CoGroupFunction[Arrival, Arrival, Any]):
    """Yields, knows its key, and puts something out on the side."""

    def execute(self, key: str, window: Window, lefts: list[Arrival], rights: list[Arrival]) -> Iterator[Any]:
        if not rights:
            self.context.side_output("one-sided", key)
        yield self.context.key, window.start, len(lefts) - len(rights)


def test_a_co_group_function_is_called_where_one_side_is_empty(backend: str) -> None:
    """Once for each key and window that has any record."""
    env = LocalEnvironment("balance", backend)
    arrivals = [Arrival("a", 1, 0), Arrival("a", 2, 3), Arrival("a", 11, 4), Arrival("b", 5, 7)]
    grouped = connected(env, arrivals, 10).co_group(Balance, window=Tumbling(10), parallelism=2)
    out, aside = grouped.collect(), grouped.side_output("one-sided").collect()
    env.submit(autostop=True)
    assert sorted(out) == [("a", 0.0, 0), ("a", 10.0, 1), ("b", 0.0, -1)]
    assert aside == ["a"]


def test_windows_by_the_clock_need_no_times(backend: str) -> None:
    """At the end of input they are over."""
    env = LocalEnvironment("clock", backend)
    one, two = env.from_batch([1, 2]), env.from_batch([2, 3])
    keyed = one.connect(two).keyby(int, int)
    out = keyed.join(pair, window=Tumbling(100_000, time="processing"), how="outer").collect()
    env.submit(autostop=True)
    assert Counter(out) == Counter([(1, None), (2, 2), (None, 3)])


def test_a_pair_of_a_window_is_given_up_alone() -> None:
    """The other pairs come out, and the dead letters of all that failed."""

    def refuse(left: Arrival, right: Arrival) -> tuple[int, int]:
        if left.number == 0:
            raise ValueError(left)
        return left.number, right.number

    env = LocalEnvironment("policy", "inline")
    arrivals = [Arrival("a", 1, number) for number in range(6)]
    joined = connected(env, arrivals, 0).join(refuse, window=Tumbling(10), on_error=dead_letter())
    out, letters = joined.collect(), joined.dead_letters.collect()
    env.submit(autostop=True)
    assert Counter(out) == Counter((left, right) for left in (2, 4) for right in (1, 3, 5))
    assert [(left.number, right.number) for left, right in (letter.record for letter in letters)] == [
        (0, 1),
        (0, 3),
        (0, 5),
    ]


def test_a_window_that_fails_fails_the_job_by_name() -> None:
    """The failure names the operator."""
    env = LocalEnvironment("fails", "inline")
    keyed = connected(env, [Arrival("a", 1, 0), Arrival("a", 1, 1)], 0)
    keyed.co_group(lambda key, window, lefts, rights: [1 / 0], window=Tumbling(10), name="divide").collect()
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True)
    assert caught.value.failure is not None and caught.value.failure.uid == "co_group:divide"


def test_wrong_windows_are_refused_with_all_that_is_wrong() -> None:
    """No keys, no times, windows of no time, windows that cannot be, two ways of joining at once."""
    env = LocalEnvironment("wrong")
    plain: Any = env.from_batch([1])
    timed: Any = env.from_batch([2]).assign_timestamps(float)
    untimed = timed.connect(plain).keyby(int, int)
    keyed = timed.connect(timed).keyby(int, int)
    group = lambda key, window, lefts, rights: lefts  # noqa: E731
    timed.connect(timed).co_group(group, window=Tumbling(1), name="unkeyed").collect()
    untimed.join(pair, window=Tumbling(10), name="untimed").collect()
    untimed.co_group(group, window=Session(10), name="untimed too").collect()
    keyed.join(pair, window=Count(3), name="count").collect()
    keyed.co_group(group, window=Global(), name="global").collect()
    keyed.join(pair, window=Sliding(5, 10), name="slide").collect()
    keyed.join(pair, window=10, name="number").collect()
    keyed.join(pair, window=Tumbling(10), within=(0, 1), name="both").collect()
    keyed.co_group(pair, window=Tumbling(10), name="arguments").collect()
    with pytest.raises(GraphError) as caught:
        env.submit()
    text = str(caught.value)
    for expected in (
        "co_group 'unkeyed': pairs are of one key, and not all of its records have one",
        "window_join 'untimed': Tumbling(10) is of event time, which the records of the right stream do not have",
        "co_group 'untimed too': Session(10) is of event time, which the records of the right stream do not have",
        "window_join 'count': takes Tumbling(…), Sliding(…) or Session(…): Count(3) is not of time",
        "co_group 'global': takes Tumbling(…), Sliding(…) or Session(…): Global() is not of time",
        "window_join 'slide': the slide of Sliding, 10, is larger than its size, 5",
        "window_join 'number': takes Tumbling(…)",
        "window_join 'both': takes within=… or window=…, not both",
        "co_group 'arguments': it cannot be called with 4 arguments",
    ):
        assert expected in text, text


def test_pairs_go_on_one_by_one() -> None:
    """What many records of one key and window come to is never in memory at once."""
    seen: list[str] = []
    env = LocalEnvironment("pairs")
    left: Any = env.from_batch([1, 2]).assign_timestamps(float)
    right: Any = env.from_batch([3, 4]).assign_timestamps(float)

    def joined(one: int, other: int) -> str:
        seen.append("joined")
        return f"{one} {other}"

    both = left.connect(right).keyby(lambda number: 0, lambda number: 0)
    both.join(joined, window=Tumbling(10)).sink(seen.append)
    env.submit(autostop=True)
    assert seen[::2] == ["joined"] * 4
    assert sorted(seen[1::2]) == ["1 3", "1 4", "2 3", "2 4"]
