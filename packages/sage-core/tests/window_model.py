"""Windows as Flink defines them, computed one record at a time over plain lists: what the engine is held to.

It knows nothing of panes, slots or timers: each window of each key is a list of records, and all windows are looked at
whenever event time moves on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

__all__ = ["Arrival", "Cut", "Fired", "Model", "When", "by_window", "play"]

NEVER = 10**9


class Arrival(NamedTuple):
    """A record that arrives: whose it is, when it happened, which it is, and the watermark that follows it, if any."""

    key: str
    time: int
    number: int
    mark: int | None = None


class Fired(NamedTuple):
    """What a window put out: the numbers of the records that it held."""

    key: str
    start: int
    end: int
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """How time is cut: into windows of ``size``, one each ``slide``; or, with ``gap``, into sessions."""

    size: int = 0
    slide: int = 0
    offset: int = 0
    gap: int = 0

    def windows(self, time: int) -> list[tuple[int, int]]:
        """The windows of a record by itself."""
        if self.gap:
            return [(time, time + self.gap)]
        around = range(time - self.size, time + self.size + 1)
        starts = [start for start in around if (start - self.offset) % self.slide == 0]
        return [(start, start + self.size) for start in starts if start <= time < start + self.size]


@dataclass(frozen=True)
class When:
    """When a window fires: at its end, after so many records before it, and after so many from then on."""

    at_end: bool = True
    early: int = 0
    late: int = 1
    accumulate: bool = True


@dataclass
class _Window:
    key: str
    start: int
    end: int
    held: list[int] = field(default_factory=list)
    since: int = 0
    passed: bool = False

    def fire(self, when: When) -> Iterator[Fired]:
        self.since = 0
        if self.held:
            yield Fired(self.key, self.start, self.end, tuple(sorted(self.held)))
        if not when.accumulate:
            self.held = []


class Model:
    """All windows of a stream.

    Times are whole; a window [0, 10) has passed when the watermark is at 9, if nothing is finer than a second.
    """

    def __init__(self, cut: Cut, when: When, lateness: float) -> None:
        self._cut = cut
        self._when = when
        self._lateness = lateness
        self._windows: list[_Window] = []
        self._now = -NEVER
        self.late: list[int] = []

    def add(self, arrival: Arrival) -> list[Fired]:
        """A record arrives. Returns what fires at once."""
        own = [_Window(arrival.key, start, end) for start, end in self._cut.windows(arrival.time)]
        windows = [self._merged(own[0])] if self._cut.gap else [self._known(window) for window in own]
        alive = [window for window in windows if window.end - 1 + self._lateness > self._now]
        if not alive:
            self.late.append(arrival.number)
        fired: list[Fired] = []
        for window in alive:
            if window not in self._windows:
                self._windows.append(window)
            window.held.append(arrival.number)
            window.since += 1
            window.passed = window.end - 1 <= self._now
            count = self._when.late if window.passed else self._when.early
            if count and window.since >= count:
                fired += window.fire(self._when)
        return fired

    def _known(self, window: _Window) -> _Window:
        return next(
            (w for w in self._windows if (w.key, w.start, w.end) == (window.key, window.start, window.end)), window
        )

    def _merged(self, window: _Window) -> _Window:
        parts = [w for w in self._windows if w.key == window.key and w.start <= window.end and window.start <= w.end]
        for part in parts:
            self._windows.remove(part)
            window.start, window.end = min(window.start, part.start), max(window.end, part.end)
            window.held += part.held
            window.since += part.since
        if parts:
            self._windows.append(window)
        return window

    def advance(self, mark: int) -> list[Fired]:
        """Event time has come to ``mark``. Returns what fires for that, in the order of the windows' ends."""
        self._now = max(self._now, mark)
        fired: list[Fired] = []
        ends = [(window.end - 1, False, window) for window in self._windows]
        gone = [(window.end - 1 + self._lateness, True, window) for window in self._windows]
        for instant, is_gone, window in sorted([*ends, *gone], key=lambda found: found[:2]):
            if instant > self._now:
                break
            if not is_gone and self._when.at_end and not window.passed:
                window.passed = True
                fired += window.fire(self._when)
            if is_gone:
                if self._when.at_end and window.since:
                    fired += window.fire(self._when)
                self._windows.remove(window)
        return fired


def play(arrivals: Sequence[Arrival], model: Model) -> list[Fired]:
    """All that fires for records that arrive in this order, and at the end of input."""
    fired: list[Fired] = []
    for arrival in arrivals:
        fired += model.add(arrival)
        if arrival.mark is not None:
            fired += model.advance(arrival.mark)
    return fired + model.advance(NEVER)


def by_window(fired: Sequence[Fired]) -> list[list[Fired]]:
    """The same, with what fires for one end put together: between keys there is no order."""
    return [sorted(group) for _, group in groupby(fired, key=lambda one: one.end)]
