"""A channel between two workers: messages one way, and credits back the other way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sage.core.backends.api import CREDITS, Message, encode
from sage_plugins_example.processes.line import Line

__all__ = ["GRANT", "MESSAGE", "Grants", "WorkerLink"]

MESSAGE = 1
"""The kind of a frame that carries a message of the channel with its number."""

GRANT = 2
"""The kind of a frame that gives so many credits of a channel back."""

_MOST_UNSENT = 1 << 26
"""Bytes that may wait to be sent to another worker: beyond that nothing more is pickled for it."""

_MOST_UNTAKEN = 1 << 26
"""Bytes of one channel that may be on their way or not taken yet, unless a single message has more."""

_GRANT_BYTES = 1 << 23
"""Credits go back several at a time, unless what was taken is as large as this."""


class WorkerLink:
    """The sending end.

    Args:
        line: to the receiver's worker.
        number: of the channel.
        credits: messages that may be on their way, or not taken yet; None for no limit.
    """

    def __init__(self, line: Line, number: int, credits: int | None) -> None:
        self._line = line
        self._number = number
        self._credits = credits
        self._sizes: deque[int] = deque()  # of messages whose credits have not come back
        self._sent = self._sent_bytes = 0  # counted by the task's thread
        self._granted = self._granted_bytes = 0  # counted by the loop's
        self._refused = False
        self._callback: Callable[[], None] = lambda: None

    def on_credit(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def offer(self, message: Message) -> bool:
        """Raises TransferError: a record of the message cannot be pickled."""
        if not self._is_free():
            # Said before looking again, so that a credit that comes back in between is not missed.
            self._refused = True
            if not self._is_free():
                return False
            self._refused = False
        data, buffers = encode(message)
        if self._credits is not None:
            size = len(data) + sum(map(len, buffers))
            self._sizes.append(size)
            self._sent_bytes += size
            self._sent += 1
        self._line.post(MESSAGE, self._number, 0, [data, *buffers])
        return True

    def grant(self, count: int) -> None:
        """So many credits have come back, or there is room on the line again."""
        self._granted_bytes += sum(self._sizes.popleft() for _ in range(count))
        self._granted += count
        if self._refused:
            self._refused = False
            self._callback()

    def _is_free(self) -> bool:
        if self._line.is_broken or self._line.waiting > _MOST_UNSENT:
            return False
        if self._credits is None:
            return True
        return self._sent - self._granted < self._credits and self._sent_bytes - self._granted_bytes < _MOST_UNTAKEN


class Grants:
    """The receiving end: gives credits back as messages are taken.

    Args:
        line: to the sender's worker.
        number: of the channel.
    """

    def __init__(self, line: Line, number: int) -> None:
        self._line = line
        self._number = number
        self._sizes: deque[int] = deque()  # of messages that were not taken yet
        self._count = self._bytes = 0  # taken, and not told yet

    def arrived(self, size: int) -> None:
        """A message of so many bytes is about to be handed over."""
        self._sizes.append(size)

    def taken(self, count: int) -> None:
        """So many messages were taken."""
        self._count += count
        self._bytes += sum(self._sizes.popleft() for _ in range(count))
        if self._count >= CREDITS // 2 or self._bytes >= _GRANT_BYTES:
            self._line.post(GRANT, self._number, self._count)
            self._count = self._bytes = 0
