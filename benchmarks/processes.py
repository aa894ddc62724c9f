"""The backend `processes` against what it stands for, by hand: computing on two cores, a chain in three processes, and
arrays between two.

1. A map that computes for about 1 ms, 2,000 times: one after the other; a pool of two processes, a hundred records to a
   task, as one would write it; and SAGE with two workers, from `submit` to the end of the job: its processes are new.
2. 1,000,000 integers: source, two maps and a filter, and a sink, which SAGE runs in a process each, beside a plain loop
   over the same methods. Once more with five times as many, so that the time to start and end processes can be told
   apart.
3. 20,000 arrays of 1 MiB from one process to another, which looks at each: eight slots in
   `multiprocessing.shared_memory` and two queues, of slots that are free and of those that hold an array; and SAGE.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.queues import SimpleQueue
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
import numpy.typing as npt
from _measure import in_turn, report

from sage.core.api import BatchFunction, FilterFunction, LocalEnvironment, MapFunction, SinkFunction

Array = npt.NDArray[np.float32]

CALLS = 2_000
ARRAYS = 20_000
FLOATS = 1 << 18
"""4 bytes each: 1 MiB."""

SLOTS = 8


def calibrated() -> int:
    """Turns of the loop that take about 1 ms here."""
    turns = 10_000
    best = min(_timed(turns) for _ in range(20))
    return int(turns * 0.001 / best)


def _timed(turns: int) -> float:
    started = time.perf_counter()
    compute(turns)
    return time.perf_counter() - started


def compute(turns: int) -> int:
    value = 1
    for _ in range(turns):
        value = value * 1103515245 + 12345 & 0x7FFFFFFF
    return value


# ---- 1: a map that computes --------------------------------------------------------------------------------------


def sequential(turns: int) -> int:
    return sum(compute(turns) for _ in range(CALLS))


def pool_by_hand(turns: int) -> int:
    with multiprocessing.Pool(2) as pool:
        return sum(pool.imap(compute, [turns] * CALLS, chunksize=100))


def map_on_sage(turns: int) -> None:
    env = LocalEnvironment("map", backend="processes", options={"workers": 2})
    env.from_batch([turns] * CALLS).map(compute, parallelism=2).sink(Total, parallelism=2)
    env.submit(autostop=True)


# ---- 2: a chain --------------------------------------------------------------------------------------------------


class Count(BatchFunction[int]):
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.number = 0

    def execute(self) -> int | None:
        number = self.number
        if number >= self.limit:
            return None
        self.number = number + 1
        return number


class AddOne(MapFunction[int, int]):
    def execute(self, value: int) -> int:
        return value + 1


class Double(MapFunction[int, int]):
    def execute(self, value: int) -> int:
        return value * 2


class NotByThree(FilterFunction[int]):
    def execute(self, value: int) -> bool:
        return value % 3 != 0


class Total(SinkFunction[int]):
    def __init__(self) -> None:
        self.total = 0

    def execute(self, value: int) -> None:
        self.total += value


def plain_loop(records: int) -> int:
    source, first, second = Count(records).execute, AddOne().execute, Double().execute
    keep, third, sink = NotByThree().execute, AddOne().execute, Total()
    add = sink.execute
    while (value := source()) is not None:
        value = second(first(value))
        if keep(value):
            add(third(value))
    return sink.total


def chain_on_sage(records: int) -> None:
    env = LocalEnvironment("chain", backend="processes", options={"workers": 3})
    stream = env.from_batch(Count, records).rebalance().map(AddOne).map(Double).filter(NotByThree).map(AddOne)
    stream.rebalance().sink(Total)
    env.submit(autostop=True)


# ---- 3: arrays ---------------------------------------------------------------------------------------------------


class Arrays(BatchFunction[Array]):
    def __init__(self, count: int) -> None:
        self.left = count

    def execute(self) -> Array | None:
        if not self.left:
            return None
        self.left -= 1
        return np.ones(FLOATS, np.float32)


def look(array: Array) -> float:
    return float(array[-1])


def fill(names: list[str], free: SimpleQueue[int], full: SimpleQueue[Any]) -> None:
    slots = [SharedMemory(name) for name in names]
    source = Arrays(ARRAYS).execute
    while (array := source()) is not None:
        number = free.get()
        np.ndarray(array.shape, array.dtype, slots[number].buf)[:] = array
        full.put((number, array.shape, array.dtype))
    full.put(None)


def drain(names: list[str], free: SimpleQueue[int], full: SimpleQueue[Any]) -> None:
    slots = [SharedMemory(name) for name in names]
    total = 0.0
    while (told := full.get()) is not None:
        number, shape, dtype = told
        total += look(np.ndarray(shape, dtype, slots[number].buf))
        free.put(number)
    assert total == ARRAYS


def shared_memory_by_hand() -> None:
    context = multiprocessing.get_context("fork")
    slots = [SharedMemory(create=True, size=FLOATS * 4) for _ in range(SLOTS)]
    names, free, full = [slot.name for slot in slots], context.SimpleQueue(), context.SimpleQueue()
    for number in range(SLOTS):
        free.put(number)
    both = [context.Process(target=work, args=(names, free, full)) for work in (fill, drain)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    for slot in slots:
        slot.close()
        slot.unlink()


def arrays_on_sage() -> None:
    env = LocalEnvironment("arrays", backend="processes", options={"workers": 2})
    env.from_batch(Arrays, ARRAYS).rebalance().sink(look)
    env.submit(autostop=True)


def main() -> None:
    turns = calibrated()
    assert sequential(turns) == pool_by_hand(turns)
    report(
        "a map that computes for 1 ms, 2,000 times",
        in_turn(
            {
                "one after the other": lambda: sequential(turns),
                "a pool of 2 processes by hand": lambda: pool_by_hand(turns),
                "sage, 2 workers": lambda: map_on_sage(turns),
            },
            rounds=3,
        ),
        [
            ("a pool of 2 processes by hand", "one after the other", "time of the pool against one after the other"),
            ("sage, 2 workers", "one after the other", "time of sage against one after the other"),
        ],
    )
    for records in (1_000_000, 5_000_000):
        report(
            f"stateless chain in three processes, {records:,} records",
            in_turn(
                {
                    "plain loop": lambda records=records: plain_loop(records),  # type: ignore[misc]
                    "sage, 3 workers": lambda records=records: chain_on_sage(records),  # type: ignore[misc]
                },
                rounds=3,
                warmup=1 if records < 2_000_000 else 0,
            ),
            [("sage, 3 workers", "plain loop", "time of sage against the plain loop")],
        )
    report(
        "20,000 arrays of 1 MiB from one process to another",
        in_turn({"shared memory by hand": shared_memory_by_hand, "sage, 2 workers": arrays_on_sage}, rounds=3),
        [("shared memory by hand", "sage, 2 workers", "speed of sage against shared memory by hand")],
    )


if __name__ == "__main__":
    main()
