"""Channels between tasks: ordered, lossless, bounded by credits.

Every edge between two subtasks has its own inbox and its own credits. A sender that has no credit left is
told so at once and woken when one comes back; delivery never blocks in the receiver, so a slow edge can
never stall another.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from sage.core.engine.histogram import Histogram
from sage.core.engine.messages import Batch, Message

__all__ = ["CREDITS", "Inbox", "Link", "LocalLink", "Signal"]

CREDITS = 8
"""Batches that one edge may hold."""


class Signal:
    """Wakes one waiting thread; setting it twice is setting it once.

    A bare lock used as a binary semaphore: about a tenth of the cost of `threading.Event`, which matters
    because every hand-over between two tasks goes through one.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:  # it is set already
            return

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until set, at most ``timeout`` seconds, and clear it. Returns whether it was set."""
        return self._lock.acquire(True, -1 if timeout is None else timeout)


class Link(Protocol):
    """The sending end of one edge."""

    def offer(self, message: Message) -> bool:
        """Hand over a message; False if there is no credit, and then nothing was taken."""

    def on_credit(self, callback: Callable[[], None]) -> None:
        """Call ``callback``, from any thread, when a credit has come back after an offer was refused."""


class Inbox:
    """The receiving end of one edge. One thread takes; any thread may put.

    Args:
        wake: called after each put.
        now: tells the time.
        edge: of the plan; an edge has as many inboxes in a task as it has upstream subtasks.
        waits: how long batches have waited here; the inboxes of one edge in one task share it.

    Attributes:
        arrived: when the batch that was taken last had been put.
        credits: messages that it may hold; None for no limit.
    """

    __slots__ = ("_granted", "_now", "_queue", "_wake", "arrived", "credits", "edge", "waits")

    def __init__(
        self,
        wake: Callable[[], None],
        now: Callable[[], float] = perf_counter,
        edge: int = 0,
        waits: Histogram | None = None,
    ) -> None:
        self._queue: deque[tuple[float, Message]] = deque()  # bounded by the credits of its edge
        self._wake = wake
        self._now = now
        self._granted: Callable[[int], None] | None = None
        self.edge = edge
        self.waits = Histogram() if waits is None else waits
        self.arrived = 0.0
        self.credits: int | None = CREDITS

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def fill(self) -> float:
        """The share of its credits that is in use; 0 where there is no limit."""
        return min(1.0, len(self._queue) / self.credits) if self.credits else 0.0

    def on_take(self, granted: Callable[[int], None]) -> None:
        """Call ``granted(1)`` for each message taken: the way back of a credit."""
        self._granted = granted

    def put(self, message: Message) -> None:
        self._queue.append((self._now(), message))
        self._wake()

    def take(self) -> Message | None:
        """The oldest message, or None."""
        try:
            arrived, message = self._queue.popleft()
        except IndexError:
            return None
        if type(message) is Batch:
            self.arrived = arrived
            self.waits.add(self._now() - arrived)
        if self._granted is not None:
            self._granted(1)
        return message


class LocalLink:
    """A link to an inbox in the same process.

    Args:
        inbox: where messages go.
        credits: how many messages the inbox may hold; None for no limit.
    """

    __slots__ = ("_callback", "_credits", "_inbox", "_refused")

    def __init__(self, inbox: Inbox, credits: int | None = CREDITS) -> None:
        self._inbox = inbox
        self._credits = inbox.credits = credits
        self._refused = False
        self._callback: Callable[[], None] | None = None
        inbox.on_take(self._grant)

    def on_credit(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def offer(self, message: Message) -> bool:
        if self._credits is not None and len(self._inbox) >= self._credits:
            # Said before looking again, so that a credit granted in between is not missed.
            self._refused = True
            if len(self._inbox) >= self._credits:
                return False
            self._refused = False
        self._inbox.put(message)
        return True

    def _grant(self, count: int) -> None:
        if self._refused:
            self._refused = False
            if self._callback is not None:
                self._callback()
