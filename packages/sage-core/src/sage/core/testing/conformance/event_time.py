"""Event time: watermarks of parallel channels, idle inputs, timers, and the end of all time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sage.core.api.function.process_function import ProcessFunction
from sage.core.api.function.source_function import SourceFunction
from sage.core.connectors.api import STOP, Later, StopType
from sage.core.engine.process_context import Timer
from sage.core.testing.conformance._functions import Opens, first, itself, second
from sage.core.testing.conformance._promises import UNBOUNDED, promise
from sage.core.testing.conformance._timed import events_of, opens
from sage.core.testing.conformance.kit import Gate, Kit

__all__ = [
    "Alarm",
    "Clocked",
    "Forward",
    "IdleUntilOpen",
    "Late",
    "Mark",
    "UntilOpen",
    "aligned_sources",
    "follows_the_records",
    "idle_inputs",
    "idle_sources",
    "the_slowest_channel",
    "timers",
    "timers_of_the_clock",
]

_PAGE = "reference/time.md"


class Mark(ProcessFunction[Any, Any]):
    """Puts out each record with its time and how far event time has come."""

    def execute(self, record: Any) -> Iterator[tuple[Any, float | None, float]]:
        yield record, self.context.timestamp, self.context.watermark


class Alarm(ProcessFunction[tuple[str, float], Any]):
    """Sets a timer for the time of each record, and one that it takes back."""

    def execute(self, record: tuple[str, float]) -> None:
        self.context.set_timer(record[1] + 10)
        self.context.set_timer(record[1] + 10)
        self.context.set_timer(record[1] + 5000)
        self.context.delete_timer(record[1] + 5000)

    def on_timer(self, timer: Timer) -> Iterator[tuple[str, float]]:
        yield str(self.context.key), timer.at


class Clocked(ProcessFunction[str, Any]):
    """Sets a timer by the clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def execute(self, record: str) -> None:
        self.context.set_timer(self.context.now + self.seconds, time="processing")

    def on_timer(self, timer: Timer) -> Iterator[tuple[str, str]]:
        yield str(self.context.key), timer.time


class UntilOpen(SourceFunction[tuple[str, float]]):
    """Has what it was given, then nothing until a gate is open, then it ends."""

    def __init__(self, gate: Gate, records: tuple[tuple[str, float], ...] = ()) -> None:
        self.gate = gate
        self.records = list(records)

    def execute(self) -> Any:
        if self.records:
            return self.records.pop(0)
        return STOP if self.gate.is_open else None


@promise(
    "time.follows",
    "A watermark follows the records before it, through every exchange, and is no later than they say.",
    f"{_PAGE}#watermarks",
)
def follows_the_records(kit: Kit) -> None:
    env = kit.environment()
    events, gates = events_of(kit, env, [("a", 1, 5), ("b", 7, None), ("late", 3, 9), ("c", 12, None)])
    marked = events.map(first).rebalance().map(itself).rebalance().process(Mark)
    found = marked.collect()
    opens(gates, marked)
    kit.run(env)
    assert [(key, time) for key, time, _ in found] == [("a", 1), ("b", 7), ("late", 3), ("c", 12)]
    marks = [mark for *_, mark in found]
    assert marks == [float("-inf"), 5, 5, 9], f"watermarks are told in line with the records: {marks}"


@promise(
    "time.slowest",
    "Behind parallel channels event time is that of the slowest: what is in time in each is in time.",
    f"{_PAGE}#several-inputs",
)
def the_slowest_channel(kit: Kit) -> None:
    env = kit.environment()
    fast = env.from_batch([("fast", float(time)) for time in range(0, 10_000, 10)], uid="fast")
    slow = env.from_batch([("slow", float(time)) for time in range(0, 10_000, 5)], uid="slow")
    both = fast.assign_timestamps(second, uid="1").union(slow.rebalance().assign_timestamps(second, uid="2"))
    timed = both.keyby(first).process(Late, parallelism=2).collect()
    kit.run(env)
    assert len(timed) == 3000
    assert not [item for item in timed if item[1]], "no record of any channel may be late"


class Late(ProcessFunction[tuple[str, float], Any]):
    """Whether a record is late."""

    def execute(self, record: tuple[str, float]) -> Iterator[tuple[tuple[str, float], bool]]:
        time = self.context.timestamp
        assert time is not None
        yield record, time <= self.context.watermark


class IdleUntilOpen:
    """Has one record, then says that nothing is to be expected until a gate is open, then ends."""

    bounded = True

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.given = False

    def partitions(self) -> list[str]:
        return ["all"]

    def open(self, partition: str, position: object | None) -> IdleUntilOpen:
        return self

    def read(self, n: int) -> list[tuple[str, float]] | Later | StopType:
        if not self.given:
            self.given = True
            return [("idle", 0.0)]
        return STOP if self.gate.is_open else Later(0.005, idle=True)

    def position(self) -> object:
        return self.given

    def wait(self, timeout: float) -> None:
        """Never called."""

    def close(self) -> None:
        """Nothing is held."""


@promise("time.idle", "An input that says that it is idle is not waited for.", f"{_PAGE}#several-inputs")
def idle_inputs(kit: Kit) -> None:
    env, gate = kit.environment(), kit.gate()
    idle = env.from_connector(IdleUntilOpen, gate).assign_timestamps(second, uid="idle")
    busy = env.from_connector(Forward, gate).assign_timestamps(second, uid="busy")
    fired = busy.union(idle).keyby(first).process(Alarm, parallelism=2)
    found = fired.collect()
    fired.filter(_is_a).sink(Opens, gate)
    kit.run(env)
    assert sorted(found) == [("a", 11.0), ("b", 110.0), ("idle", 10.0)]


class Forward(IdleUntilOpen):
    """Has two records, and nothing more until a gate is open, without being idle."""

    def read(self, n: int) -> list[tuple[str, float]] | Later | StopType:
        if not self.given:
            self.given = True
            return [("a", 1.0), ("b", 100.0)]
        return STOP if self.gate.is_open else Later(0.005)


def _is_a(fired: tuple[str, float]) -> bool:
    return fired[0] == "a"


@promise(
    "time.idle-source",
    "A source in which nothing comes for `idle_after` is not waited for.",
    f"{_PAGE}#several-inputs",
    UNBOUNDED,
)
def idle_sources(kit: Kit) -> None:
    env, gate = kit.environment(), kit.gate()
    busy = env.from_source(UntilOpen, gate, (("a", 1.0), ("b", 100.0)), uid="busy").assign_timestamps(second)
    silent = env.from_source(UntilOpen, gate, uid="silent").assign_timestamps(second, idle_after=0.05, uid="times")
    fired = busy.union(silent).keyby(first).process(Alarm, parallelism=2)
    found = fired.collect()
    fired.sink(Opens, gate)
    kit.run(env)
    assert sorted(found) == [("a", 11.0), ("b", 110.0)]


@promise(
    "time.timers",
    "Timers of event time fire once, in the order of their times, unless they were taken back.",
    "reference/process.md#timers",
)
def timers(kit: Kit) -> None:
    env = kit.environment()
    records = [("a", 1.0), ("b", 2.0), ("a", 5.0), ("c", 30.0), ("b", 31.0), ("a", 90.0)]
    timed = env.from_batch(records).assign_timestamps(second).rebalance()
    found = timed.keyby(first).process(Alarm, parallelism=3).collect()
    kit.run(env)
    for key in "abc":
        assert [time for of, time in found if of == key] == [time + 10 for of, time in records if of == key]


@promise(
    "time.clock",
    "Timers of the clock fire though no record comes, and those that are left at the end.",
    "reference/process.md#timers",
)
def timers_of_the_clock(kit: Kit) -> None:
    env, gate = kit.environment(), kit.gate()
    fired = env.from_batch(["a", "b"]).keyby(itself).process(Clocked, 3600.0, parallelism=2).collect()
    kit.run(env)
    assert sorted(fired) == [("a", "processing"), ("b", "processing")]
    if "unbounded" not in kit.capabilities:
        return
    env = kit.environment()
    one = env.from_batch(["a"]).union(env.from_source(UntilOpen, gate)).keyby(itself).process(Clocked, 0.01)
    found = one.collect()
    one.sink(Opens, gate)
    kit.run(env)
    assert found == [("a", "processing")]


@promise(
    "time.ahead",
    "Sources that may not be far ahead of each other wait, and all get to their end.",
    f"{_PAGE}#several-inputs",
)
def aligned_sources(kit: Kit) -> None:
    env = kit.environment()
    streams = [
        env.from_batch([(name, float(time)) for time in range(0, 2000, step)], uid=name).assign_timestamps(
            second, max_ahead=50, uid=f"times of {name}"
        )
        for name, step in (("fine", 1), ("coarse", 10))
    ]
    found = streams[0].union(streams[1]).map(first).collect()
    kit.run(env)
    assert (found.count("fine"), found.count("coarse")) == (2000, 200)
