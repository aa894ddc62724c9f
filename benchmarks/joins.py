"""Joins of 200,000 records with 200,000, by event time in order, beside plain dictionaries.

Each loop takes the two sides in turn, keeps what may still find a partner in a dictionary by key, and calls a function
for each pair, as the joins do. Of 10,000 keys each record has about one partner within ten seconds, and in a window of
ten; the running join keeps everything, and has 100,000 keys, so that each record has about two in the end.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from _measure import in_turn, report

from sage.core.api import ConnectedStreams, DataStream, LocalEnvironment, Tumbling

RECORDS = 200_000
FEW, MANY = 10_000, 100_000
SECONDS = 10
PER_SECOND = 1000

Record = tuple[int, int]
"""A key and a time, in seconds."""

Sink = Callable[[int], object]


@cache
def records(keys: int, seed: int) -> list[Record]:
    """The same on every run."""
    choose = random.Random(seed).randrange
    return [(choose(keys), number // PER_SECOND) for number in range(RECORDS)]


def in_turns(keys: int) -> Iterator[tuple[int, Record]]:
    """The records of both sides, each with its side, in the order of time."""
    for left, right in zip(records(keys, 1), records(keys, 2), strict=True):
        yield 0, left
        yield 1, right


def key_of(record: Record) -> int:
    return record[0]


def time_of(record: Record) -> int:
    return record[1]


def pair(left: Record, right: Record) -> int:
    return left[1] + right[1]


def nothing(value: int) -> None:
    pass


def plain_interval(sink: Sink = nothing) -> None:
    kept: tuple[dict[int, deque[Record]], dict[int, deque[Record]]] = ({}, {})
    for side, record in in_turns(FEW):
        key, time = record
        others = kept[1 - side].get(key)
        if others:
            while others and others[0][1] < time - SECONDS:
                others.popleft()
            for other in others:
                # Only a right record that comes up to ten seconds after the left one.
                if side == 1:
                    sink(pair(other, record))
                elif other[1] == time:
                    sink(pair(record, other))
        kept[side].setdefault(key, deque()).append(record)


def plain_window(sink: Sink = nothing) -> None:
    buckets: dict[int, tuple[list[Record], list[Record]]] = {}
    current = 0

    def put_out() -> None:
        for lefts, rights in buckets.values():
            for left in lefts:
                for right in rights:
                    sink(pair(left, right))
        buckets.clear()

    for side, record in in_turns(FEW):
        key, time = record
        if time - time % SECONDS > current:
            put_out()
            current = time - time % SECONDS
        bucket = buckets.get(key)
        if bucket is None:
            bucket = buckets[key] = ([], [])
        bucket[side].append(record)
    put_out()


def plain_running(sink: Sink = nothing) -> None:
    kept: tuple[dict[int, list[Record]], dict[int, list[Record]]] = ({}, {})
    for side, record in in_turns(MANY):
        for other in kept[1 - side].get(record[0], ()):
            sink(pair(other, record) if side else pair(record, other))
        kept[side].setdefault(record[0], []).append(record)


Keyed = ConnectedStreams[Record, Record]


def interval(keyed: Keyed) -> DataStream[int]:
    return keyed.join(pair, within=(0, SECONDS))


def window(keyed: Keyed) -> DataStream[int]:
    return keyed.join(pair, window=Tumbling(SECONDS))


def running(keyed: Keyed) -> DataStream[int]:
    return keyed.join(pair)


def on_sage(join: Callable[[Keyed], DataStream[int]], keys: int, sink: Sink = nothing) -> None:
    env = LocalEnvironment("joins")
    left, right = (env.from_collection(records(keys, seed)).assign_timestamps(time_of) for seed in (1, 2))
    join(left.connect(right).keyby(key_of, key_of)).sink(sink)
    env.submit(autostop=True)


WORK: dict[str, tuple[Callable[..., None], Callable[[Keyed], DataStream[int]], int]] = {
    "interval": (plain_interval, interval, FEW),
    "windowed": (plain_window, window, FEW),
    "running": (plain_running, running, MANY),
}


def check() -> None:
    """Each join finds the pairs that the loop does."""
    for plain, join, keys in WORK.values():
        wanted: list[int] = []
        plain(wanted.append)
        found: list[int] = []
        on_sage(join, keys, found.append)
        assert sorted(found) == sorted(wanted), join.__name__


def main() -> None:
    check()
    work: dict[str, Callable[[], Any]] = {}
    for name, (plain, join, keys) in WORK.items():
        work[f"plain loop, {name}"] = plain
        work[f"sage, {name}"] = partial(on_sage, join, keys)
    report(
        "joins, 2 × 200,000 records",  # noqa: RUF001
        in_turn(work, rounds=5),
        [(f"sage, {name}", f"plain loop, {name}", f"{name} over the plain loop") for name in WORK],
    )


if __name__ == "__main__":
    main()
