"""Stopping: a job that is told to end does, wherever it waits, and closes what it has opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sage.core.api.error_policy import retry
from sage.core.api.function.base_function import BaseFunction
from sage.core.api.function.source_function import SourceFunction
from sage.core.testing.conformance._functions import Ring, Stuck, drop, itself
from sage.core.testing.conformance._promises import PARALLEL, UNBOUNDED, promise
from sage.core.testing.conformance.kit import Bell, Kit

__all__ = [
    "Counting",
    "Hundredth",
    "Silent",
    "Unlucky",
    "abandoned",
    "between_tries",
    "twice",
    "while_buffers_are_full",
    "while_nothing_comes",
    "while_records_flow",
    "without_end",
]

_PAGE = "reference/flow.md#stopping"


def _without_end() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


class Counting(SourceFunction[int]):
    """Goes on for ever."""

    def __init__(self) -> None:
        self.next = 0

    def execute(self) -> int:
        self.next += 1
        return self.next


class Silent(SourceFunction[int]):
    """Has one record, and then nothing for ever."""

    def __init__(self) -> None:
        self.next = 0

    def execute(self) -> int | None:
        self.next += 1
        return 1 if self.next == 1 else None


class Hundredth(BaseFunction):
    """Rings at its hundredth record."""

    def __init__(self, bell: Bell) -> None:
        self.bell = bell
        self.count = 0

    def execute(self, record: Any) -> Any:
        self.count += 1
        if self.count == 100:
            self.bell.ring("hundred")
        return record


class Unlucky(BaseFunction):
    """Never works."""

    def __init__(self, bell: Bell) -> None:
        self.bell = bell

    def execute(self, record: object) -> object:
        self.bell.ring("tried")
        raise ConnectionError("never")


@promise(
    "stopping.running", "A job that is stopped while records flow ends as cancelled; its functions are closed.", _PAGE
)
def while_records_flow(kit: Kit) -> None:
    env, bell, life = kit.environment(), kit.bell(), kit.bell()
    stream = env.from_batch(_without_end).map(Ring, life, "source").rebalance().map(Hundredth, bell)
    stream.rebalance().map(itself, parallelism=2).sink(Ring, life, "sink", parallelism=2)
    running = kit.start(env)
    assert bell.heard(1, kit.limit)
    running.stop()
    assert running.end().state == "cancelled"
    assert sorted(life.heard(6, kit.limit)) == ["close sink"] * 2 + ["close source"] + ["open sink"] * 2 + [
        "open source"
    ]


@promise("stopping.unbounded", "An unbounded source runs until it is stopped.", "reference/sources.md", UNBOUNDED)
def without_end(kit: Kit) -> None:
    env, bell = kit.environment(), kit.bell()
    env.from_source(Counting).rebalance().map(Hundredth, bell).sink(drop)
    running = kit.start(env)
    assert bell.heard(1, kit.limit)
    running.stop()
    assert running.end().state == "cancelled"


@promise(
    "stopping.silent",
    "A source that has nothing yet does not keep its job from ending, nor a record from arriving.",
    _PAGE,
    UNBOUNDED,
)
def while_nothing_comes(kit: Kit) -> None:
    env, bell = kit.environment(), kit.bell()
    env.from_source(Silent).rebalance().sink(Ring, bell, "sink", records=True)
    running = kit.start(env)
    assert bell.heard(2, kit.limit) == ["open sink", "sink 1"]
    running.stop()
    assert running.end().state == "cancelled"
    assert bell.heard(3, kit.limit) == ["open sink", "sink 1", "close sink"]


@promise("stopping.retry", "The pause between two tries does not delay it.", _PAGE)
def between_tries(kit: Kit) -> None:
    env, bell = kit.environment(), kit.bell()
    env.from_batch([1]).rebalance().map(Unlucky, bell, on_error=retry(5, backoff=3600)).collect()
    running = kit.start(env)
    assert bell.heard(1, kit.limit) == ["tried"]
    running.stop()
    assert running.end().state == "cancelled"
    assert bell.heard() == ["tried"]


@promise("stopping.full", "Full buffers do not delay it.", _PAGE, PARALLEL)
def while_buffers_are_full(kit: Kit) -> None:
    env, bell, gate = kit.environment(), kit.bell(), kit.gate()
    env.from_batch(_without_end).rebalance().map(itself).rebalance().map(Stuck, bell, gate).sink(drop)
    running = kit.start(env)
    assert bell.heard(1, kit.limit)
    running.stop()
    gate.open()
    assert running.end().state == "cancelled"


@promise(
    "stopping.abandoned",
    "A task whose function does not return within the grace is abandoned, and told by name.",
    _PAGE,
    PARALLEL,
)
def abandoned(kit: Kit) -> None:
    env, bell, gate = kit.environment(), kit.bell(), kit.gate()
    env.from_batch([1]).rebalance().map(Stuck, bell, gate, uid="stuck").sink(drop)
    running = kit.start(env)
    assert bell.heard(1, kit.limit)
    probe = running.probe
    assert probe.deployment is not None
    probe.deployment.cancel(0.1)
    ended = running.end()
    gate.open()
    assert ended.state == "cancelled"
    lost = [event for event in probe.events() if event.kind == "abandoned"]
    assert [event.task for event in lost] == probe.plan_tasks("Stuck")
    assert lost[0].where, "what it was doing is told"


@promise("stopping.twice", "Stopping twice is stopping once.", _PAGE)
def twice(kit: Kit) -> None:
    env, bell = kit.environment(), kit.bell()
    env.from_batch(_without_end).rebalance().map(Hundredth, bell).sink(drop)
    running = kit.start(env)
    assert bell.heard(1, kit.limit)
    running.stop()
    running.stop()
    assert running.end().state == "cancelled"
    running.stop()
    assert env.get_job_status()["status"] == "cancelled", "an ended job stays as it is"
