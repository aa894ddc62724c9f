"""Windows over 1,000,000 records of 10,000 keys, event time in order, against a plain loop over dicts.

The loop buckets by window and key, and hands on what is in a bucket when time has passed it, as the windows do. Counts
are told for tumbling windows of 100 seconds, 100,000 records each, and for sliding ones of the same size, of which ten
hold each record and which put out ten times as many results. Then a million sessions are left open, and the memory that
each of them takes besides its record is told.
"""

from __future__ import annotations

import gc
import json
import platform
import random
import tracemalloc
from collections.abc import Callable
from functools import cache

from _measure import in_turn, report

from sage.core.api import Counting, DataStream, LocalEnvironment, Session, Sliding, Tumbling, WindowedStream

RECORDS = 1_000_000
KEYS = 10_000
SIZE = 100
SLIDE = 10
PER_SECOND = 1000

Record = tuple[int, int]
"""A key and a time, in seconds."""


@cache
def records() -> list[Record]:
    """The same on every run."""
    choose = random.Random(7).randrange
    return [(choose(KEYS), number // PER_SECOND) for number in range(RECORDS)]


def key_of(record: Record) -> int:
    return record[0]


def time_of(record: Record) -> int:
    return record[1]


def nothing(count: int) -> None:
    pass


def plain_tumbling(sink: Callable[[int], object] = nothing) -> None:
    """Bucket, and hand on what has passed."""
    buckets: dict[tuple[int, int], int] = {}
    current = 0
    for key, time in records():
        start = time - time % SIZE
        if start > current:
            for count in buckets.values():
                sink(count)
            buckets.clear()
            current = start
        bucket = start, key
        buckets[bucket] = buckets.get(bucket, 0) + 1
    for count in buckets.values():
        sink(count)


def tumbling(keyed: DataStream[Record]) -> WindowedStream[Record]:
    return keyed.window(Tumbling(SIZE))


def sliding(keyed: DataStream[Record]) -> WindowedStream[Record]:
    return keyed.window(Sliding(SIZE, SLIDE))


def on_sage(
    cut: Callable[[DataStream[Record]], WindowedStream[Record]], sink: Callable[[int], object] = nothing
) -> None:
    env = LocalEnvironment("windows")
    timed = env.from_collection(records()).assign_timestamps(time_of)
    cut(timed.keyby(key_of)).aggregate(Counting).sink(sink)
    env.submit(autostop=True)


def check() -> None:
    """Tumbling windows count what the loop does; of the sliding ones each record is in ten."""
    wanted: list[int] = []
    plain_tumbling(wanted.append)
    found: list[int] = []
    on_sage(tumbling, found.append)
    assert sorted(found) == sorted(wanted)
    found.clear()
    on_sage(sliding, found.append)
    assert sum(found) == RECORDS * SIZE // SLIDE


def open_sessions(count: int = RECORDS) -> float:
    """Bytes that each of so many open sessions takes, besides its key and the record that is kept of it."""
    taken: list[int] = []
    numbers = list(range(count))

    def key(number: int) -> int:
        return number

    def time(number: int) -> int:
        if number == count - 1:
            gc.collect()
            taken.append(tracemalloc.get_traced_memory()[0])
            tracemalloc.stop()
        return number

    env = LocalEnvironment("sessions")
    sessions = env.from_collection(numbers).assign_timestamps(time, out_of_order=2 * count)
    sessions.keyby(key).window(Session(30)).reduce(max).sink(nothing)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    env.submit(autostop=True, timeout=None)
    return (taken[0] - before) / count


def main() -> None:
    check()
    measured = in_turn(
        {
            "plain loop, tumbling": plain_tumbling,
            "sage, tumbling": lambda: on_sage(tumbling),
            "sage, sliding": lambda: on_sage(sliding),
        },
        rounds=5,
    )
    report(
        "windows, 1,000,000 records, 10,000 keys",
        measured,
        [
            ("sage, tumbling", "plain loop, tumbling", "tumbling over the plain loop"),
            ("sage, sliding", "sage, tumbling", "sliding of 10 panes over tumbling"),
        ],
    )
    each = open_sessions()
    print(f"\n  {'bytes of each of 1,000,000 open sessions':44} {each:9.0f}")
    print(json.dumps({"benchmark": "open sessions", "python": platform.python_version(), "bytes": round(each)}))


if __name__ == "__main__":
    main()
