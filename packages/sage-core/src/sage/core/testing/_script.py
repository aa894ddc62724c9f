"""A source that gives what a test says, when the test says it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sage.core.api.datastream import DataStream
from sage.core.api.environment import Environment
from sage.core.connectors.api import STOP, Later, StopType
from sage.core.graph.functions import describe_connector
from sage.core.testing._steps import End, Fail, Forever, Pause

__all__ = ["Given", "records_of", "script"]


def script(env: Environment, steps: Iterable[Any], *, name: str = "script") -> DataStream[Any]:
    """A source of what ``steps`` say, in order, on any backend.

    Args:
        env: to declare it in.
        steps: records, and `Pause`, `Fail`, `End` and `Forever`. After the last one, the source ends, unless that is
            `Forever`. What follows one that ends, or does not end, is never reached.
        name: of the source, and its uid.
    """
    steps = tuple(steps)
    bounded = not any(isinstance(step, Forever) for step in steps)
    given = describe_connector(Script(steps), (), {}, "read")
    return records_of(env._declare("read", given, name, name, 1, None, {"bounded": bounded}), name)


def records_of(stream: DataStream[Any], name: str) -> DataStream[Any]:
    """The records of a stream of `Given`."""
    return stream.map(_record_of, name=f"{name}: records", uid=f"{name}: records")


@dataclass(frozen=True, slots=True)
class Given:
    """What is told of a record on its way from a scripted source."""

    record: Any


class Script:
    """A connector's source of one partition."""

    def __init__(self, steps: Sequence[Any]) -> None:
        self._steps = steps

    def partitions(self) -> Sequence[str]:
        return ("script",)

    def open(self, partition: str, position: object | None) -> _Reader:
        return _Reader(self._steps, position if isinstance(position, int) else 0)


class _Reader:
    def __init__(self, steps: Sequence[Any], next: int) -> None:
        self._steps = steps
        self._next = next

    def read(self, n: int) -> list[Any] | StopType | Later | None:
        if self._next == len(self._steps):
            return STOP
        step = self._steps[self._next]
        if isinstance(step, Forever):
            return Later(math.inf)
        if isinstance(step, End):
            return STOP
        self._next += 1
        if isinstance(step, Fail):
            raise step.error
        if isinstance(step, Pause):
            return Later(step.seconds)
        return [Given(step)]

    def position(self) -> object:
        return self._next

    def wait(self, timeout: float) -> None:
        """Never called: it always tells for how long it has nothing."""

    def close(self) -> None:
        """There is nothing to let go of."""


def _record_of(given: Given) -> Any:
    return given.record
