"""Pipelines of all kinds give in worker processes what they give on `inline`, one record after the other."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sage.core.api import (
    AggregateFunction,
    AsyncMapFunction,
    LocalEnvironment,
    MapFunction,
    ProcessFunction,
    Session,
    Sliding,
    Tumbling,
)
from sage.core.api.datastream import DataStream

LIMIT = 120.0

pytestmark = pytest.mark.usefixtures("nothing_is_left")

Build = Callable[[LocalEnvironment], list[list[Any]]]


def alike(build: Build, *, workers: int = 3) -> list[list[Any]]:
    """Run what ``build`` declares on both; what it collects holds the same records. Returns those of `processes`."""
    found = []
    for backend, options in (("inline", {}), ("processes", {"workers": workers})):
        env = LocalEnvironment("alike", backend=backend, options=options)
        collected = build(env)
        env.submit(autostop=True, timeout=LIMIT)
        found.append(collected)
    expected, got = found
    assert [Counter(map(repr, records)) for records in got] == [Counter(map(repr, records)) for records in expected]
    return got


# ---- one of each kind ------------------------------------------------------------------------------------------------


def third(value: int) -> int:
    return value % 3


def first(pair: Any) -> Any:
    return pair[0]


def second(pair: Any) -> Any:
    return pair[1]


def pair_up(value: int) -> tuple[int, int]:
    return (value % 5, value)


def add_pairs(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    return (left[0], left[1] + right[1])


class Counting(MapFunction[Any, Any]):
    """Counts the records of each key in keyed state."""

    def open(self, context: Any) -> None:
        self.count = context.value_state("count", 0)

    def execute(self, value: Any) -> Any:
        self.count.set(self.count.get() + 1)
        return (self.context.key, self.count.get())


class Slow(AsyncMapFunction[int, int]):
    async def execute(self, value: int) -> int:
        await asyncio.sleep(0.001 * (value % 3))
        return -value


class AtEnd(ProcessFunction[Any, Any]):
    """Tells by timers of event time how many records there were of each key in each stretch of it."""

    def open(self, context: Any) -> None:
        self.counts = context.map_state("counts")

    def execute(self, value: Any) -> None:
        end = value[1] // 100 * 100 + 100
        self.counts[end] = self.counts.get(end, 0) + 1
        self.context.set_timer(end)

    def on_timer(self, timer: Any) -> Iterator[Any]:
        yield (self.context.key, timer.at, self.counts.pop(int(timer.at)))


class Mean(AggregateFunction[Any, Any, Any]):
    def create(self) -> Any:
        return (0, 0)

    def add(self, accumulator: Any, value: Any) -> Any:
        return (accumulator[0] + 1, accumulator[1] + value[1])

    def merge(self, a: Any, b: Any) -> Any:
        return (a[0] + b[0], a[1] + b[1])


class Aside(MapFunction[int, int]):
    def execute(self, value: int) -> int:
        if value % 10 == 0:
            self.context.side_output("tens", value)
        return value


def keys_and_state(env: LocalEnvironment) -> list[list[Any]]:
    pairs = env.from_batch(range(3_000)).map(pair_up, parallelism=2)
    keyed = pairs.keyby(first, parallelism=2)
    return [
        keyed.map(Counting, parallelism=3).collect(),
        keyed.reduce(add_pairs, final=True, parallelism=2).collect(),
        keyed.aggregate(Mean, final=True, parallelism=3).collect(),
    ]


def windows_and_timers(env: LocalEnvironment) -> list[list[Any]]:
    timed = env.from_batch([(value % 4, value) for value in range(2_000)]).assign_timestamps(second)
    keyed = timed.rebalance().map(same, parallelism=2).keyby(first, parallelism=2)
    return [
        keyed.window(Tumbling(50)).reduce(add_pairs, parallelism=2).collect(),
        keyed.window(Sliding(100, 30)).aggregate(Mean, parallelism=3).collect(),
        keyed.window(Session(7)).reduce(add_pairs, parallelism=2).collect(),
        keyed.process(AtEnd, parallelism=2).collect(),
    ]


def joins(env: LocalEnvironment) -> list[list[Any]]:
    left = env.from_batch([(value % 20, value) for value in range(200)]).assign_timestamps(second).rebalance()
    right = env.from_batch([(value % 30, value) for value in range(150)]).assign_timestamps(second).rebalance()
    keyed = left.map(same, parallelism=2).connect(right.map(same, parallelism=2)).keyby(first, first)
    return [
        keyed.join(both, how="outer", parallelism=3).collect(),
        keyed.join(both, within=(-10, 10), parallelism=2).collect(),
        keyed.join(both, window=Tumbling(40), parallelism=2).collect(),
    ]


def both(left: Any, right: Any) -> Any:
    return (left, right)


def same(value: Any) -> Any:
    return value


def loops(env: LocalEnvironment) -> list[list[Any]]:
    again = env.from_future("again")
    numbers = env.from_batch([(number, number, 0) for number in range(1, 60)])
    stepped = numbers.union(again).map(collatz, parallelism=2)
    stepped.filter(goes_on, parallelism=2).fill_future(again)
    return [stepped.filter(is_done, parallelism=2).map(first).collect()]


def collatz(state: tuple[int, int, int]) -> tuple[int, int, int]:
    start, number, steps = state
    return start, number // 2 if number % 2 == 0 else 3 * number + 1, steps + 1


def goes_on(state: tuple[int, int, int]) -> bool:
    return state[1] != 1


def is_done(state: tuple[int, int, int]) -> bool:
    return state[1] == 1


def several_streams(env: LocalEnvironment) -> list[list[Any]]:
    numbers, words = env.from_batch(range(500)), env.from_batch(["a", "b", "c"] * 100)
    mapped = numbers.map(Aside, parallelism=2)
    return [
        numbers.union(words).map(str, parallelism=3).collect(),
        numbers.connect(words).comap(negative, str.upper, parallelism=2).collect(),
        numbers.broadcast().map(third, parallelism=2).collect(),
        mapped.side_output("tens").map(str).collect(),
        numbers.map_async(Slow, concurrency=8, parallelism=2).collect(),
    ]


def negative(value: int) -> int:
    return -value


@pytest.mark.parametrize("build", [keys_and_state, windows_and_timers, joins, loops, several_streams])
def test_each_kind_of_operator(build: Build) -> None:
    """Exchanges, keys, event time, loops, side outputs: between processes as within one."""
    assert all(alike(build))


# ---- random ones -----------------------------------------------------------------------------------------------------


def number_of(value: Any) -> int:
    return value if isinstance(value, int) else len(repr(value))


def twice(value: Any) -> list[Any]:
    return [value, value]


def is_odd(value: Any) -> bool:
    return number_of(value) % 2 == 1


def small(value: Any) -> tuple[int, int]:
    return (number_of(value) % 7, number_of(value))


def random_graph(seed: int) -> Build:
    """Streams that split, meet, are exchanged by key, in turn or to all, in any order."""

    def build(env: LocalEnvironment) -> list[list[Any]]:
        chance = random.Random(seed)
        streams: list[DataStream[Any]] = [
            env.from_batch(range(chance.choice([0, 1, 700, 2_500]))) for _ in range(chance.randint(1, 2))
        ]
        for _ in range(chance.randint(4, 9)):
            stream, parallelism = chance.choice(streams), chance.randint(1, 3)
            kind = chance.choice(["map", "filter", "flatmap", "keyed", "union", "in turn", "to all"])
            if kind == "map":
                streams.append(stream.map(number_of, parallelism=parallelism))
            elif kind == "filter":
                streams.append(stream.filter(is_odd, parallelism=parallelism))
            elif kind == "flatmap":
                streams.append(stream.filter(is_odd).flatmap(twice, parallelism=parallelism))
            elif kind == "keyed":
                keyed = stream.map(small, parallelism=parallelism).keyby(first, parallelism=chance.randint(1, 2))
                streams.append(keyed.reduce(add_pairs, final=True, parallelism=chance.randint(1, 3)))
            elif kind == "union":
                streams.append(stream.union(chance.choice(streams)).map(number_of, parallelism=parallelism))
            elif kind == "in turn":
                streams.append(stream.rebalance().map(number_of, parallelism=parallelism))
            else:
                streams.append(stream.filter(is_odd).broadcast().map(number_of, parallelism=chance.randint(1, 2)))
        return [stream.collect() for stream in streams]

    return build


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs(seed: int) -> None:
    """Whatever is connected with whatever, on one to four workers."""
    alike(random_graph(seed), workers=1 + seed % 4)


# ---- services --------------------------------------------------------------------------------------------------------


class Where:
    """A service; each of its instances has a number that no other one has."""

    def __init__(self) -> None:
        self.number = int.from_bytes(os.urandom(8))

    def told(self) -> tuple[int, int]:
        return (os.getpid(), self.number)


class Asks(MapFunction[int, tuple[int, int]]):
    def execute(self, value: int) -> tuple[int, int]:
        told: tuple[int, int] = self.call_service("where").told()
        return told


def test_each_worker_has_one_instance_of_a_service() -> None:
    """Shared by all tasks that run there."""
    env = LocalEnvironment("services", backend="processes", options={"workers": 2})
    env.register_service("where", Where)
    told = env.from_batch(range(100)).map(Asks, parallelism=6).collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert len(set(told)) == len({pid for pid, _ in told}) == 2
