"""Windows: which records of a stream belong together, and when what they come to is put out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sage.core.engine.window import Window, WindowResult
from sage.core.graph.durations import seconds

__all__ = [
    "AfterCount",
    "AfterTime",
    "AtEnd",
    "Count",
    "Global",
    "Session",
    "Sliding",
    "Tumbling",
    "Window",
    "WindowResult",
    "Windows",
    "trigger_options",
    "window_options",
]

Duration = float | timedelta
"""Seconds, or a timedelta."""

Time = Literal["event", "processing"]
"""By what windows are cut: the times that records carry, or the clock at their arrival."""


@dataclass(frozen=True)
class Tumbling:
    """Windows of one length, one after the other: each record is in exactly one.

    Args:
        size: how long a window is.
        offset: by how much they are shifted; without it they begin at multiples of ``size`` since 1970, in UTC.
        time: ``"event"``, by the records' own times, or ``"processing"``, by the clock.
    """

    size: Duration
    offset: Duration = 0
    time: Time = "event"

    def _options(self) -> Mapping[str, Any]:
        return {"kind": "tumbling", "size": seconds(self.size), "offset": seconds(self.offset), "time": self.time}


@dataclass(frozen=True)
class Sliding:
    """Windows of one length, of which one begins every ``slide`` seconds: each record is in about ``size / slide``.

    Args:
        size: how long a window is.
        slide: from the beginning of one to that of the next; at most ``size``.
        offset: by how much they are shifted; without it they begin at multiples of ``slide`` since 1970, in UTC.
        time: ``"event"``, by the records' own times, or ``"processing"``, by the clock.
    """

    size: Duration
    slide: Duration
    offset: Duration = 0
    time: Time = "event"

    def _options(self) -> Mapping[str, Any]:
        return {
            "kind": "sliding",
            "size": seconds(self.size),
            "slide": seconds(self.slide),
            "offset": seconds(self.offset),
            "time": self.time,
        }


@dataclass(frozen=True)
class Session:
    """Windows that last as long as records keep coming: one ends when there was none for ``gap`` seconds.

    Two records that are exactly ``gap`` apart are in one session.

    Args:
        gap: how long nothing has to come for a session to end. It is part of the window.
        time: ``"event"``, by the records' own times, or ``"processing"``, by the clock.
    """

    gap: Duration
    time: Time = "event"

    def _options(self) -> Mapping[str, Any]:
        return {"kind": "session", "gap": seconds(self.gap), "time": self.time}


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

    def _options(self) -> Mapping[str, Any]:
        return {"kind": "count", "size": self.size, "every": self.every}


@dataclass(frozen=True)
class Global:
    """One window for all records of a key. It never ends: a trigger says when something is put out."""

    def _options(self) -> Mapping[str, Any]:
        return {"kind": "global"}


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

    def _options(self) -> Mapping[str, Any]:
        return {"kind": "after_count", "count": self.count, "accumulate": self.accumulate}


@dataclass(frozen=True)
class AfterTime:
    """Fires so many seconds after the first record since it last fired, by the clock.

    Args:
        seconds: how long to wait.
        accumulate: see `AfterCount`.
    """

    seconds: Duration
    accumulate: bool = True

    def _options(self) -> Mapping[str, Any]:
        return {"kind": "after_time", "seconds": seconds(self.seconds), "accumulate": self.accumulate}


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

    def _options(self) -> Mapping[str, Any]:
        return {
            "kind": "at_end",
            "early": trigger_options(self.early),
            "late": trigger_options(self.late),
            "accumulate": self.accumulate,
        }


Trigger = AtEnd | AfterCount | AfterTime
"""When a window fires."""


def window_options(window: object) -> Mapping[str, Any]:
    """A window as an operator's options hold it; what is none is noted, to be reported with all else that is wrong."""
    return window._options() if isinstance(window, Windows) else {"kind": "unknown", "given": _shown(window)}


def trigger_options(trigger: object) -> Mapping[str, Any] | None:
    """The same of a trigger."""
    if trigger is None:
        return None
    if isinstance(trigger, Trigger):
        return trigger._options()
    return {"kind": "unknown", "given": _shown(trigger), "accumulate": True}


def _shown(given: object) -> str:
    return f"the class {given.__name__}: write {given.__name__}(…)" if isinstance(given, type) else f"{given!r:.100}"
