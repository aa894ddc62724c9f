"""A source that gives what a test says, when the test says it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sage.core.api.datastream import DataStream
from sage.core.api.environment import Environment
from sage.core.api.function.timestamp_function import TimestampFunction
from sage.core.connectors.api import STOP, Later, StopType
from sage.core.errors import GraphError, Problem
from sage.core.graph.functions import describe_connector
from sage.core.graph.location import users_location
from sage.core.testing._steps import At, End, Fail, Forever, Idle, Input, Pause, Watermark

__all__ = ["Given", "is_record", "is_timed", "read_step", "records_of", "script", "wrong_step"]


def script(env: Environment, steps: Iterable[Any], *, name: str = "script") -> DataStream[Any]:
    """A source of what ``steps`` say, in order, on any backend.

    Args:
        env: to declare it in.
        steps: records, or `At` for records with a time, then with `Watermark` and `Idle` among them; and `Pause`,
            `Fail`, `End` and `Forever`. After the last one, the source ends, unless that is `Forever`. What follows one
            that ends, or does not end, is never reached.
        name: of the source, and its uid.

    Raises:
        GraphError: some records have a time, and others none; or a step is given as its class.
    """
    steps = tuple(steps)
    timed = any(map(is_timed, steps))
    for step in steps:
        wrong = wrong_step(step)
        if wrong is not None:
            raise GraphError([Problem(wrong, str(users_location()))])
        if timed and is_record(step):
            message = f"a script gives all of its records a time, or none: {step!r:.100} has none"
            raise GraphError([Problem(message, str(users_location()), hint="At(seconds, record) gives it one")])
    bounded = not any(isinstance(step, Forever) for step in steps)
    given = describe_connector(Script(steps), (), {}, "read")
    return records_of(env._declare("read", given, name, name, 1, None, {"bounded": bounded}), name, timed=timed)


def records_of(stream: DataStream[Any], name: str, *, timed: bool) -> DataStream[Any]:
    """The records of a stream of `Given`, which comes straight from a source, one for each turn."""
    if timed:
        stream = stream.assign_timestamps(_Times, name=f"{name}: times", uid=f"{name}: times")
    return stream.flatmap(_records_of, name=f"{name}: records", uid=f"{name}: records")


def is_timed(step: Any) -> bool:
    """Whether a step makes sense only where records have times."""
    return isinstance(step, At | Watermark | Idle)


def is_record(step: Any) -> bool:
    """Whether a step is a record without a time."""
    return not isinstance(step, At | Watermark | Idle | Pause | Fail | End | Forever)


def wrong_step(step: Any) -> str | None:
    """What is wrong with a step that would be taken for a record without a word."""
    if isinstance(step, type) and step in (At, Watermark, Idle, Pause, Fail, End, Forever, Input):
        call = f"{step.__name__}({'…' if fields(step) else ''})"
        return f"{step.__name__} is given as a class, which would be a record: write {call}"
    if isinstance(step, Input):
        return f"{step!r:.100} belongs into the steps of run_operator: there is no other input here"
    return None


@dataclass(frozen=True, slots=True)
class Given:
    """What a scripted source gives: records, one or none, their time, and how far event time has come with them."""

    records: tuple[Any, ...]
    time: Any = None
    mark: Any = None


def read_step(step: Any) -> list[Any] | StopType | Later:
    """What a reader answers for a step. Raises the error of `Fail`."""
    if isinstance(step, End):
        return STOP
    if isinstance(step, Fail):
        raise step.error
    if isinstance(step, Pause):
        return Later(step.seconds)
    if isinstance(step, Idle):
        return Later(0, idle=True)
    if isinstance(step, Forever):
        return Later(math.inf)
    if isinstance(step, Watermark):
        return [Given((), step.time, step.time)]
    return [Given((step.record,), step.time) if isinstance(step, At) else Given((step,))]


class _Times(TimestampFunction[Given]):
    """Tells times and watermarks as they were given."""

    def execute(self, record: Given) -> Any:
        return record.time

    def watermark(self, record: Given, time: float) -> Any:
        return record.mark


class Script:
    """A connector's source of one partition."""

    def __init__(self, steps: Sequence[Any]) -> None:
        self._steps = steps

    def partitions(self) -> Sequence[str]:
        return ("script",)

    def open(self, partition: str, position: object | None) -> _Reader:
        return _Reader(self._steps, position if isinstance(position, int) else 0)


class _Reader:
    """Gives one record for each call: a watermark follows those of one turn, and must not come later."""

    def __init__(self, steps: Sequence[Any], next: int) -> None:
        self._steps = steps
        self._next = next

    def read(self, n: int) -> list[Any] | StopType | Later | None:
        if self._next == len(self._steps):
            return STOP
        step = self._steps[self._next]
        if not isinstance(step, End | Forever):
            self._next += 1
        return read_step(step)

    def position(self) -> object:
        return self._next

    def wait(self, timeout: float) -> None:
        """Never called: it always tells for how long it has nothing."""

    def close(self) -> None:
        """There is nothing to let go of."""


def _records_of(given: Given) -> tuple[Any, ...]:
    return given.records
