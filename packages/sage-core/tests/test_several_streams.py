"""Operators with several inputs or outputs, and what else changes the shape of a stream."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sage.core.api import (
    AggregateFunction,
    CoMapFunction,
    FlatMapFunction,
    LocalEnvironment,
    MapFunction,
    RemoteEnvironment,
    SinkFunction,
)
from sage.core.errors import GraphError


class Pair(CoMapFunction):
    """Counts both inputs together."""

    def __init__(self) -> None:
        self.seen = 0

    def map0(self, value: int) -> tuple[str, int]:
        self.seen += 1
        return ("left", value)

    def map1(self, value: str) -> tuple[str, str, int]:
        self.seen += 1
        return ("right", value, self.seen)


def test_each_connected_stream_has_its_own_method_and_they_share_attributes(backend: str) -> None:
    """Records of the first stream go to map0, of the second to map1, of one instance."""
    env = LocalEnvironment("comap", backend)
    left, right = env.from_batch([1, 2]), env.from_batch(["a"])
    results = left.connect(right).comap(Pair).collect()
    env.submit(autostop=True)
    assert sorted(item[:2] for item in results) == [("left", 1), ("left", 2), ("right", "a")]
    assert max(item[2] for item in results if len(item) > 2) <= 3


def test_connected_streams_take_one_callable_for_each(backend: str) -> None:
    """Three streams, three callables, also over several subtasks."""
    env = LocalEnvironment("callables", backend)
    streams = [env.from_batch(range(4)) for _ in range(3)]
    joined = streams[0].connect(*streams[1:]).comap(lambda x: x, lambda x: x * 10, lambda x: x * 100, parallelism=2)
    results = joined.collect()
    env.submit(autostop=True)
    assert sorted(results) == sorted(x * factor for x in range(4) for factor in (1, 10, 100))


def test_keyed_connected_streams_meet_by_key(backend: str) -> None:
    """All records of a key, of both streams, come to one subtask, where the key is in the context."""

    class Meet(CoMapFunction):
        def __init__(self) -> None:
            self.keys: set[int] = set()

        def map0(self, value: int) -> tuple[int, int]:
            return self.context.key, self.context.subtask

        map1 = map0

    env = LocalEnvironment("keyed", backend)
    one, two = env.from_batch(range(40)), env.from_batch(range(100, 140))
    keyed = one.connect(two).keyby(lambda x: x % 10, lambda x: x % 10)
    results = keyed.comap(Meet, parallelism=3).collect()
    env.submit(autostop=True)
    assert len(results) == 80
    homes: dict[int, set[int]] = {}
    for key, subtask in results:
        homes.setdefault(key, set()).add(subtask)
    assert all(len(home) == 1 for home in homes.values()) and len(homes) == 10


def test_a_record_without_a_key_does_not_see_the_key_of_another() -> None:
    """Where only one of two streams is keyed, the other's records have no key."""

    class Key(CoMapFunction):
        def map0(self, value: int) -> Any:
            return self.context.key

        map1 = map0

    env = LocalEnvironment("half", "inline")
    keyed = env.from_batch([1, 2]).keyby(lambda x: x)
    results = keyed.connect(env.from_batch([3, 4])).comap(Key).collect()
    env.submit(autostop=True)
    assert results == [1, None, 2, None]


def test_wrong_comaps_are_refused_with_all_that_is_wrong() -> None:
    """A missing method, too few callables, a single callable, keys for half of the streams."""
    env = LocalEnvironment("wrong")
    pair = env.from_batch([1]).connect(env.from_batch([2]), env.from_batch([3]))
    pair.comap(Pair).collect()  # type: ignore[arg-type]
    pair.comap(str, str).collect()  # type: ignore[arg-type]
    pair.comap(str).collect()  # type: ignore[arg-type]
    with pytest.raises(GraphError) as caught:
        env.submit()
    text = str(caught.value)
    assert "does not define map2" in text
    assert "one callable for each of its 3 inputs, not 2" in text
    assert "one callable for each stream" in text
    with pytest.raises(GraphError, match="takes as many functions"):
        pair.keyby(str)  # type: ignore[call-arg]
    with pytest.raises(GraphError, match="same environment"):
        env.from_batch([1]).connect(LocalEnvironment("other").from_batch([1]))


class Sort(FlatMapFunction):
    """Puts odd numbers out on the side, and even ones as they are."""

    def execute(self, value: int) -> list[int]:
        if value % 2:
            self.context.side_output("odd", value)
            self.context.side_output("nobody asked", value)
            return []
        return [value]


def test_a_side_output_is_a_stream_of_its_own(backend: str) -> None:
    """It is used like any other, any number of times, over several subtasks; what nobody takes is left out."""
    env = LocalEnvironment("side", backend)
    sorted_ = env.from_batch(range(20)).flatmap(Sort, parallelism=2)
    odd = sorted_.side_output("odd")
    evens, odds, doubled = sorted_.collect(), odd.collect(), odd.map(lambda x: x * 2, parallelism=3).collect()
    env.submit(autostop=True)
    assert sorted(evens) == list(range(0, 20, 2))
    assert sorted(odds) == list(range(1, 20, 2))
    assert sorted(doubled) == [x * 2 for x in range(1, 20, 2)]


class Aside(AggregateFunction):
    def create(self) -> int:
        return 0

    def add(self, accumulator: int, value: int) -> int:
        return accumulator + value

    def result(self, accumulator: int) -> int:
        self.context.side_output("results", accumulator)
        return accumulator


@pytest.mark.parametrize("final", [False, True])
def test_what_a_result_puts_out_on_the_side_is_not_lost(backend: str, final: bool) -> None:
    """Neither for each record nor at the end of input."""
    env = LocalEnvironment("aside", backend)
    sums = env.from_batch([1, 2, 3]).keyby(lambda x: x % 2).aggregate(Aside, final=final)
    results, aside = sums.collect(), sums.side_output("results").collect()
    env.submit(autostop=True)
    assert sorted(results) == sorted(aside) == ([2, 4] if final else [1, 2, 4])


class Keyed(AggregateFunction):
    def create(self) -> int:
        return 0

    def add(self, accumulator: int, value: int) -> int:
        return accumulator + value

    def result(self, accumulator: int) -> Any:
        return self.context.key, accumulator


@pytest.mark.parametrize("parallelism", [1, 3])
def test_a_result_knows_its_key_also_at_the_end(backend: str, parallelism: int) -> None:
    """It is that of the accumulator, not the one of the last record."""
    env = LocalEnvironment("keys", backend)
    keyed = env.from_batch(range(20)).keyby(lambda x: f"rest {x % 4}")
    last = keyed.aggregate(Keyed, final=True, parallelism=parallelism).collect()
    whole = env.from_batch(range(20)).aggregate(Keyed, final=True).collect()
    env.submit(autostop=True)
    assert sorted(last) == [("rest 0", 40), ("rest 1", 45), ("rest 2", 50), ("rest 3", 55)]
    assert whole == [(None, 190)]


def test_a_broadcast_stream_reaches_every_subtask_and_a_rebalanced_one_is_dealt_out(backend: str) -> None:
    """Three subtasks see each record once all of them, or a third of the records each."""

    class Where(MapFunction):
        def execute(self, value: int) -> tuple[int, int]:
            return self.context.subtask, value

    env = LocalEnvironment("spread", backend)
    source = env.from_batch(range(9))
    everywhere = source.broadcast().map(Where, parallelism=3).collect()
    somewhere = source.rebalance().map(Where, parallelism=3).collect()
    env.submit(autostop=True)
    assert sorted(everywhere) == [(subtask, value) for subtask in range(3) for value in range(9)]
    assert sorted(value for _, value in somewhere) == list(range(9))
    assert [sum(1 for where, _ in somewhere if where == subtask) for subtask in range(3)] == [3, 3, 3]


def test_rebalance_gives_the_next_operator_a_task_of_its_own() -> None:
    """Without it two operators of one parallelism share a thread."""

    class Thread(SinkFunction):
        def __init__(self, seen: str) -> None:
            self.seen = seen

        def execute(self, value: int) -> None:
            threads[self.seen] = threading.current_thread().name

    threads: dict[str, str] = {}
    env = LocalEnvironment("threads")
    source = env.from_batch([1])
    source.sink(Thread, "source").rebalance().sink(Thread, "apart")
    source.sink(Thread, "chained")
    env.submit(autostop=True)
    assert threads["source"] == threads["chained"] != threads["apart"]


class Mean(AggregateFunction):
    def create(self) -> tuple[int, int]:
        return 0, 0

    def add(self, accumulator: tuple[int, int], value: int) -> tuple[int, int]:
        return accumulator[0] + value, accumulator[1] + 1

    def result(self, accumulator: tuple[int, int]) -> float:
        return accumulator[0] / accumulator[1]


def test_aggregate_puts_out_the_result_per_record_or_once_per_key(backend: str) -> None:
    """Running without `final`, the last result of each key with it, the whole stream without a key."""
    env = LocalEnvironment("mean", backend)
    source = env.from_batch([1, 2, 3, 4, 5, 6])
    running = source.aggregate(Mean).collect()
    by_key = source.keyby(lambda x: x % 2).aggregate(Mean, final=True, parallelism=2).collect()
    env.submit(autostop=True)
    assert running == [1, 1.5, 2, 2.5, 3, 3.5]
    assert sorted(by_key) == [3, 4]


def test_filter_map_leaves_out_none_and_nothing_else(backend: str) -> None:
    """0, "" and False are values."""
    env = LocalEnvironment("filter_map", backend)
    values: list[Any] = [0, None, "", 1, False]
    results = env.from_batch(values).filter_map(lambda x: x).collect()
    env.submit(autostop=True)
    assert results == [0, "", 1, False]


def test_collect_is_refused_where_the_job_runs_elsewhere() -> None:
    """The list is of this process; nothing is contacted."""
    env = RemoteEnvironment("remote", "127.0.0.1", 1)
    env.from_batch([1]).collect()
    with pytest.raises(GraphError, match="fills a list of this process"):
        env.submit()
