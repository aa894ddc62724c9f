"""What waits to go round a loop again: in memory up to a limit, then on disk up to another, and never anybody for it.

A back edge must not block: who sends by it may be what its receiver waits for. So its inboxes take whatever comes.
"""

from __future__ import annotations

import pickle
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import IO

from sage.core.engine.histogram import Histogram
from sage.core.engine.links import Inbox
from sage.core.engine.messages import Batch, Message
from sage.core.errors import FeedbackError

__all__ = ["Backlog", "SpillingInbox"]

_SEGMENT = 1 << 24
"""Bytes after which a further file is begun: one that was read is given back."""


class Backlog:
    """The room for what waits at the head of a loop, which its inboxes share.

    Args:
        loop: its name.
        in_memory: records that there is room for in memory.
        on_disk: bytes that there is room for on disk.
        folder: where files are made; None for the system's folder for them. No file ever has a name, so that none is
            left whatever happens, and nobody else can open it.

    Attributes:
        records: in memory.
        bytes: on disk.
        error: why something was not kept.
        spilled: bytes that were written so far.
    """

    def __init__(self, loop: str, in_memory: int, on_disk: int, folder: Path | None = None) -> None:
        self.loop = loop
        self.in_memory = in_memory
        self.on_disk = on_disk
        self.lock = Lock()
        self.records = 0
        self.bytes = 0
        self.spilled = 0
        self.waiting = 0
        self.error: FeedbackError | None = None
        self._folder = folder
        self._files: set[IO[bytes]] = set()
        self._closed = False

    def open(self) -> IO[bytes]:
        """A new file. Raises OSError."""
        # Unbuffered, so that what does not fit on the disk fails where it is written.
        file = tempfile.TemporaryFile(prefix="sage-loop-", dir=self._folder, buffering=0)  # noqa: SIM115 - see give_back
        self._files.add(file)
        return file

    def give_back(self, file: IO[bytes]) -> None:
        """Close a file that is not needed any more."""
        self._files.discard(file)
        file.close()

    def refuse(self, message: str, hint: str) -> None:
        """Note why a record cannot be kept; the first reason counts."""
        if self.error is None:
            self.error = FeedbackError(f"the loop '{self.loop}' {message}", hint=hint, loop=self.loop)

    def close(self) -> None:
        """Give all files back. What comes from now on is nobody's any more."""
        with self.lock:
            self._closed = True
            for file in [*self._files]:
                self.give_back(file)

    @property
    def is_closed(self) -> bool:
        return self._closed


class SpillingInbox(Inbox):
    """An inbox without a limit. One thread puts, one takes; order is kept.

    Args:
        backlog: the room that it shares with the other inboxes of its task.
    """

    __slots__ = ("_backlog", "_segments", "_written")

    def __init__(
        self,
        backlog: Backlog,
        wake: Callable[[], None],
        now: Callable[[], float] = perf_counter,
        edge: int = 0,
        waits: Histogram | None = None,
    ) -> None:
        super().__init__(wake, now, edge, waits)
        self._backlog = backlog
        self._segments: deque[_Segment] = deque()  # bounded by the backlog's room on disk
        self._written = 0  # messages on disk

    def __len__(self) -> int:
        return len(self._queue) + self._written

    def put(self, message: Message) -> None:
        backlog, count = self._backlog, _records(message)
        with backlog.lock:
            fits = not self._written and (not count or backlog.records + count <= backlog.in_memory)
            if fits or backlog.is_closed:
                self._queue.append((self._now(), message))
                backlog.records += count
            backlog.waiting += count
        if not fits and not backlog.is_closed:
            self._spill(message, count)
        self._wake()

    def take(self) -> Message | None:
        with self._backlog.lock:
            if self._queue:
                arrived, message = self._queue.popleft()
                self._backlog.records -= _records(message)
                saved = None
            elif self._written and self._backlog.error is None and not self._backlog.is_closed:
                try:
                    saved = self._read()
                except OSError as error:
                    self._backlog.refuse(f"cannot read back what it has written: {error}", "look after the disk")
                    return None
            else:
                return None
        if saved is not None:
            try:
                arrived, message = pickle.loads(saved)  # noqa: S301 - written by this very process
            except Exception as error:
                self._backlog.refuse(f"cannot read back what it has written: {error!r}", _PICKLABLE)
                return None
        with self._backlog.lock:
            self._backlog.waiting -= _records(message)
        if type(message) is Batch:
            self.arrived = arrived
            self.waits.add(self._now() - arrived)
        if self._granted is not None:
            self._granted(1)
        return message

    def _spill(self, message: Message, count: int) -> None:
        backlog = self._backlog
        if backlog.error is not None:
            return
        try:
            saved = pickle.dumps((self._now(), message), protocol=5)
        except Exception as error:
            backlog.refuse(
                f"has more than {backlog.in_memory:,} records waiting to go round again, and cannot write them to disk:"
                f" {error!r}",
                _PICKLABLE,
            )
            return
        with backlog.lock:
            if backlog.is_closed:
                return
            if not self._written and (not count or backlog.records + count <= backlog.in_memory):
                self._queue.append((self._now(), message))  # meanwhile there is room
                backlog.records += count
            elif backlog.bytes + len(saved) > backlog.on_disk:
                backlog.refuse(
                    f"makes more of its records than can wait to go round again: {backlog.waiting:,} of them, more than"
                    f" the {backlog.in_memory:,} records and {backlog.on_disk:,} bytes that it may keep in memory and"
                    " on disk",
                    "let more of them leave the loop, or raise in_memory and on_disk of env.from_future(…)",
                )
            else:
                try:
                    self._write(saved)
                except OSError as error:
                    backlog.refuse(f"cannot write to disk what waits to go round again: {error}", "make room there")

    def _write(self, saved: bytes) -> None:
        if not self._segments or self._segments[-1].end >= _SEGMENT:
            self._segments.append(_Segment(self._backlog.open()))
        segment = self._segments[-1]
        segment.file.seek(segment.end)
        rest = memoryview(saved)
        while rest:
            rest = rest[segment.file.write(rest) :]
        segment.end += len(saved)
        segment.sizes.append(len(saved))
        self._written += 1
        self._backlog.bytes += len(saved)
        self._backlog.spilled += len(saved)

    def _read(self) -> bytes:
        segment = self._segments[0]
        size = segment.sizes.popleft()
        segment.file.seek(segment.start)
        saved = segment.file.read(size)
        segment.start += size
        self._written -= 1
        self._backlog.bytes -= size
        if not segment.sizes:
            self._segments.popleft()
            self._backlog.give_back(segment.file)
        return saved


_PICKLABLE = "records of a loop have to be picklable, their classes found under their module and name"


class _Segment:
    """One file: messages behind one another, which are read from its beginning."""

    __slots__ = ("end", "file", "sizes", "start")

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.start = self.end = 0
        self.sizes: deque[int] = deque()


def _records(message: Message) -> int:
    return len(message.records) if type(message) is Batch else 0
