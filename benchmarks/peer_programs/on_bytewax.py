"""The works on bytewax: batches from the source on, as its documentation advises, and record by record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main
from work import (
    BATCH,
    CALLS,
    Clock,
    Way,
    add_array,
    add_one,
    arrays,
    batches,
    double,
    double_array,
    fetch_all,
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


class Given(DynamicSource[Any]):
    """A source of records that an iterator gives, in batches."""

    def __init__(self, records: Callable[[], Iterator[Any]], size: int) -> None:
        self.records = records
        self.size = size

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSourcePartition[Any]:
        return Part(batches(self.records(), self.size))


class Part(StatelessSourcePartition[Any]):
    def __init__(self, left: Iterator[list[Any]]) -> None:
        self.left = left

    def next_batch(self) -> list[Any]:
        return next(self.left)  # StopIteration is the end for bytewax, too


class Clocked(DynamicSource[Any]):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSourcePartition[Any]:
        return ClockedPart()


class ClockedPart(StatelessSourcePartition[Any]):
    def __init__(self) -> None:
        self.clock = Clock()

    def next_batch(self) -> list[Any]:
        if not self.clock.left:
            raise StopIteration
        return [self.clock.stamp()]

    def next_awake(self) -> datetime | None:
        wait = self.clock.wait_for_next()
        return datetime.now(UTC) + timedelta(seconds=wait) if wait > 0 else None


class Calling(DynamicSink[Any]):
    """A sink that calls a function for each record."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self.take = take

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSinkPartition[Any]:
        return CallingPart(self.take)


class CallingPart(StatelessSinkPartition[Any]):
    def __init__(self, take: Callable[[Any], None]) -> None:
        self.take = take

    def write_batch(self, items: list[Any]) -> None:
        for item in items:
            self.take(item)


def run(source: DynamicSource[Any], build: Callable[[Stream[Any]], Stream[Any]], take: Callable[[Any], None]) -> None:
    flow = Dataflow("work")
    op.output("out", build(op.input("in", flow, source)), Calling(take))
    run_main(flow)


def chain(size: int) -> None:
    def build(stream: Stream[Any]) -> Stream[Any]:
        stream = op.map("add", stream, add_one)
        stream = op.map("double", stream, double)
        stream = op.filter("keep", stream, not_by_three)
        return op.map("add again", stream, add_one)

    run(Given(numbers, size), build, take_number)


class Count(StatefulBatchLogic[str, int, int]):
    """Of one key; it is given all records of that key in a batch."""

    def __init__(self, count: int | None) -> None:
        self.count = count or 0

    def on_batch(self, values: list[str]) -> tuple[Iterable[int], bool]:
        first, self.count = self.count + 1, self.count + len(values)
        return range(first, self.count + 1), StatefulBatchLogic.RETAIN

    def snapshot(self) -> int:
        return self.count


def count_by_batch() -> None:
    def build(stream: Stream[Any]) -> Stream[Any]:
        return op.stateful_batch("count", op.key_on("key", stream, str), Count)

    run(Given(words, BATCH), build, take_count)


def next_count(count: int | None, word: str) -> tuple[int, int]:
    following = (count or 0) + 1
    return following, following


def count_by_record(size: int) -> None:
    def build(stream: Stream[Any]) -> Stream[Any]:
        return op.stateful_map("count", op.key_on("key", stream, str), next_count)

    run(Given(words, size), build, take_count)


def waits() -> None:
    """bytewax waits for nobody: the waits of a batch are gathered in one call."""

    def build(stream: Stream[Any]) -> Stream[Any]:
        return op.flat_map_batch("fetch", stream, lambda batch: asyncio.run(fetch_all(batch)))

    run(Given(lambda: iter(range(CALLS)), 10 * 32), build, take_number)


def in_place() -> None:
    def build(stream: Stream[Any]) -> Stream[Any]:
        for name, function in (("add", add_array), ("double", double_array), ("subtract", subtract_array)):
            stream = op.map(name, stream, function)
        return stream

    run(Given(arrays, 1), build, take_array)


def latency() -> None:
    def build(stream: Stream[Any]) -> Stream[Any]:
        for name in ("first", "second", "third"):
            stream = op.map(name, stream, step)
        return stream

    run(Clocked(), build, take_arrival)


WAYS: dict[str, list[Way]] = {
    "W1": [("bytewax", partial(chain, BATCH)), ("bytewax, per record", partial(chain, 1))],
    "W2": [
        ("bytewax", count_by_batch),
        ("bytewax, stateful_map", partial(count_by_record, BATCH)),
        ("bytewax, per record", partial(count_by_record, 1)),
    ],
    "W3": [("bytewax", waits)],
    "W5": [("bytewax", in_place)],
    "W6": [("bytewax", latency)],
}

if __name__ == "__main__":
    measure(version("bytewax"), WAYS)
