"""What a test gives to a pipeline, step by step, and what it finds in return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["At", "End", "Fail", "Forever", "Idle", "Input", "Pause", "Side", "Watermark"]


@dataclass(frozen=True, slots=True)
class At:
    """A record with its event time.

    Attributes:
        time: seconds since the epoch.
        record: any value.
    """

    time: float
    record: Any

    def __repr__(self) -> str:
        return f"At({self.time:.15g}, {self.record!r})"


@dataclass(frozen=True, slots=True)
class Watermark:
    """No record with a time up to this one is to be expected any more.

    Attributes:
        time: seconds since the epoch.
    """

    time: float

    def __repr__(self) -> str:
        return f"Watermark({self.time:.15g})"


@dataclass(frozen=True, slots=True)
class Idle:
    """There will be nothing for some time: nobody should wait for the watermark of this input until it goes on."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Time passes, by the clock of the job.

    Attributes:
        seconds: how long.
    """

    seconds: float


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
