"""Flow: every buffer is bounded, nothing is dropped, and nothing waits for what comes later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sage.core.api.function.base_function import BaseFunction
from sage.core.api.function.batch_function import BatchFunction
from sage.core.testing.conformance._functions import Opens, Ring, Stuck, drop, itself
from sage.core.testing.conformance._promises import PARALLEL, promise
from sage.core.testing.conformance.kit import Bell, Gate, Kit

__all__ = ["Counted", "OneByOne", "Patient", "bounded", "more_than_fits", "neighbours", "nothing_waits"]

_MOST = 50_000
"""Records that may wait between a source and a sink: many times what fills all buffers of core."""


class Counted(BatchFunction[int]):
    """More numbers than may wait; rings when so many were read."""

    def __init__(self, bell: Bell) -> None:
        self.bell = bell
        self.next = 0

    def execute(self) -> int | None:
        if self.next == _MOST:
            self.bell.ring("too many")
        self.next += 1
        return self.next if self.next <= _MOST + 10_000 else None


class Patient(BaseFunction):
    """Holds the first record for as long as a source that nothing holds back needs to run ahead."""

    def __init__(self, bell: Bell, gate: Gate) -> None:
        self.bell = bell
        self.gate = gate
        self.count = 0

    def execute(self, record: int) -> None:
        self.count += 1
        if self.count == 1:
            self.bell.ring("held")
            self.gate.wait()
            self.bell.ring("goes on")
        if self.count == _MOST + 10_000:
            self.bell.ring("all")


@promise(
    "flow.bounded",
    "A slow sink holds its source back: what is under way is bounded, and none of it is lost.",
    "reference/flow.md#backpressure",
)
def bounded(kit: Kit) -> None:
    env, bell, gate = kit.environment(), kit.bell(), kit.gate()
    env.from_batch(Counted, bell).rebalance().map(itself).rebalance().sink(Patient, bell, gate)
    running = kit.start(env)
    assert bell.heard(1, kit.limit)[:1] == ["held"]
    bell.heard(2, kit.patience)  # long enough for a source that is not held back
    gate.open()
    running.end()
    heard = bell.heard(4, kit.limit)
    assert heard == ["held", "goes on", "too many", "all"], f"more than {_MOST:,} records were under way: {heard}"


class OneByOne(BatchFunction[str]):
    """Gives its second record when the first has arrived."""

    def __init__(self, gate: Gate, limit: float) -> None:
        self.gate = gate
        self.limit = limit
        self.count = 0

    def execute(self) -> str | None:
        self.count += 1
        if self.count == 2:
            assert self.gate.wait(self.limit), "the first record has not arrived: it waits for a second"
        return {1: "first", 2: "second"}.get(self.count)


@promise("flow.no-linger", "A record does not wait for those that come after it.", "reference/flow.md#batches")
def nothing_waits(kit: Kit) -> None:
    env, gate = kit.environment(), kit.gate()
    records = env.from_batch(OneByOne, gate, kit.limit / 2).rebalance().map(itself).keyby(itself)
    found = records.map(itself, parallelism=2).collect()
    records.sink(Opens, gate)
    kit.run(env)
    assert sorted(found) == ["first", "second"]


def _many(number: int) -> Iterator[int]:
    yield from range(number)


@promise("flow.one-call", "One call may put out more than all buffers hold.", "reference/flow.md#backpressure")
def more_than_fits(kit: Kit) -> None:
    env = kit.environment()
    counted = env.from_batch([30_000]).flatmap(_many).rebalance().map(itself).map_batches(_counts, max_size=1000)
    found = counted.collect()
    kit.run(env)
    assert sum(found) == 30_000


def _counts(batch: list[Any]) -> list[int]:
    return [len(batch)]


@promise(
    "flow.neighbours",
    "A slow receiver does not keep its neighbours from being served by others.",
    "reference/flow.md#backpressure",
    PARALLEL,
)
def neighbours(kit: Kit) -> None:
    env, bell, gate, rung = kit.environment(), kit.bell(), kit.gate(), kit.bell()
    env.from_batch(range(50_000), uid="slow").rebalance().map(Stuck, bell, gate).sink(drop)
    env.from_batch(range(50_000), uid="quick").rebalance().map(itself).rebalance().sink(Ring, rung, "quick")
    running = kit.start(env)
    assert bell.heard(1, kit.limit), "the slow one has its first record"
    heard = rung.heard(2, kit.limit)
    assert heard == ["open quick", "close quick"], "a job's quick part must not wait for its slow one"
    gate.open()
    assert running.end().state == "completed"
