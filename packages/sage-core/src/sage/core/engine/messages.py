"""What flows between tasks, always in order along one channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Batch", "EndOfInput", "Hold", "Message", "Probe", "Unreadable", "Watermark"]


@dataclass(slots=True)
class Batch:
    """Records in order. It is not changed any more once it was handed over.

    Attributes:
        records: what the user's functions have made.
        keys: the key of each where the channel is keyed, else None.
        times: the event time of each, in microseconds, where the stream has times, else None. Within it, None stands
            for a record that came by an input without times.
        mark: the watermark that holds once these records are processed; None where it stays as it is.
    """

    records: list[Any]
    keys: list[Any] | None = None
    times: list[Any] | None = None
    mark: int | None = None


@dataclass(frozen=True, slots=True)
class Watermark:
    """Event time on this channel has come to ``time``: later records are late if theirs is not after it.

    Attributes:
        time: in microseconds.
        idle: nothing is expected for now: others need not wait for this channel, until it has something again.
    """

    time: int
    idle: bool = False


@dataclass(frozen=True, slots=True)
class EndOfInput:
    """Nothing follows on this channel: one upstream subtask has ended."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Goes round in a loop, to find out whether anything else does; `sage.core.engine.rounds` says how.

    Attributes:
        round: its number, from 1.
        quiet: for how many rounds nothing has happened; -1 if something has in this one.
        over: whether what is kept until the end of time is to be let go.
    """

    round: int
    quiet: int
    over: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """Goes round in a loop as well: whether the tasks of it are to take in nothing from outside for now.

    Attributes:
        head: the stage of the head that says so.
        number: of what it says; the highest counts, by whatever way it has come.
        on: whether they are.
    """

    head: int
    number: int
    on: bool


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something has come from another process that cannot be rebuilt here: the task that takes it fails.

    Attributes:
        reason: what has been raised at that.
    """

    reason: str


Message = Batch | Watermark | EndOfInput | Probe | Hold | Unreadable
