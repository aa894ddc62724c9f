"""How a task spends its time: measured at every slice, so it has to cost next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sage.core.engine.histogram import Histogram

__all__ = ["TaskMeter"]


class TaskMeter:
    """The clock readings of one task. Its thread writes, any thread may read.

    Args:
        now: the clock of its host, in seconds.
        latency: of records, from their arrival to the end of the slice that processed them.

    Attributes:
        since: when the user's code was entered that is running now, None in between.
        began, ended: of the newest slice.
        busy: seconds in slices so far.
    """

    __slots__ = ("_backpressured", "_blocked_since", "_started", "began", "busy", "ended", "latency", "now", "since")

    def __init__(self, now: Callable[[], float], latency: Histogram) -> None:
        self.now = now
        self.latency = latency
        self.since: float | None = None
        self.began = self.ended = 0.0
        self.busy = 0.0
        self._started: float | None = None
        self._backpressured = 0.0
        self._blocked_since: float | None = None

    @property
    def is_started(self) -> bool:
        """Whether the task has begun to work."""
        return self._started is not None

    def start(self) -> None:
        """The task begins to work; shares of time are of the time since."""
        self._started = self.now()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Code of the user's runs in here, outside of slices, of which it can be told how long it takes."""
        self.since = self.now()
        try:
            yield
        finally:
            self.since = None

    def blocked(self, blocked: bool) -> None:
        """The task has looked for credits, and has to wait for them or not."""
        now = self.now()
        if self._blocked_since is not None:
            self._backpressured += now - self._blocked_since
        self._blocked_since = now if blocked else None

    def shares(self, coroutines: float, since: float | None) -> tuple[float, float]:
        """The shares of its time, from 0 to 1, that the task was busy, and was held back by those who come after.

        Args:
            coroutines: seconds in which the task ran coroutines between its slices.
            since: when the user's code was entered that is running now, in a slice or between them.
        """
        busy = self.busy + coroutines
        backpressured, blocked_since = self._backpressured, self._blocked_since
        now = self.now()
        elapsed = 0.0 if self._started is None else now - self._started
        if not elapsed:
            return 0.0, 0.0
        busy += 0.0 if since is None else now - since
        backpressured += 0.0 if blocked_since is None else now - blocked_since
        return min(1.0, busy / elapsed), min(1.0, backpressured / elapsed)
