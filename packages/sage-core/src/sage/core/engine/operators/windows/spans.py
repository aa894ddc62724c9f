"""The arithmetic of windows: which of them a time is in. Whole microseconds throughout, so that it is exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sage.core.engine.event_time import MAX_TIME, MICROS, MIN_TIME, to_seconds
from sage.core.engine.window import Window

__all__ = ["Spans", "as_window", "micros"]


def micros(seconds: float) -> int:
    """A length of time as the engine counts it."""
    return seconds * MICROS if isinstance(seconds, int) else round(seconds * MICROS)


def as_window(start: int, end: int) -> Window:
    """A window as functions see it."""
    return Window(to_seconds(start), to_seconds(end))


@dataclass(frozen=True, slots=True)
class Spans:
    """Windows of one length: one begins at ``offset`` and every ``slide`` before and after it.

    Tumbling windows are those with ``slide`` equal to ``size``. The global window has no ends.
    """

    size: int
    slide: int
    offset: int

    @classmethod
    def of(cls, window: Mapping[str, Any]) -> Spans:
        """Those of a tumbling, sliding or global window as options tell it."""
        if window["kind"] == "global":
            return cls(MAX_TIME - MIN_TIME, MAX_TIME - MIN_TIME, MIN_TIME)
        size = micros(window["size"])
        return cls(size, micros(window["slide"]) if "slide" in window else size, micros(window["offset"]))

    def last_start(self, time: int) -> int:
        """Where the last window begins that holds ``time``."""
        return time - (time - self.offset) % self.slide

    def starts(self, time: int) -> range:
        """Where the windows begin that hold ``time``, in order."""
        last = self.last_start(time)
        first = last - (last - 1 - (time - self.size)) // self.slide * self.slide
        return range(first, last + 1, self.slide)

    def piece(self, time: int) -> tuple[int, int]:
        """The piece between two borders of windows that ``time`` is in: each window is made of whole pieces.

        There are at most two for each slide, whatever size and slide have in common.
        """
        start = self.last_start(time)
        border = start + self.size % self.slide
        if border == start:
            return start, start + self.slide
        return (start, border) if time < border else (border, start + self.slide)
