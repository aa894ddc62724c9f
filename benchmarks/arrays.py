"""2,000 NumPy arrays of 1 MiB through three maps that change them in place, against a plain loop.

Twice with SAGE: as it plans the pipeline by itself, all of it one chain on one thread; and with `rebalance()` before
every map and the sink, which makes each of them a task on a thread of its own. Beside the latter stand threads and
bounded queues written by hand. That no array is copied on its way is checked, not assumed: what each map and the sink
get is the object that the source made, with its memory at the same place.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from _measure import in_turn, report

from sage.core.api import BatchFunction, LocalEnvironment

ARRAYS = 2_000
FLOATS = 1 << 18
"""4 bytes each: 1 MiB."""

Array = npt.NDArray[np.float32]


class Arrays(BatchFunction):
    def __init__(self, count: int) -> None:
        self.left = count

    def execute(self) -> Array | None:
        if not self.left:
            return None
        self.left -= 1
        return np.ones(FLOATS, np.float32)


def add(array: Array) -> Array:
    array += 1
    return array


def double(array: Array) -> Array:
    array *= 2
    return array


def subtract(array: Array) -> Array:
    array -= 3
    return array


MAPS: Sequence[Callable[[Array], Array]] = (add, double, subtract)


class Total:
    """A sink that looks at one value of each array."""

    def __init__(self) -> None:
        self.total = 0.0

    def execute(self, array: Array) -> None:
        self.total += float(array[-1])


def plain_loop() -> float:
    source, total = Arrays(ARRAYS).execute, Total()
    first, second, third = MAPS
    sink = total.execute
    while (array := source()) is not None:
        sink(third(second(first(array))))
    return total.total


def threads_by_hand() -> float:
    """A thread for each map and one for the sink, with queues as long as SAGE's channels between them."""
    total = Total()
    queues: list[queue.Queue[Array | None]] = [queue.Queue(maxsize=8) for _ in range(4)]

    def work(function: Callable[[Array], Array], take: Callable[[], Array | None], put: Callable[..., None]) -> None:
        while (array := take()) is not None:
            put(function(array))
        put(None)

    def drain() -> None:
        while (array := queues[-1].get()) is not None:
            total.execute(array)

    workers = [
        threading.Thread(target=work, args=(function, queues[number].get, queues[number + 1].put))
        for number, function in enumerate(MAPS)
    ]
    workers.append(threading.Thread(target=drain))
    for worker in workers:
        worker.start()
    source, put = Arrays(ARRAYS).execute, queues[0].put
    while (made := source()) is not None:
        put(made)
    put(None)
    for worker in workers:
        worker.join()
    return total.total


def on_sage(*, chained: bool) -> float:
    total = Total()
    env = LocalEnvironment("arrays")
    stream = env.from_batch(Arrays, ARRAYS)
    for function in MAPS:
        stream = (stream if chained else stream.rebalance()).map(function)
    (stream if chained else stream.rebalance()).sink(total.execute)
    env.submit(autostop=True)
    return total.total


def check(*, chained: bool) -> None:
    """Every map and the sink get the very objects that the source made, in order, and none of them has moved."""
    seen: list[list[tuple[int, int]]] = [[] for _ in range(5)]
    alive: list[Array] = []  # so that no identity is given twice

    def look(place: int, array: Array) -> Array:
        seen[place].append((id(array), array.ctypes.data))
        return array

    def looking(place: int, function: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda array: look(place, function(array))

    def make() -> Array:
        array = np.ones(FLOATS, np.float32)
        alive.append(array)
        return look(0, array)

    env = LocalEnvironment("arrays")
    stream = env.from_batch(make() for _ in range(100))
    for number, function in enumerate(MAPS, 1):
        stream = (stream if chained else stream.rebalance()).map(looking(number, function))
    (stream if chained else stream.rebalance()).sink(lambda array: look(4, array))
    env.submit(autostop=True)
    assert len(seen[0]) == 100, seen
    assert all(place == seen[0] for place in seen), "an array was copied on its way"


def main() -> None:
    check(chained=True)
    check(chained=False)
    assert plain_loop() == threads_by_hand() == on_sage(chained=True) == on_sage(chained=False) == ARRAYS
    measured = in_turn(
        {
            "plain loop": plain_loop,
            "threads and queues by hand": threads_by_hand,
            "sage, chained": lambda: on_sage(chained=True),
            "sage, each map its own thread": lambda: on_sage(chained=False),
        },
        rounds=9,
    )
    report(
        "2,000 arrays of 1 MiB through 3 maps in place",
        measured,
        [
            ("plain loop", "sage, chained", "speed of sage, chained, against the loop"),
            ("sage, each map its own thread", "plain loop", "time of sage, own threads, against the loop"),
            ("threads and queues by hand", "plain loop", "time of threads by hand, against the loop"),
        ],
    )


if __name__ == "__main__":
    main()
