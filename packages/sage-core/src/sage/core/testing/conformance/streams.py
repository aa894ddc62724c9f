"""Several streams: unions, side outputs, connected inputs, joins without time."""

from __future__ import annotations

from collections.abc import Iterator

from sage.core.api.function.comap_function import CoMapFunction
from sage.core.api.function.flatmap_function import FlatMapFunction
from sage.core.engine.context import RuntimeContext
from sage.core.testing.conformance._functions import Opens, first, itself, tens_of
from sage.core.testing.conformance._promises import promise
from sage.core.testing.conformance.kit import Gate, Kit

__all__ = [
    "Counts",
    "Rules",
    "Sides",
    "Sorted",
    "broadcast_state",
    "collect",
    "comap",
    "join",
    "shared_keys",
    "side_outputs",
    "union",
]


class Sorted(FlatMapFunction[int, int]):
    """Even numbers go on, odd ones to a side output."""

    def execute(self, record: int) -> list[int]:
        if record % 2:
            self.context.side_output("odd", record)
            return []
        return [record]


class Sides(CoMapFunction):
    """Tells by which input a record came."""

    def map0(self, record: int) -> tuple[str, int]:
        return "left", record

    def map1(self, record: int) -> tuple[str, int]:
        return "right", record


class Counts(CoMapFunction):
    """Counts the records of a key, whichever input they come by."""

    def open(self, context: RuntimeContext) -> None:
        self.count = context.value_state("count", 0)

    def map0(self, number: int) -> tuple[int, int]:
        self.count.set(self.count.get() + 1)
        return tens_of(number), self.count.get()

    def map1(self, number: int) -> tuple[int, int]:
        return self.map0(number)


class Rules(CoMapFunction):
    """Keeps what it is told, the same in all subtasks."""

    def open(self, context: RuntimeContext) -> None:
        self.rules = context.broadcast_state("rules")

    def map0(self, rule: tuple[int, int]) -> tuple[str, int]:
        self.rules[rule[0]] = rule[1]
        return "rule", rule[0]

    def map1(self, number: int) -> tuple[str, int]:
        return "number", number * self.rules.get(0, 0)


@promise("streams.union", "`union` has all records of all its streams.", "reference/operators.md#union")
def union(kit: Kit) -> None:
    env = kit.environment()
    streams = [
        env.from_batch(range(n * 1000, n * 1000 + 700), uid=f"n{n}").map(itself, parallelism=2) for n in range(3)
    ]
    found = streams[0].union(*streams[1:]).map(itself, parallelism=3).collect()
    kit.run(env)
    assert sorted(found) == [n * 1000 + i for n in range(3) for i in range(700)]


@promise(
    "streams.side-outputs",
    "A side output has what was put out there, and the main one what was not.",
    "reference/operators.md#side-outputs",
)
def side_outputs(kit: Kit) -> None:
    env = kit.environment()
    split = env.from_batch(range(1000)).rebalance().flatmap(Sorted, parallelism=2)
    even = split.map(itself, parallelism=2).collect()
    odd = split.side_output("odd").rebalance().map(itself, parallelism=3).collect()
    kit.run(env)
    assert sorted(even) == list(range(0, 1000, 2))
    assert sorted(odd) == list(range(1, 1000, 2))


@promise(
    "streams.comap",
    "Each input of connected streams goes to its own method, in its own order.",
    "reference/operators.md#connect-and-comap",
)
def comap(kit: Kit) -> None:
    env = kit.environment()
    left, right = env.from_batch(range(500), uid="left"), env.from_batch(range(500), uid="right")
    found = left.connect(right).comap(Sides).rebalance().map(itself).collect()
    kit.run(env)
    for side in ("left", "right"):
        assert [number for name, number in found if name == side] == list(range(500))


@promise(
    "streams.shared-keys",
    "Keyed inputs of one operator share what is kept for a key.",
    "reference/state.md#keyed-state",
)
def shared_keys(kit: Kit) -> None:
    env = kit.environment()
    left, right = env.from_batch(range(500), uid="left"), env.from_batch(range(700), uid="right")
    found = left.keyby(tens_of).connect(right.keyby(tens_of)).comap(Counts, parallelism=3).collect()
    kit.run(env)
    for key in range(10):
        assert [count for of, count in found if of == key] == list(range(1, 121)), f"the counts of key {key}"


@promise(
    "streams.broadcast-state", "Broadcast state is the same in all subtasks.", "reference/state.md#broadcast-state"
)
def broadcast_state(kit: Kit) -> None:
    env, gate = kit.environment(), kit.gate()
    rules = env.from_batch([(0, 10)])
    numbers = env.from_batch(_several_after, gate, kit.limit).rebalance()
    both = rules.broadcast().connect(numbers).comap(Rules, parallelism=3)
    found = both.collect()
    both.filter(_is_rule).map_batches(_whole, max_size=3).sink(Opens, gate)
    kit.run(env)
    assert sorted(found) == [*(("number", 10 * n) for n in range(1, 10)), *[("rule", 0)] * 3]


def _is_rule(told: tuple[str, int]) -> bool:
    return told[0] == "rule"


def _whole(batch: list[tuple[str, int]]) -> list[int]:
    return [len(batch)] * (len(batch) == 3)


def _several_after(gate: Gate, limit: float) -> Iterator[int]:
    assert gate.wait(limit)
    yield from range(1, 10)


@promise(
    "streams.join",
    "`join` pairs all records of a key that come by two streams; outer ones keep those alone.",
    "reference/joins.md",
)
def join(kit: Kit) -> None:
    env = kit.environment()
    left = env.from_batch([("a", 1), ("a", 2), ("b", 3)], uid="left")
    right = env.from_batch([("a", 10), ("c", 20)], uid="right")
    pairs = left.connect(right).keyby(first, first)
    inner = pairs.join(_both, parallelism=2, uid="inner").collect()
    outer = pairs.join(_both, how="outer", parallelism=2, uid="outer").collect()
    kit.run(env)
    assert sorted(inner) == [(1, 10), (2, 10)]
    assert sorted(outer, key=str) == [(1, 10), (2, 10), (3, None), (None, 20)]


def _both(left: tuple[str, int] | None, right: tuple[str, int] | None) -> tuple[int | None, int | None]:
    return left and left[1], right and right[1]


@promise(
    "streams.collect",
    "`collect` has all records when the job has ended, whatever their number and size.",
    "reference/operators.md#sink-print-collect",
)
def collect(kit: Kit) -> None:
    env = kit.environment()
    numbers = env.from_batch(range(3000)).rebalance().map(itself, parallelism=3)
    many, large = numbers.collect(), numbers.filter(_is_hundred, parallelism=3).map(_large, parallelism=3).collect()
    nothing = numbers.filter(_is_negative, parallelism=3).collect()
    kit.run(env)
    assert sorted(many) == list(range(3000))
    assert sorted(large) == [bytes([number // 100]) * 1_000_000 for number in range(0, 3000, 100)]
    assert nothing == []


def _is_hundred(number: int) -> bool:
    return number % 100 == 0


def _is_negative(number: int) -> bool:
    return number < 0


def _large(number: int) -> bytes:
    return bytes([number // 100]) * 1_000_000
