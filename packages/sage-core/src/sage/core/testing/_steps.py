"""What a test gives to a pipeline, step by step, and what it finds in return."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sage.core.engine.event_time import to_micros, to_seconds
from sage.core.errors import TimestampError
from sage.core.graph.durations import seconds as to_number

__all__ = ["At", "End", "Fail", "Forever", "Idle", "Input", "Pause", "Side", "Watermark"]


@dataclass(frozen=True, slots=True, init=False)
class At:
    """A record with its event time.

    Attributes:
        time: seconds since 1970; may be given as a datetime with a time zone.
        record: any value.
    """

    time: float
    record: Any

    def __init__(self, time: float | datetime, record: Any) -> None:
        object.__setattr__(self, "time", _point(time))
        object.__setattr__(self, "record", record)

    def __repr__(self) -> str:
        return f"At({_shown(self.time)}, {self.record!r})"


@dataclass(frozen=True, slots=True, init=False)
class Watermark:
    """Event time has come to this point: a record is late from here on if its time is not after it.

    Attributes:
        time: seconds since 1970; may be given as a datetime with a time zone.
    """

    time: float

    def __init__(self, time: float | datetime) -> None:
        object.__setattr__(self, "time", _point(time))

    def __repr__(self) -> str:
        return f"Watermark({_shown(self.time)})"


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is expected for now: nobody waits for the watermarks of this input, until it has a record again."""


@dataclass(frozen=True, slots=True, init=False)
class Pause:
    """Time passes, by the clock of the job.

    Attributes:
        seconds: how long; may be given as a timedelta.
    """

    seconds: float

    def __init__(self, seconds: float | timedelta) -> None:
        object.__setattr__(self, "seconds", to_number(seconds))


@dataclass(frozen=True, slots=True)
class Fail:
    """The input fails, and the job with it.

    Attributes:
        error: what it raises.
    """

    error: BaseException


@dataclass(frozen=True, slots=True)
class End:
    """The input has ended. What holds records back puts them out, as at the end of any input."""


@dataclass(frozen=True, slots=True)
class Forever:
    """The input gives nothing more, and does not end either."""


@dataclass(frozen=True, slots=True)
class Input:
    """A step of another input than the first.

    Attributes:
        number: of the input, from 0.
        step: a record, or any of the other steps.
    """

    number: int
    step: Any


@dataclass(frozen=True, slots=True)
class Side:
    """Found on a side output.

    Attributes:
        tag: of the side output.
        record: what was put out there: an `At` where it has an event time.
    """

    tag: str
    record: Any


def _point(time: Any) -> Any:
    """As the engine tells it; what is no point in time stays as it is, for the engine to refuse."""
    try:
        return to_seconds(to_micros(time))
    except TimestampError:
        return time


def _shown(time: Any) -> str:
    return repr(time).removesuffix(".0")
