"""A source whose event time comes on by what has come of it, so that no clock decides what is late."""

from __future__ import annotations

from typing import Any

from sage.core.api.datastream import DataStream
from sage.core.api.function.process_function import ProcessFunction
from sage.core.api.function.timestamp_function import TimestampFunction
from sage.core.connectors.api import STOP, Later, StopType
from sage.core.engine.process_context import Timer
from sage.core.testing.conformance._functions import drop, itself
from sage.core.testing.conformance._signals import Gate
from sage.core.testing.conformance.kit import Kit, ProbedEnvironment

__all__ = ["Event", "Steps", "events_of", "opens"]

Event = tuple[str, float, float | None]
"""A key, the event time, and the watermark that follows; None where it stays."""


def events_of(kit: Kit, env: ProbedEnvironment, events: list[Event]) -> tuple[DataStream[Event], dict[float, Gate]]:
    """A stream of ``events``, and a gate for each watermark: what follows that is read once the gate is open."""
    gates = {mark: kit.gate() for *_, mark in events if mark is not None}
    return env.from_connector(Steps, events, gates).assign_timestamps(_Marked), gates


def opens(gates: dict[float, Gate], stream: DataStream[Any]) -> None:
    """Open the gate of each watermark once it has passed through what ``stream`` comes from."""
    stream.map(_same_key).keyby(itself).process(_OpensAt, gates, name="opens gates").sink(drop)


def _same_key(record: Any) -> int:
    return 0


class Steps:
    """Reads what was told of, one record at a time."""

    bounded = True

    def __init__(self, events: list[Event], gates: dict[float, Gate]) -> None:
        self.events = events
        self.gates = gates
        self.next = 0

    def partitions(self) -> list[str]:
        return ["all"]

    def open(self, partition: str, position: object | None) -> Steps:
        return self

    def read(self, n: int) -> list[Event] | Later | StopType:
        before = self.events[self.next - 1][2] if self.next else None
        if before is not None and not self.gates[before].is_open:
            return Later(0.002)
        if self.next == len(self.events):
            return STOP
        self.next += 1
        return [self.events[self.next - 1]]

    def position(self) -> object:
        return self.next

    def wait(self, timeout: float) -> None:
        """Never called."""

    def close(self) -> None:
        """Nothing is held."""


class _Marked(TimestampFunction[Event]):
    """Times and watermarks as they were given."""

    def execute(self, record: Event) -> float:
        return record[1]

    def watermark(self, record: Event, time: float) -> float | None:
        return record[2]


class _OpensAt(ProcessFunction[Any, Any]):
    """Opens the gate of each watermark once that has come."""

    def __init__(self, gates: dict[float, Gate]) -> None:
        self.gates = gates

    def execute(self, record: Any) -> None:
        for time in self.gates:
            self.context.set_timer(time)

    def on_timer(self, timer: Timer) -> None:
        self.gates[timer.at].open()
