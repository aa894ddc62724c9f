"""Functions that promises share; whichever process runs them imports them from here."""

from __future__ import annotations

import os
from typing import Any

from sage.core.api.function.base_function import BaseFunction
from sage.core.engine.context import RuntimeContext
from sage.core.testing.conformance._signals import Bell, Gate

__all__ = [
    "Opens",
    "Place",
    "Ring",
    "Stuck",
    "add_one",
    "drop",
    "first",
    "itself",
    "second",
    "sum_of",
    "tens_of",
    "times_ten",
]


def add_one(number: int) -> int:
    return number + 1


def times_ten(number: int) -> int:
    return number * 10


def tens_of(number: int) -> int:
    return number % 10


def itself(value: Any) -> Any:
    return value


def first(pair: Any) -> Any:
    return pair[0]


def second(pair: Any) -> Any:
    return pair[1]


def sum_of(left: int, right: int) -> int:
    return left + right


def drop(value: object) -> None:
    """A sink for what nobody looks at."""


class Opens(BaseFunction):
    """Opens a gate with each record."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def execute(self, record: object) -> None:
        self.gate.open()


class Place(BaseFunction):
    """Puts out which subtask, in which process, has had the record."""

    def open(self, context: RuntimeContext) -> None:
        self.subtask = context.subtask

    def execute(self, record: Any) -> tuple[int, int, Any]:
        return self.subtask, os.getpid(), record


class Ring(BaseFunction):
    """Rings a bell when it is opened and closed, and for each record if told to."""

    def __init__(self, bell: Bell, name: str, records: bool = False) -> None:
        self.bell = bell
        self.name = name
        self.records = records

    def open(self, context: RuntimeContext) -> None:
        self.subtask = context.subtask
        self.bell.ring(f"open {self.name}")

    def execute(self, record: Any) -> Any:
        if self.records:
            self.bell.ring(f"{self.name} {record}")
        return record

    def close(self) -> None:
        self.bell.ring(f"close {self.name}")


class Stuck(BaseFunction):
    """Rings a bell, then does not return from a record before a gate is open."""

    def __init__(self, bell: Bell, gate: Gate, limit: float = 60.0) -> None:
        self.bell = bell
        self.gate = gate
        self.limit = limit

    def execute(self, record: Any) -> Any:
        if not self.gate.is_open:
            self.bell.ring(f"stuck {os.getpid()}")
            self.gate.wait(self.limit)
        return record
