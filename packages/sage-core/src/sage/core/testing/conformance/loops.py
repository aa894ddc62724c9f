"""Loops: records go round until none is left, then all that follows has its end of input."""

from __future__ import annotations

from typing import Any

from sage.core.api.function.flatmap_function import FlatMapFunction
from sage.core.engine.context import RuntimeContext
from sage.core.testing.conformance._functions import first, itself
from sage.core.testing.conformance._promises import FEEDBACK, promise
from sage.core.testing.conformance.kit import Kit

__all__ = [
    "Shorter",
    "drains",
    "held_back",
    "nested",
    "one_behind_the_other",
    "out_of_room",
    "parallel",
    "step",
    "with_state",
]

_PAGE = "reference/feedback.md"
_ROADS = {"a": "bc", "b": "d", "c": "de", "d": "e", "e": "a"}


def step(state: tuple[int, int, int]) -> tuple[int, int, int]:
    start, number, steps = state
    return start, number // 2 if number % 2 == 0 else 3 * number + 1, steps + 1


def _goes_on(state: tuple[int, int, int]) -> bool:
    return state[1] != 1


def _is_done(state: tuple[int, int, int]) -> bool:
    return state[1] == 1


def _steps(start: int) -> int:
    state = (start, start, 0)
    while state[1] != 1 or state[2] == 0:
        state = step(state)
    return state[2]


@promise(
    "loops.drain",
    "A loop ends when its input has ended and no record goes round; none is lost.",
    f"{_PAGE}#when-a-loop-ends",
    FEEDBACK,
)
def drains(kit: Kit) -> None:
    env = kit.environment()
    again = env.from_future("again")
    stepped = env.from_batch([(n, n, 0) for n in range(1, 120)]).union(again).map(step)
    stepped.filter(_goes_on).fill_future(again)
    found = stepped.filter(_is_done).collect()
    kit.run(env)
    assert sorted((start, steps) for start, _, steps in found) == [(n, _steps(n)) for n in range(1, 120)]


@promise("loops.parallel", "Loops go through parallel tasks and exchanges.", _PAGE, FEEDBACK)
def parallel(kit: Kit) -> None:
    env = kit.environment()
    again = env.from_future("again")
    numbers = env.from_batch([(n, n, 0) for n in range(1, 120)]).union(again)
    stepped = numbers.keyby(first).map(step, parallelism=3).rebalance().map(itself, parallelism=2)
    stepped.filter(_goes_on, parallelism=2).fill_future(again)
    found = stepped.filter(_is_done, parallelism=2).collect()
    kit.run(env)
    assert sorted((start, steps) for start, _, steps in found) == [(n, _steps(n)) for n in range(1, 120)]


class Shorter(FlatMapFunction[tuple[str, int], tuple[str, int]]):
    """Tells of a way only if none as short was known."""

    def open(self, context: RuntimeContext) -> None:
        self.best = context.value_state("best")

    def execute(self, record: tuple[str, int]) -> list[tuple[str, int]]:
        if self.best.get() is not None and self.best.get() <= record[1]:
            return []
        self.best.set(record[1])
        return [record]


def _roads(way: tuple[str, int]) -> list[tuple[str, int]]:
    return [(place, way[1] + 1) for place in _ROADS[way[0]]]


def _shorter(left: tuple[str, int], right: tuple[str, int]) -> tuple[str, int]:
    return min(left, right)


@promise(
    "loops.state",
    "Keyed state in a loop is kept from round to round; what follows has its end of input after it.",
    f"{_PAGE}#with-state-shortest-ways",
    FEEDBACK,
)
def with_state(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_future("found")
    ways = env.from_batch([("a", 0)]).union(found).keyby(first).flatmap(Shorter, parallelism=3)
    ways.flatmap(_roads, parallelism=3).fill_future(found)
    lengths = ways.keyby(first).reduce(_shorter, final=True, parallelism=2).collect()
    kit.run(env)
    assert sorted(lengths) == [("a", 0), ("b", 1), ("c", 1), ("d", 2), ("e", 2)]


def _inner(state: tuple[int, int]) -> tuple[int, int]:
    return state[0], state[1] - 1


def _outer(state: tuple[int, int]) -> tuple[int, int]:
    return state[0] - 1, 5


def _left(state: tuple[int, int]) -> bool:
    return state[1] > 0


def _out(state: tuple[int, int]) -> bool:
    return state[1] <= 0


def _more(state: tuple[int, int]) -> bool:
    return state[0] > 0


def _none(state: tuple[int, int]) -> bool:
    return state[0] <= 0


@promise("loops.nested", "A loop may hold another; both end.", f"{_PAGE}#when-a-loop-ends", FEEDBACK)
def nested(kit: Kit) -> None:
    env = kit.environment()
    outer, inner = env.from_future("outer"), env.from_future("inner")
    turned = env.from_batch([(3, 5)] * 20).union(outer).union(inner).rebalance().map(_inner, parallelism=2)
    turned.filter(_left, parallelism=2).fill_future(inner)
    once = turned.filter(_out, parallelism=2).map(_outer, parallelism=2)
    once.filter(_more, parallelism=2).fill_future(outer)
    done = once.filter(_none, parallelism=2).collect()
    kit.run(env)
    assert done == [(0, 5)] * 20


@promise("loops.behind", "Loops one behind the other end one after the other.", f"{_PAGE}#when-a-loop-ends", FEEDBACK)
def one_behind_the_other(kit: Kit) -> None:
    env = kit.environment()
    stream: Any = env.from_batch([(n, n, 0) for n in range(2, 30)])
    for name in ("one", "two"):
        again = env.from_future(name)
        stepped = stream.union(again).map(step, uid=f"step {name}")
        stepped.filter(_goes_on, uid=f"on {name}").fill_future(again)
        stream = stepped.filter(_is_done, uid=f"done {name}").map(_restart, uid=f"restart {name}")
    found = stream.collect()
    kit.run(env)
    assert sorted(start for start, *_ in found) == list(range(2, 30))


def _restart(state: tuple[int, int, int]) -> tuple[int, int, int]:
    return state[0], state[0], 0


def _twice(number: int) -> list[int]:
    return [number, number]


def _never(number: int) -> bool:
    return False


@promise(
    "loops.room",
    "A loop that makes ever more of its records fails its job by name; it does not stand still.",
    f"{_PAGE}#room",
    FEEDBACK,
)
def out_of_room(kit: Kit) -> None:
    env = kit.environment()
    future = env.from_future("rabbits", in_memory=1000, on_disk=100_000)
    more = env.from_batch([1]).union(future).flatmap(_twice)
    more.fill_future(future)
    more.filter(_never).collect()
    failure = kit.fail(env)
    assert failure.error_type == "sage.core.errors.FeedbackError"
    assert "rabbits" in failure.message


@promise(
    "loops.held",
    "A long input does not fill a loop: it is held back while many records go round.",
    f"{_PAGE}#room",
    FEEDBACK,
)
def held_back(kit: Kit) -> None:
    env, count = kit.environment(), 60_000 if kit.is_parallel else 5_000
    again = env.from_future("again", in_memory=30_000, on_disk=0)
    turned = env.from_batch([(1, 2)] * count).union(again).map(_inner)
    turned.filter(_left).fill_future(again)
    counted = turned.filter(_out).map_batches(_size, max_size=500).collect()
    kit.run(env)
    assert sum(counted) == count


def _size(batch: list[Any]) -> list[int]:
    return [len(batch)]
