"""Windows that are interrupted anywhere and go on, in any number of subtasks, put out what whole ones do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from test_restoring import Saved, numbers, run

from sage.core.api import (
    AfterCount,
    AggregateFunction,
    AtEnd,
    Count,
    DataStream,
    Global,
    LocalEnvironment,
    Session,
    Sliding,
    Tumbling,
    Window,
    WindowedStream,
)
from sage.core.testing import Harness, Snapshot

RECORDS = 40
OUT_OF_ORDER = 6


def time_of(number: int) -> int:
    """Now and then none for a while, and never more out of order than is allowed for."""
    return number + number // 10 * 8 - number * 5 % (OUT_OF_ORDER + 1)


class Listed(AggregateFunction):
    def create(self) -> list[int]:
        return []

    def add(self, accumulator: list[int], value: int) -> list[int]:
        accumulator.append(value)
        return accumulator

    def merge(self, left: list[int], right: list[int]) -> list[int]:
        left.extend(right)
        return left

    def result(self, accumulator: list[int]) -> list[int]:
        return sorted(accumulator)


class ListedApart(AggregateFunction):
    def create(self) -> list[int]:
        return []

    def add(self, accumulator: list[int], value: int) -> list[int]:
        return sorted([*accumulator, value])


def listed(key: Any, window: Window, values: list[int]) -> list[Any]:
    return [(key, window, sorted(values))]


Cut = Callable[[DataStream[int]], WindowedStream[int]]

CUTS: dict[str, Cut] = {
    "tumbling": lambda keyed: keyed.window(Tumbling(5)),
    "tumbling, lateness": lambda keyed: keyed.window(Tumbling(5), allowed_lateness=3),
    "sliding": lambda keyed: keyed.window(Sliding(7, 3)),
    "sliding, lateness": lambda keyed: keyed.window(Sliding(9, 3), allowed_lateness=20),
    "session": lambda keyed: keyed.window(Session(4)),
    "early": lambda keyed: keyed.window(Sliding(6, 2), trigger=AtEnd(early=AfterCount(2), accumulate=False)),
    "early session": lambda keyed: keyed.window(Session(4), trigger=AtEnd(early=AfterCount(3))),
    "count": lambda keyed: keyed.window(Count(3)),
    "rolling": lambda keyed: keyed.window(Count(3, every=2)),
    "global": lambda keyed: keyed.window(Global(), trigger=AtEnd(early=AfterCount(4))),
}

WAYS: dict[str, Callable[[WindowedStream[int], int], DataStream[Any]]] = {
    "reduce": lambda windows, n: windows.reduce(lambda a, b: a + b, with_window=True, parallelism=n),
    "aggregate": lambda windows, n: windows.aggregate(Listed, with_window=True, parallelism=n),
    "process": lambda windows, n: windows.process(listed, parallelism=n),
}


def pipeline(env: LocalEnvironment, cut: str, way: str, parallelism: int) -> DataStream[Any]:
    timed = numbers(env, RECORDS).assign_timestamps(time_of, out_of_order=OUT_OF_ORDER)
    return WAYS[way](CUTS[cut](timed.keyby(lambda number: number % 4)), parallelism)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(sorted(CUTS)),
    st.sampled_from(sorted(WAYS)),
    st.lists(st.integers(0, 25), max_size=4),
    st.lists(st.integers(1, 5), min_size=5, max_size=5),
)
def test_interrupted_anywhere_and_moved_the_windows_are_the_same(
    cut: str, way: str, cuts: list[int], parallelisms: list[int]
) -> None:
    """What is open goes with its keys; no window is lost, fires twice, or forgets what it holds."""
    whole = run(lambda env: pipeline(env, cut, way, 1)).out
    out: list[Any] = []
    saved: Saved = {}
    for turns, parallelism in zip([*cuts, None], parallelisms, strict=False):
        part = run(lambda env, n=parallelism: pipeline(env, cut, way, n), turns=turns, restored=saved)  # type: ignore[misc]
        out += part.out
        saved = part.saved
        if part.ended:
            break
    assert Counter(map(repr, out)) == Counter(map(repr, whole))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_windows_by_the_clock_go_on_also_where_it_is_behind(data: st.DataObject) -> None:
    """Each record is in as many windows as there are for it, though another machine's clock shows less."""
    cuts: list[tuple[Any, int]] = [(Tumbling(5, time="processing"), 1), (Sliding(6, 2, time="processing"), 3)]
    window, times = data.draw(st.sampled_from(cuts))
    sent, found, saved = 0, Counter[int](), Snapshot({}, 0.0)
    for parallelism in data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)):

        def operator(stream: DataStream[int], parallelism: int = parallelism) -> DataStream[Any]:
            keyed = stream.keyby(lambda number: number % 4)
            return keyed.window(window).process(lambda key, window, values: values, parallelism=parallelism)

        with Harness(operator, restored=saved) as harness:
            for step in data.draw(st.lists(st.sampled_from([None, None, 1, 2, 9]), max_size=10)):
                if step is None:
                    harness.send(sent)
                    sent += 1
                else:
                    harness.advance(step)
            saved = harness.snapshot()
            found.update(harness.outputs)
        saved = Snapshot(saved, data.draw(st.sampled_from([0.0, saved.time, saved.time + 4])))
    with Harness(operator, restored=saved) as harness:
        harness.end()
        found.update(harness.outputs)
    assert found == Counter(dict.fromkeys(range(sent), times))
