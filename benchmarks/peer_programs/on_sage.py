"""The works on SAGE, backend `local`: as it plans them by itself, and with each map on a thread of its own."""

from __future__ import annotations

import time
from functools import partial
from importlib.metadata import version
from typing import Any

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

from sage.core.api import AggregateFunction, BatchFunction, DataStream, LocalEnvironment


def chain() -> None:
    env = LocalEnvironment("chain")
    env.from_batch(numbers).map(add_one).map(double).filter(not_by_three).map(add_one).sink(take_number)
    env.submit(autostop=True)


class Occurrences(AggregateFunction):
    def create(self) -> tuple[str, int]:
        return "", 0

    def add(self, total: tuple[str, int], word: str) -> tuple[str, int]:
        return word, total[1] + 1

    def result(self, total: tuple[str, int]) -> tuple[str, int]:
        return total


def itself(word: str) -> str:
    return word


def count(tasks: int) -> None:
    env = LocalEnvironment("count")
    counts = env.from_batch(words).keyby(itself).aggregate(Occurrences, parallelism=tasks)
    counts.sink(take_count)
    env.submit(autostop=True)


def waits() -> None:
    env = LocalEnvironment("waits")
    calls: Any = env.from_batch(range(CALLS))
    calls.map_async(fetch, concurrency=CONCURRENCY).sink(take_number)
    env.submit(autostop=True)


def in_place(*, chained: bool) -> None:
    env = LocalEnvironment("arrays")
    stream = env.from_batch(arrays)
    for function in (add_array, double_array, subtract_array):
        stream = (stream if chained else stream.rebalance()).map(function)
    (stream if chained else stream.rebalance()).sink(take_array)
    env.submit(autostop=True)


class Clocked(BatchFunction):
    def __init__(self) -> None:
        self.clock = Clock()

    def execute(self) -> tuple[float, int] | None:
        if not self.clock.left:
            return None
        wait = self.clock.wait_for_next()
        if wait > 0:
            time.sleep(wait)
        return self.clock.stamp()


def latency(*, chained: bool) -> None:
    env = LocalEnvironment("latency")
    stream = env.from_batch(Clocked)
    for _ in range(3):
        stream = (stream if chained else stream.rebalance()).map(step)
    stream.sink(take_arrival)  # on the last map's thread
    env.submit(autostop=True)


WAYS: dict[str, list[Way]] = {
    "W1": [("sage", chain)],
    "W2": [("sage", partial(count, 1)), ("sage, own threads", partial(count, 2))],
    "W3": [("sage", waits)] if hasattr(DataStream, "map_async") else [],
    "W5": [("sage", partial(in_place, chained=True)), ("sage, own threads", partial(in_place, chained=False))],
    "W6": [("sage", partial(latency, chained=True)), ("sage, own threads", partial(latency, chained=False))],
}

if __name__ == "__main__":
    measure(version("sage-core"), WAYS)
