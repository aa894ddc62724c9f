"""Coroutines: many calls of `map_async` are under way at once, and the order is as if they were not."""

from __future__ import annotations

import asyncio
from typing import Any

from sage.core.api.error_policy import skip
from sage.core.api.function.async_map_function import AsyncMapFunction
from sage.core.testing.conformance._functions import itself, tens_of
from sage.core.testing.conformance._promises import ASYNC, PARALLEL, promise
from sage.core.testing.conformance.kit import Kit

__all__ = ["Backwards", "Together", "in_order", "per_key", "picky", "slow_for_three", "timeout", "under_way_together"]

_PAGE = "reference/map-async.md"


class Together(AsyncMapFunction[int, int]):
    """Returns from none before ten are under way."""

    async def open(self, context: Any) -> None:
        self.under_way = 0
        self.enough = asyncio.Event()

    async def execute(self, record: int) -> int:
        self.under_way += 1
        if self.under_way == 10:
            self.enough.set()
        await self.enough.wait()
        return record


class Backwards(AsyncMapFunction[int, int]):
    """Of ten, lets the last return first."""

    async def open(self, context: Any) -> None:
        self.turn = {number: asyncio.Event() for number in range(10)}
        self.turn[9].set()

    async def execute(self, record: int) -> int:
        await self.turn[record].wait()
        if record:
            self.turn[record - 1].set()
        return record


async def slow_for_three(number: int) -> int:
    if number == 3:
        await asyncio.Event().wait()
    await asyncio.sleep(0)
    return number


async def picky(number: int) -> int:
    await asyncio.sleep(0)
    if number % 10 == 3:
        raise ValueError("a three")
    return number


@promise("coroutines.together", "Many coroutines of a subtask are under way at once.", _PAGE, ASYNC, PARALLEL)
def under_way_together(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(10)).rebalance().map_async(Together).rebalance().collect()
    kit.run(env)
    assert found == list(range(10))


@promise(
    "coroutines.ordered",
    "In order, results leave in the order of the records, however long each takes.",
    f"{_PAGE}#one-in-one-out",
    ASYNC,
    PARALLEL,
)
def in_order(kit: Kit) -> None:
    env = kit.environment()
    numbers = env.from_batch(range(10))
    ordered = numbers.map_async(Backwards, uid="ordered").collect()
    unordered = numbers.map_async(Backwards, ordered=False, uid="unordered").collect()
    kit.run(env)
    assert ordered == list(range(10))
    assert unordered == list(range(9, -1, -1)), "without order, each leaves when it is there"


@promise(
    "coroutines.keys",
    "The order of each key is kept, at any parallelism, and all is there at the end.",
    f"{_PAGE}#one-in-one-out",
    ASYNC,
)
def per_key(kit: Kit) -> None:
    env = kit.environment()
    keyed = env.from_batch(range(2000)).rebalance().map(itself).keyby(tens_of)
    found = keyed.map_async(picky, parallelism=3, on_error=skip(), concurrency=7).rebalance().map(itself).collect()
    kit.run(env)
    for key in range(10):
        assert [item for item in found if item % 10 == key] == ([] if key == 3 else list(range(key, 2000, 10)))


@promise(
    "coroutines.timeout",
    "A call that takes longer than its time-out fails with its record; the others go on.",
    f"{_PAGE}",
    ASYNC,
)
def timeout(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(6)).rebalance().map_async(slow_for_three, timeout=1.0, on_error=skip()).collect()
    kit.run(env)
    assert found == [0, 1, 2, 4, 5]
    env = kit.environment()
    env.from_batch([3]).rebalance().map_async(slow_for_three, timeout=0.01, uid="slow").collect()
    failure = kit.fail(env)
    assert (failure.uid, failure.record) == ("slow", "3")
    assert failure.error_type == "sage.core.errors.RecordTimeoutError"
