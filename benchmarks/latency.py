"""How long a record travels over three maps when 1,000 come in each second: median and 99th percentile.

Counted from the moment at which the source hands a record out, by a clock reading that travels inside it, to the
moment at which the sink has it. Each way runs for 10 s a round, after a second that is not counted. A plain loop and
threads with queues by hand stand beside SAGE: chained; with each map on a thread of its own, where three hand-overs lie
on the way; and with the sink on one more.
"""

from __future__ import annotations

import json
import platform
import queue
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial

from sage.core.api import BatchFunction, LocalEnvironment

RATE = 1_000
SECONDS = 10
WARMUP = 1
ROUNDS = 3

Record = tuple[float, int]
"""When it was handed out (`time.perf_counter`), and its number."""


class Clocked(BatchFunction):
    """Hands out a record when its time has come; one that is late does not delay those after it."""

    def __init__(self) -> None:
        self.number = 0
        self.started = 0.0

    def execute(self) -> Record | None:
        if self.number == RATE * (WARMUP + SECONDS):
            return None
        if not self.number:
            self.started = time.perf_counter()
        due = self.started + self.number / RATE
        self.number += 1
        left = due - time.perf_counter()
        if left > 0:
            time.sleep(left)
        return time.perf_counter(), self.number


def step(record: Record) -> Record:
    return record[0], record[1] + 1


class Travelled:
    """A sink that notes how long each record was on its way, in seconds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def execute(self, record: Record) -> None:
        self.seconds.append(time.perf_counter() - record[0])


def plain_loop(sink: Callable[[Record], None]) -> None:
    source = Clocked().execute
    while (record := source()) is not None:
        sink(step(step(step(record))))


def threads_by_hand(sink: Callable[[Record], None], *, sink_apart: bool = False) -> None:
    queues: list[queue.SimpleQueue[Record | None]] = [queue.SimpleQueue() for _ in range(4)]

    def work(take: Callable[[], Record | None], put: Callable[[Record | None], None]) -> None:
        while (record := take()) is not None:
            put(step(record))
        put(None)

    def drain() -> None:
        while (record := queues[-1].get()) is not None:
            sink(record)

    def put_out(record: Record | None) -> None:
        if record is not None:
            sink(record)

    puts = [queues[1].put, queues[2].put, queues[3].put if sink_apart else put_out]
    workers = [threading.Thread(target=work, args=(queues[n].get, puts[n])) for n in range(3)]
    if sink_apart:
        workers.append(threading.Thread(target=drain))
    for worker in workers:
        worker.start()
    source, put = Clocked().execute, queues[0].put
    while (made := source()) is not None:
        put(made)
    put(None)
    for worker in workers:
        worker.join()


def on_sage(sink: Callable[[Record], None], *, chained: bool = False, sink_apart: bool = False) -> None:
    env = LocalEnvironment("latency")
    stream = env.from_batch(Clocked)
    for _ in range(3):
        stream = (stream if chained else stream.rebalance()).map(step)
    (stream.rebalance() if sink_apart else stream).sink(sink)
    env.submit(autostop=True)


WAYS: dict[str, Callable[[Callable[[Record], None]], None]] = {
    "plain loop": plain_loop,
    "by hand, each map its own thread": threads_by_hand,
    "by hand, and the sink, too": partial(threads_by_hand, sink_apart=True),
    "sage, chained": partial(on_sage, chained=True),
    "sage, each map its own thread": on_sage,
    "sage, and the sink, too": partial(on_sage, sink_apart=True),
}


def percentiles(way: Callable[[Callable[[Record], None]], None]) -> tuple[float, float, float]:
    """Median, 99th percentile and the longest, in microseconds."""
    travelled = Travelled()
    way(travelled.execute)
    seconds = travelled.seconds
    assert len(seconds) == RATE * (WARMUP + SECONDS), "no record may be missing"
    counted = sorted(seconds[RATE * WARMUP :])
    return counted[len(counted) // 2] * 1e6, counted[len(counted) * 99 // 100] * 1e6, counted[-1] * 1e6


def main() -> None:
    rounds = [{name: percentiles(way) for name, way in WAYS.items()} for _ in range(ROUNDS)]
    print(f"\nlatency at {RATE:,} records/s over 3 maps, medians of {ROUNDS} rounds of {SECONDS} s, in µs")
    print(f"  {'':44} {'p50':>10} {'p99':>10} {'longest':>10}")
    found = {}
    for name in WAYS:
        middle, high, longest = (
            statistics.median(figures) for figures in zip(*(one[name] for one in rounds), strict=True)
        )
        found[name] = {"p50": round(middle, 1), "p99": round(high, 1), "longest": round(longest, 1)}
        print(f"  {name:44} {middle:10.1f} {high:10.1f} {longest:10.1f}")
    title = f"latency at {RATE:,} records/s over 3 maps"
    print(json.dumps({"benchmark": title, "python": platform.python_version(), "microseconds": found}))


if __name__ == "__main__":
    main()
