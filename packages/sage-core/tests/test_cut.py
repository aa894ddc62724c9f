"""A task that is cancelled ends with the record in hand, however many its slice had."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from sage.core.api import BatchFunction, DataStream, LocalEnvironment, MapFunction

QUICK = 4_000


class Slowing:
    """Quick until a record is reached, then slow: it stands still until the test lets it go on."""

    def __init__(self) -> None:
        self.calls = 0
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.closed = False

    def call(self, value: Any) -> Any:
        self.calls += 1
        if self.calls >= QUICK:
            self.reached.set()
            self.go_on.wait()
        return value


slowing = Slowing()


class Slow(MapFunction):
    def execute(self, value: Any) -> Any:
        return slowing.call(value)

    def close(self) -> None:
        slowing.closed = True


class Numbers(BatchFunction):
    def execute(self) -> Any:
        return slowing.call(1)

    def close(self) -> None:
        slowing.closed = True


WAYS: dict[str, Callable[[LocalEnvironment], DataStream[Any]]] = {
    "behind an exchange": lambda env: env.from_batch(range(1_000_000)).rebalance().map(Slow),
    "keyed": lambda env: env.from_batch(range(1_000_000)).keyby(lambda n: n % 7).map(Slow, parallelism=1).rebalance(),
    "in a source's task": lambda env: env.from_batch(range(1_000_000)).map(Slow),
    "in a source": lambda env: env.from_batch(Numbers),
    "behind flatmap": lambda env: env.from_batch([1]).flatmap(lambda _: range(1_000_000)).map(Slow),
    "behind map_batches": lambda env: env.from_batch([1]).map_batches(lambda _: list(range(100_000))).map(Slow),
    "at the end of input": lambda env: (
        env.from_batch(range(100_000)).keyby(lambda n: n).reduce(max, final=True).map(Slow)
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_slice_is_cut_at_a_cancel(way: str) -> None:
    """Not one more record is begun, and the functions are closed."""
    global slowing
    slowing = Slowing()
    env = LocalEnvironment("cut")
    WAYS[way](env).sink(lambda _: None)
    job = env.submit()
    assert slowing.reached.wait(60)
    job.stop()
    slowing.go_on.set()
    assert job.wait(60)["status"] == "cancelled"
    assert slowing.closed
    assert slowing.calls == QUICK
