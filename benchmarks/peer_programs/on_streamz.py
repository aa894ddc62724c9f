"""The works on streamz: records are emitted one by one, and the state of an accumulation is a dict of all keys."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

from streamz import Stream
from work import (
    CALLS,
    CONCURRENCY,
    Clock,
    Way,
    add_array,
    add_one,
    arrays,
    double,
    double_array,
    fetch,
    measure,
    not_by_three,
    numbers,
    step,
    subtract_array,
    take_array,
    take_arrival,
    take_count,
    take_number,
    words,
)


def chain() -> None:
    source = Stream()
    source.map(add_one).map(double).filter(not_by_three).map(add_one).sink(take_number)
    for number in numbers():
        source.emit(number)


def next_count(counts: dict[str, int], word: str) -> tuple[dict[str, int], tuple[str, int]]:
    count = counts[word] = counts.get(word, 0) + 1
    return counts, (word, count)


def count() -> None:
    source = Stream()
    source.accumulate(next_count, start={}, returns_state=True).sink(take_count)
    for word in words():
        source.emit(word)


async def wait_for_all() -> None:
    left = CALLS
    done = asyncio.Event()

    def arrived(number: int) -> None:
        nonlocal left
        take_number(number)
        left -= 1
        if not left:
            done.set()

    source = Stream(asynchronous=True)
    source.map_async(fetch, parallelism=CONCURRENCY).sink(arrived)
    for number in range(CALLS):
        await source.emit(number)
    await done.wait()


def waits() -> None:
    asyncio.run(wait_for_all())


def in_place() -> None:
    source = Stream()
    source.map(add_array).map(double_array).map(subtract_array).sink(take_array)
    for array in arrays():
        source.emit(array)


def latency() -> None:
    source: Any = Stream()
    source.map(step).map(step).map(step).sink(take_arrival)
    for record in Clock():
        source.emit(record)


WAYS: dict[str, list[Way]] = {
    "W1": [("streamz", chain)],
    "W2": [("streamz", count)],
    "W3": [("streamz", waits)],
    "W5": [("streamz", in_place)],
    "W6": [("streamz", latency)],
}

if __name__ == "__main__":
    measure(version("streamz"), WAYS)
