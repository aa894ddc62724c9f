"""Time in loops: what carries times, whom watermarks wait for, and what is let go once a loop has drained."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sage.core.api import Count, LocalEnvironment, ProcessFunction, Session, Tumbling
from sage.core.errors import GraphError
from sage.core.testing import simulate

LIMIT = 60.0
HOW: list[str | int] = ["inline", "local", *range(12)]


def run(declare: Any, how: str | int) -> list[Any]:
    """What a pipeline collects on a backend, or in a simulation of a seed."""
    env = LocalEnvironment("time", how if isinstance(how, str) else "inline")
    found: list[Any] = declare(env)
    if isinstance(how, int):
        simulate(env, seed=how)
    else:
        env.submit(autostop=True, timeout=LIMIT)
    return found


Item = tuple[int, int]
"""An event time in seconds, and how often it still goes round."""


def less(item: Item) -> Item:
    return item[0], item[1] - 1


@pytest.mark.parametrize("how", HOW)
def test_records_keep_their_times_on_the_way_back(how: str | int) -> None:
    """However often they go round; only what an operator has made anew would have another."""

    class Tells(ProcessFunction[Item, tuple[int, float | None]]):
        def execute(self, value: Item) -> list[tuple[int, float | None]]:
            return [(value[0], self.context.timestamp)]

    def declare(env: LocalEnvironment) -> list[Any]:
        again = env.from_future("again")
        timed = env.from_batch([(second, 3) for second in range(20)]).assign_timestamps(lambda item: item[0])
        body = timed.union(again).map(less, parallelism=3)
        body.filter(lambda item: item[1] > 0).fill_future(again)
        return body.process(Tells).collect()

    assert sorted(run(declare, how)) == sorted((second, float(second)) for second in range(20) for _ in range(3))


def test_watermarks_do_not_wait_for_a_loop() -> None:
    """A window behind a loop fires though a record goes round for ever."""
    fired, given = threading.Event(), iter([(5, 0), (100, -1)])
    env = LocalEnvironment("endless")
    again = env.from_future("again")
    body = (
        env.from_source(lambda: next(given, None))
        .assign_timestamps(lambda item: item[0])
        .union(again)
        .map(lambda item: item)
    )
    body.filter(lambda item: item[1] < 0).fill_future(again)
    windows = body.filter(lambda item: item[1] == 0).window(Tumbling(10)).reduce(lambda a, b: a)
    windows.sink(lambda item: fired.set())
    job = env.submit()
    try:
        assert fired.wait(LIMIT)
    finally:
        job.stop()
        job.wait(LIMIT)


@pytest.mark.parametrize("how", HOW)
def test_windows_of_a_loop_are_let_go_and_go_round(how: str | int) -> None:
    """Those that are not full when it has drained fire then, what they put out comes round, until all has left."""

    def declare(env: LocalEnvironment) -> list[Any]:
        again = env.from_future("again")
        numbers = env.from_batch([1] * 10).union(again)
        sums = numbers.window(Count(4)).reduce(lambda a, b: a + b)
        sums.filter(lambda number: number < 9).fill_future(again)
        return sums.filter(lambda number: number >= 9).collect()

    found = run(declare, how)
    assert sum(found) == 10


@pytest.mark.parametrize("how", HOW)
def test_time_windows_of_a_loop(how: str | int) -> None:
    """When all input has come in and nothing goes round any more, time is over, in the loop too."""

    def declare(env: LocalEnvironment) -> list[Any]:
        again = env.from_future("again")
        timed = env.from_batch([(0, 2), (1, 2), (12, 1)]).assign_timestamps(lambda item: item[0], out_of_order=1000)
        body = timed.union(again).map(less)
        body.filter(lambda item: item[1] > 0).fill_future(again)
        summed = body.window(Tumbling(10)).reduce(lambda a, b: (min(a[0], b[0]), a[1] + b[1]))
        return summed.collect()

    assert sorted(run(declare, how)) == [(0, 2), (12, 0)]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", ["tumbling", "session"])
def test_what_a_window_puts_out_in_the_end_is_late_or_goes_on(how: str | int, kind: str) -> None:
    """A loop ends, and nothing is lost without a word, whatever windows it has."""
    windows = {"tumbling": Tumbling(10), "session": Session(5)}

    def declare(env: LocalEnvironment) -> list[Any]:
        again = env.from_future("again")
        timed = env.from_batch([(number, 1) for number in range(30)]).assign_timestamps(lambda item: item[0])
        window: Any = windows[kind]
        panes = timed.union(again).map(lambda item: item).window(window)
        sums = panes.reduce(lambda a, b: (max(a[0], b[0]), a[1] + b[1]))
        sums.flatmap(lambda item: [item] if item[1] < 3 else []).fill_future(again)
        late = sums.late_records.map(lambda item: item[1])
        return sums.filter(lambda item: item[1] >= 3).map(lambda item: item[1]).union(late).collect()

    assert sum(run(declare, how)) >= 1


class Retries(ProcessFunction[Item, Item]):
    """Puts a record out again after a while."""

    def open(self, context: Any) -> None:
        self.kept = context.list_state("kept")

    def execute(self, value: Item) -> None:
        self.kept.append(value)
        self.context.set_timer(self.context.now + 5, time="processing")

    def on_timer(self, timer: Any) -> list[Item]:
        kept = [less(item) for item in self.kept]
        self.kept.clear()
        return kept


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("parallelism", [1, 3])
def test_timers_of_a_loop(how: str | int, parallelism: int) -> None:
    """Those that are left when it has drained fire then, as at any end of input; what they put out goes round."""

    def declare(env: LocalEnvironment) -> list[Any]:
        again = env.from_future("again")
        tried = (
            env.from_batch([(key, 3) for key in range(7)])
            .union(again)
            .keyby(lambda item: item[0])
            .process(Retries, parallelism=parallelism)
        )
        tried.filter(lambda item: item[1] > 0).fill_future(again)
        return tried.filter(lambda item: item[1] == 0).collect()

    assert sorted(run(declare, how)) == [(key, 0) for key in range(7)]


@pytest.mark.parametrize("how", HOW)
def test_joins_in_a_loop(how: str | int) -> None:
    """A running one goes on as records come round. One that tells at its end who had no partner is refused."""

    def declare(env: LocalEnvironment, kind: Any = "inner") -> list[Any]:
        again = env.from_future("again")
        left = env.from_batch([1]).union(again)
        joined = (
            left.connect(env.from_batch([(1, 2), (2, 3), (3, 1), (3, 4)]))
            .keyby(lambda number: number, lambda pair: pair[0])
            .join(lambda one, pair: pair[1], how=kind, parallelism=2)
        )
        joined.filter(lambda number: number != 1).fill_future(again)
        return joined.collect()

    assert sorted(run(declare, how)) == [1, 2, 3, 4]
    with pytest.raises(GraphError, match="whose loop is over by then"):
        run(lambda env: declare(env, "left"), how)
