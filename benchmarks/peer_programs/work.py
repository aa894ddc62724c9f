"""The works that SAGE and its peers are measured by, the functions they all call, and the plain Python beside them.

Each peer has a program of its own beside this file, which runs in that peer's virtual environment. For one work it
runs every way of writing it in turn with the plain baseline, in one process, checks that both give the same result,
and prints one line of JSON with the figures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

__all__ = [
    "BATCH",
    "CALLS",
    "CONCURRENCY",
    "RATE",
    "WORKS",
    "Clock",
    "Way",
    "add_array",
    "add_one",
    "arrays",
    "batches",
    "double",
    "double_array",
    "fetch",
    "fetch_all",
    "measure",
    "not_by_three",
    "numbers",
    "step",
    "subtract_array",
    "take_array",
    "take_arrival",
    "take_count",
    "take_number",
    "words",
]

BATCH = 1_000
"""Records in a batch, for peers that leave it to the user."""

Way = tuple[str, Callable[[], object]]
"""How it is called, and what runs it."""


class Result:
    """What the sinks add up. A module's own, since some peers copy or pickle the functions that they are given."""

    total: float = 0
    count = 0
    arrivals: list[float] = []  # noqa: RUF012  (replaced by `reset`)

    @classmethod
    def reset(cls) -> None:
        cls.total, cls.count, cls.arrivals = 0, 0, []


# --- W1: a stateless chain ---

RECORDS = 1_000_000


def numbers() -> Iterator[int]:
    return iter(range(RECORDS))


def add_one(value: int) -> int:
    return value + 1


def double(value: int) -> int:
    return value * 2


def not_by_three(value: int) -> bool:
    return value % 3 != 0


def take_number(value: int) -> None:
    Result.total += value


def plain_chain() -> None:
    for number in numbers():
        value = double(add_one(number))
        if not_by_three(value):
            take_number(add_one(value))


# --- W2: a running count per key ---

KEYS = 10_000


@cache
def _words() -> list[str]:
    names = [f"word-{number}" for number in range(KEYS)]
    weights = list(accumulate(1 / rank for rank in range(1, KEYS + 1)))
    return Random(7).choices(names, cum_weights=weights, k=RECORDS)


def words() -> Iterator[str]:
    """Zipf distributed."""
    return iter(_words())


def take_count(pair: tuple[str, int]) -> None:
    Result.total += pair[1]


def plain_count() -> None:
    counts: dict[str, int] = {}
    for word in words():
        count = counts.get(word, 0) + 1
        counts[word] = count
        take_count((word, count))


# --- W3: waiting, many at a time ---

CALLS = 2_000
CONCURRENCY = 32


async def fetch(number: int) -> int:
    await asyncio.sleep(0.005)
    return number


async def fetch_all(batch: Sequence[int]) -> list[int]:
    """Of many at once, `CONCURRENCY` at a time: for peers that take batches, or have no coroutines of their own."""
    results = [0] * len(batch)
    left = enumerate(batch)

    async def work() -> None:
        for place, number in left:
            results[place] = await fetch(number)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return results


def plain_asyncio() -> None:
    for number in asyncio.run(fetch_all(range(CALLS))):
        take_number(number)


# --- W5: arrays changed in place ---

ARRAYS = 2_000


def arrays() -> Iterator[Array]:
    import numpy as np

    return (np.ones(1 << 18, np.float32) for _ in range(ARRAYS))  # 1 MiB each


def add_array(array: Array) -> Array:
    array += 1
    return array


def double_array(array: Array) -> Array:
    array *= 2
    return array


def subtract_array(array: Array) -> Array:
    array -= 3
    return array


def take_array(array: Array) -> None:
    Result.total += float(array[-1])


def plain_arrays() -> None:
    for array in arrays():
        take_array(subtract_array(double_array(add_array(array))))


# --- W6: latency ---

RATE = 1_000
SECONDS = 5
WARMUP = 1


class Clock:
    """When the next record is due, 1,000 in a second; it begins with the first question."""

    def __init__(self) -> None:
        self.left = RATE * (SECONDS + WARMUP)
        self._due = 0.0

    def wait_for_next(self) -> float:
        """Seconds until the next record is due; not positive if it is already."""
        now = time.perf_counter()
        if not self._due:
            self._due = now
        return self._due - now

    def stamp(self) -> tuple[float, int]:
        """The record, at the moment it is handed out."""
        self.left -= 1
        self._due += 1 / RATE
        return time.perf_counter(), self.left

    def __iter__(self) -> Iterator[tuple[float, int]]:
        """All of them, each when it is due."""
        while self.left:
            wait = self.wait_for_next()
            if wait > 0:
                time.sleep(wait)
            yield self.stamp()


def step(record: tuple[float, int]) -> tuple[float, int]:
    return record[0], record[1] + 1


def take_arrival(record: tuple[float, int]) -> None:
    Result.arrivals.append(time.perf_counter() - record[0])


def plain_latency() -> None:
    for record in Clock():
        take_arrival(step(step(step(record))))


def percentiles() -> tuple[float, float]:
    """Median and 99th percentile, in microseconds."""
    assert len(Result.arrivals) == RATE * (SECONDS + WARMUP), len(Result.arrivals)
    counted = sorted(Result.arrivals[RATE * WARMUP :])
    return counted[len(counted) // 2] * 1e6, counted[len(counted) * 99 // 100] * 1e6


# --- the measuring ---

WORKS: Mapping[str, tuple[str, str, Callable[[], object]]] = {
    "W1": ("stateless chain, 1,000,000 integers", "plain loop", plain_chain),
    "W2": ("keyed count, 1,000,000 words, 10,000 keys", "plain loop", plain_count),
    "W3": ("2,000 waits of 5 ms, 32 at a time", "asyncio by hand", plain_asyncio),
    "W5": ("2,000 arrays of 1 MiB, 3 maps in place", "plain loop", plain_arrays),
    "W6": ("latency at 1,000 records/s over 3 maps", "plain loop", plain_latency),
}

ROUNDS = 5
LONG = 40.0
"""Seconds after which a slow peer has shown enough."""


def batches(records: Iterator[Any], size: int = BATCH) -> Iterator[list[Any]]:
    while batch := list(islice(records, size)):
        yield batch


def measure(version: str, ways: Mapping[str, Sequence[Way]]) -> None:
    """The main program of a peer: measures the work that the command line names.

    Args:
        version: of the peer.
        ways: by work, how it can be written.
    """
    work = sys.argv[1]
    _, _, plain = WORKS[work]
    found: dict[str, dict[str, list[Any]]] = {}
    for name, run in ways.get(work, ()):
        found[name] = {"plain": [], "peer": []}
        until = time.perf_counter() + LONG
        while len(found[name]["peer"]) < (1 if work == "W6" else ROUNDS) and time.perf_counter() < until:
            figure, result = timed(plain, work)
            found[name]["plain"].append(figure)
            figure, other = timed(run, work)
            found[name]["peer"].append(figure)
            assert other == result, f"{name} gives {other}, the plain loop {result}"
    print()  # ends what a peer may have left on the line
    print(json.dumps({"version": version, "ways": found, "peak": peak()}))


def timed(run: Callable[[], object], work: str) -> tuple[Any, float]:
    """Seconds, or the percentiles of latency; and the result."""
    if work == "W2":
        _words()
    Result.reset()
    started = time.perf_counter()
    run()
    seconds = time.perf_counter() - started
    return (percentiles() if work == "W6" else seconds), Result.total


def peak() -> float:
    """The most memory this process ever held in RAM, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) / 1024
