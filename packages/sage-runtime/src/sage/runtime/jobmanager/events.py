"""Fan-out of jobs' changes to those who wait for them: long polls and server-sent events.

Each reader has a bounded buffer. One that does not keep up is cut off rather than waited for: the events file has
everything, so a reader that comes back with the last sequence number it saw misses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sage.runtime.jobmanager.problems import BusyError
from sage.runtime.jobmanager.store import Row

__all__ = ["Change", "Hub", "HubClosedError", "SlowReaderError", "Subscription"]

_BUFFER = 256


class SlowReaderError(Exception):
    """This reader's buffer was full; it was cut off."""


class HubClosedError(Exception):
    """The JobManager is stopping; no more changes come."""


@dataclass(frozen=True)
class Change:
    """Something about a job changed.

    Attributes:
        row: the job as the index has it now.
        event: the line of the events file, None if only the mark or the counts changed.
        deleted: the job is gone.
    """

    row: Row
    event: Mapping[str, Any] | None = None
    deleted: bool = False


class Subscription:
    """The changes of one job, or of all, since it was made."""

    def __init__(self, number: int | None, buffer: int) -> None:
        self.number = number
        self._changes: asyncio.Queue[Change | None] = asyncio.Queue(buffer + 1)  # one more for the end mark
        self._buffer = buffer
        self._end: type[Exception] | None = None

    async def next(self, within: float | None = None) -> Change | None:
        """The next change, None if none comes within so many seconds.

        Raises:
            SlowReaderError, HubClosedError: nothing more will come, and why.
        """
        try:
            async with asyncio.timeout(within):
                change = await self._changes.get()
        except TimeoutError:
            return None
        if change is None:
            assert self._end is not None
            raise self._end
        return change

    def _offer(self, change: Change) -> bool:
        if self._end is not None:
            return False
        if self._changes.qsize() >= self._buffer:
            self._finish(SlowReaderError)
            return False
        self._changes.put_nowait(change)
        return True

    def _finish(self, reason: type[Exception]) -> None:
        if self._end is None:
            self._end = reason
            if reason is SlowReaderError:
                while not self._changes.empty():
                    self._changes.get_nowait()
            self._changes.put_nowait(None)


class Hub:
    """Hands every change to every subscription that wants it. Belongs to one event loop.

    Args:
        readers: how many subscriptions there may be at once.
        buffer: how many changes one of them may lag behind.
    """

    def __init__(self, *, readers: int, buffer: int = _BUFFER) -> None:
        self._readers = readers
        self._buffer = buffer
        self._closed = False
        self._all: set[Subscription] = set()
        self._by_job: dict[int, set[Subscription]] = {}

    def __len__(self) -> int:
        return len(self._all) + sum(len(readers) for readers in self._by_job.values())

    @property
    def closed(self) -> bool:
        return self._closed

    def check_room(self) -> None:
        """Return if one more may subscribe, else raise BusyError."""
        if self._closed:
            raise BusyError("the JobManager is stopping", hint="try again when it has started anew")
        if len(self) >= self._readers:
            raise BusyError(
                f"{self._readers} readers wait for events already", hint="close some of them, or try again later"
            )

    @contextmanager
    def subscribe(self, number: int | None = None) -> Iterator[Subscription]:
        """A subscription to job ``number`` (None: to all jobs), which ends with the block.

        Raises:
            BusyError: too many are subscribed already, or the hub is closed.
        """
        self.check_room()
        subscription = Subscription(number, self._buffer)
        readers = self._all if number is None else self._by_job.setdefault(number, set())
        readers.add(subscription)
        try:
            yield subscription
        finally:
            readers.discard(subscription)
            if number is not None and not readers:
                self._by_job.pop(number, None)

    def publish(self, change: Change) -> None:
        """Hand out ``change``; never waits."""
        for readers in (self._all, self._by_job.get(change.row.number, set())):
            for subscription in list(readers):
                subscription._offer(change)

    def close(self) -> None:
        """End all subscriptions and refuse new ones."""
        self._closed = True
        for readers in (self._all, *self._by_job.values()):
            for subscription in list(readers):
                subscription._finish(HubClosedError)
