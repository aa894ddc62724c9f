"""What a test gives to a pipeline, step by step, and what it finds in return."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sage.core.engine.event_time import to_micros, to_seconds
from sage.core.graph.durations import is_duration
from sage.core.graph.durations import seconds as to_number

__all__ = ["At", "End", "Fail", "Forever", "Idle", "Input", "Pause", "Side", "Watermark"]


@dataclass(frozen=True, slots=True, init=False)
class At:
    """A record with its event time.

    Attributes:
        time: seconds since 1970; may be given as a datetime with a time zone.
        record: any value.

    Raises:
        TimestampError: the time is neither.
    """

    time: float
    record: Any

    def __init__(self, time: float | datetime, record: Any) -> None:
        object.__setattr__(self, "time", to_seconds(to_micros(time)))
        object.__setattr__(self, "record", record)

    @classmethod
    def _found(cls, micros: int, record: Any) -> Self:
        """What came out; the end of a window may be after all times that may be given."""
        found = object.__new__(cls)
        object.__setattr__(found, "time", to_seconds(micros))
        object.__setattr__(found, "record", record)
        return found

    def __repr__(self) -> str:
        return f"At({_shown(self.time)}, {self.record!r})"


@dataclass(frozen=True, slots=True, init=False)
class Watermark:
    """Event time has come to this point: a record is late from here on if its time is not after it.

    Attributes:
        time: seconds since 1970; may be given as a datetime with a time zone.

    Raises:
        TimestampError: the time is neither.
    """

    time: float

    def __init__(self, time: float | datetime) -> None:
        object.__setattr__(self, "time", to_seconds(to_micros(time, "a watermark")))

    @classmethod
    def _found(cls, micros: int) -> Self:
        """What came out, which may be before or after all times that may be given."""
        found = object.__new__(cls)
        object.__setattr__(found, "time", to_seconds(micros))
        return found

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

    Raises:
        ValueError: it is no length of time, or below 0.
    """

    seconds: float

    def __init__(self, seconds: float | timedelta) -> None:
        number = to_number(seconds)
        if not is_duration(number):
            raise ValueError(f"a pause takes a number of seconds from 0, or a timedelta, not {seconds!r:.100}")
        object.__setattr__(self, "seconds", number)


@dataclass(frozen=True, slots=True)
class Fail:
    """The input fails, and the job with it.

    Attributes:
        error: what it raises.

    Raises:
        TypeError: it is no exception.
    """

    error: BaseException

    def __post_init__(self) -> None:
        if not isinstance(self.error, BaseException):
            raise TypeError(f"Fail takes the exception to raise, not {self.error!r:.100}")


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


def _shown(time: Any) -> str:
    return repr(time).removesuffix(".0")
