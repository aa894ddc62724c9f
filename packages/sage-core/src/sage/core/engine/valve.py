"""From the watermarks of several channels to that of a task."""

from __future__ import annotations

from sage.core.engine.event_time import MAX_TIME, MIN_TIME

__all__ = ["Valve"]


class Valve:
    """The event time of an input is that of its slowest channel, of those that are not idle.

    Where all are idle, the furthest of them tells the time, since none is waited for. It never goes back: a channel
    that wakes up behind it brings late records, and is not waited for until it has caught up, so that one that is a day
    behind does not hold up all others.

    Args:
        channels: how many there are, which have times.

    Attributes:
        time: up to which everything has come.
        idle: whether all channels that are open are idle.
    """

    __slots__ = ("_ended", "_idle", "_marks", "idle", "time")

    def __init__(self, channels: int) -> None:
        self._marks = [MIN_TIME] * channels
        self._idle = [False] * channels
        self._ended = [False] * channels
        self.time = MIN_TIME
        self.idle = False

    def mark(self, channel: int, time: int, *, idle: bool = False) -> bool:
        """A watermark has come by ``channel``; one that goes back changes nothing. Returns whether there is news."""
        before = self._marks[channel]
        if time > before:
            self._marks[channel] = time
        elif idle is self._idle[channel]:
            return False
        if before > self.time and not idle and not self._idle[channel]:  # it was not this one that was waited for
            return False
        self._idle[channel] = idle
        return self._settle()

    def end(self, channel: int) -> bool:
        """Nothing follows by ``channel``: the others need not wait for it. Returns whether there is news."""
        self._ended[channel] = True
        self._marks[channel] = MAX_TIME
        return self._settle()

    def _settle(self) -> bool:
        time, idle = self.time, self.idle
        left = [number for number, ended in enumerate(self._ended) if not ended]
        active = [self._marks[number] for number in left if not self._idle[number]]
        if active:
            self.idle = False
            self.time = min((mark for mark in active if mark >= time), default=time)
        elif left:
            self.idle = True
            self.time = max(time, *(self._marks[number] for number in left))
        return self.time > time or self.idle is not idle
