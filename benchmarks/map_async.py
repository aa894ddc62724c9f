"""2,000 records of 5 ms each, 32 at a time: ``map_async``, against asyncio by hand over the same coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from _measure import in_turn, report

from sage.core.api import LocalEnvironment

RECORDS = 2_000
AT_ONCE = 32
SECONDS = 0.005


async def fetch(number: int) -> int:
    await asyncio.sleep(SECONDS)
    return number * 2


async def with_a_semaphore() -> int:
    """A task for each record, of which 32 get past the semaphore."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> int:
        async with gate:
            return await fetch(number)

    return sum(await asyncio.gather(*map(one, range(RECORDS))))


async def with_workers() -> int:
    """32 workers that share the records out among themselves: the quickest way by hand."""
    numbers, total = iter(range(RECORDS)), 0

    async def work() -> None:
        nonlocal total
        for number in numbers:
            result = await fetch(number)
            total += result

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    return total


def on_sage(ordered: bool) -> int:
    env = LocalEnvironment("map-async")
    results = env.from_batch(range(RECORDS)).map_async(fetch, concurrency=AT_ONCE, ordered=ordered).collect()
    env.submit(autostop=True)
    return sum(results)


def main() -> None:
    work: dict[str, Callable[[], int]] = {
        "asyncio, workers": lambda: asyncio.run(with_workers()),
        "asyncio, semaphore": lambda: asyncio.run(with_a_semaphore()),
        "sage, ordered": lambda: on_sage(ordered=True),
        "sage, unordered": lambda: on_sage(ordered=False),
    }
    assert len({run() for run in work.values()}) == 1, "all ways must agree"
    measured = in_turn(work, rounds=9)
    report(
        "map_async, 2,000 records of 5 ms, 32 at a time",
        measured,
        [
            (name, by_hand, f"time of {name} over {by_hand}")
            for name in ("sage, ordered", "sage, unordered")
            for by_hand in ("asyncio, workers", "asyncio, semaphore")
        ],
    )


if __name__ == "__main__":
    main()
