"""Windows: which records of a stream belong together, and when what they come to is put out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from sage.core.engine.window import Window, WindowResult

__all__ = [
    "AfterCount",
    "AfterTime",
    "AtEnd",
    "Count",
    "Duration",
    "Global",
    "Session",
    "Sliding",
    "Time",
    "Trigger",
    "Tumbling",
    "Window",
    "WindowResult",
    "Windows",
]

Duration = float | timedelta
"""Seconds, or a timedelta."""

Time = Literal["event", "processing"]
"""By what windows are cut: the times that records carry, or the clock at their arrival."""


@dataclass(frozen=True)
class Tumbling:
    """Windows of one length, one after the other: each record is in exactly one.

    Args:
        size: how long a window is, in seconds or as a timedelta.
        offset: by how much they are shifted; without it they begin at multiples of ``size`` since 1970, in UTC.
        time: ``"event"``, by the records' own times, or ``"processing"``, by the clock.
    """

    size: Duration
    offset: Duration = 0
    time: Time = "event"


@dataclass(frozen=True)
class Sliding:
    """Windows of one length, of which one begins every ``slide`` seconds: each record is in about ``size / slide``.

    Args:
        size: how long a window is, in seconds or as a timedelta.
        slide: from the beginning of one to that of the next, likewise; at most ``size``.
        offset: by how much they are shifted; without it they begin at multiples of ``slide`` since 1970, in UTC.
        time: ``"event"``, by the records' own times, or ``"processing"``, by the clock.
    """

    size: Duration
    slide: Duration
    offset: Duration = 0
    time: Time = "event"


@dataclass(frozen=True)
class Session:
    """Windows that last as long as records keep coming: one ends when there was none for ``gap`` seconds.

    Two records that are exactly ``gap`` apart are in one session.

    Args:
        gap: how long nothing has to come for a session to end, in seconds or as a timedelta. It is part of the window.
        time: ``"event"``, by the records' own times, or ``"processing"``, by the clock.
    """

    gap: Duration
    time: Time = "event"


@dataclass(frozen=True)
class Count:
    """Windows of so many records of a key. One that is not full at the end of input is not put out.

    Args:
        size: how many records a window has.
        every: put out the last ``size`` records after every so many, the first few times as many as there are; None:
            once for each ``size`` records.
    """

    size: int
    every: int | None = None


@dataclass(frozen=True)
class Global:
    """One window for all records of a key. It never ends: a trigger says when something is put out."""


Windows = Tumbling | Sliding | Session | Count | Global
"""What ``window(…)`` takes."""


@dataclass(frozen=True)
class AfterCount:
    """Fires whenever ``count`` records have come since it last fired.

    Args:
        count: how many.
        accumulate: whether what has been put out stays in the window, to be put out again with what comes; False:
            a window is emptied when it fires.
    """

    count: int
    accumulate: bool = True


@dataclass(frozen=True)
class AfterTime:
    """Fires so many seconds after the first record since it last fired, by the clock.

    Args:
        seconds: how long to wait, as a number or a timedelta.
        accumulate: see `AfterCount`.
    """

    seconds: Duration
    accumulate: bool = True


@dataclass(frozen=True)
class AtEnd:
    """Fires when the window is over; what a time window does by itself. The global window is over at the end of input.

    Args:
        early: when to fire before that, too.
        late: when to fire for records that come later, within the allowed lateness; None: for each of them.
        accumulate: see `AfterCount`.
    """

    early: AfterCount | AfterTime | None = None
    late: AfterCount | AfterTime | None = None
    accumulate: bool = True


Trigger = AtEnd | AfterCount | AfterTime
"""When a window fires."""
