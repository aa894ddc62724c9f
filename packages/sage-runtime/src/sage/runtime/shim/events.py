"""The events file: the truth about one job, one JSON object a line, written by exactly one process at a time.

Each line holds ``seq`` (from 1, without gaps), ``time``, ``state``, ``reason``, ``attempt``, ``epoch`` and, where they
apply, ``failure``, ``tasks`` and ``services``. A line counts once its newline is there: a torn last line is ignored by
readers and cut off by the next writer.
"""

# pathlib would cost the shim a third of its start.
# ruff: noqa: PTH110, PTH120

from __future__ import annotations

import errno
import fcntl
import json
import os
import time

from sage.runtime.shim.files import open_plain, sync_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["EventsCorruptError", "EventsFile", "EventsFileBusyError", "is_event", "now", "read_events"]

_READ = 1 << 16
_LARGEST = 1 << 31


class EventsFileBusyError(Exception):
    """Another process writes this events file, so it owns the job. (No SageError: the shim has no sage-core.)"""

    def __init__(self, path: str) -> None:
        super().__init__(f"another process writes {path}: it owns this job")
        self.path = path


class EventsCorruptError(ValueError):
    """A complete line of the events file is not an event; ``path`` and ``line`` (from 1) say where."""

    def __init__(self, path: str, line: int) -> None:
        super().__init__(f"{path}:{line}: not an event; the file was damaged from outside")
        self.path = path
        self.line = line


def now() -> str:
    """The present time as events carry it: RFC 3339, UTC, milliseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds // 1_000_000:03d}Z"


class EventsFile:
    """The events file opened for writing; holds its lock until `close()`.

    Attributes:
        path: where it lies.
        last: the newest durable event, None in an empty file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open or create the file, take its lock and cut off a torn last line.

        Raises:
            EventsFileBusyError: another process holds the lock.
            EventsCorruptError: a complete line is not an event.
        """
        self.path = os.fspath(path)
        self.last: dict[str, Any] | None = None
        existed = os.path.exists(self.path)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            self._lock()
            self._end = 0
            for event, end in _scan(self._fd, self.path, 0, 0):
                self.last, self._end = event, end
            self._cut()
            if not existed:
                sync_folder(os.path.dirname(self.path) or ".")
        except BaseException:
            os.close(self._fd)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise EventsFileBusyError(self.path) from None
            raise

    def _cut(self) -> None:
        if os.fstat(self._fd).st_size != self._end:
            os.ftruncate(self._fd, self._end)

    @property
    def last_seq(self) -> int:
        return self.last["seq"] if self.last is not None else 0

    @property
    def end(self) -> int:
        """The number of bytes in complete, durable lines."""
        return self._end

    def append(
        self, state: str, *, reason: str | None = None, attempt: int = 1, epoch: int = 0, **more: Any
    ) -> dict[str, Any]:
        """Write an event of the present time and flush it to disk; see `append_event`."""
        return self.append_event(
            {"time": now(), "state": state, "reason": reason, "attempt": attempt, "epoch": epoch, **more}
        )

    def append_event(self, event: dict[str, Any]) -> dict[str, Any]:
        """Write ``event`` under the next sequence number and flush it to disk; returns it as written.

        Raises:
            OSError: it could not be made durable (no space, an I/O error). The file is as before and the same event
                may be tried again.
        """
        numbered = {"seq": self.last_seq + 1, **event}
        line = json.dumps(numbered, separators=(",", ":")).encode() + b"\n"
        try:
            self._cut()
            written = 0
            while written < len(line):
                written += os.pwrite(self._fd, line[written:], self._end + written)
            os.fsync(self._fd)
        except OSError:
            self._cut()
            raise
        self._end += len(line)
        self.last = numbered
        return numbered

    def read(self, offset: int, limit: int) -> bytes:
        """At most ``limit`` bytes of complete lines from byte ``offset``."""
        return os.pread(self._fd, min(limit, self._end - offset), offset) if offset < self._end else b""

    def offset_after(self, seq: int) -> int:
        """The byte at which the event after ``seq`` begins, or will begin."""
        offset = 0
        for event, end in _scan(self._fd, self.path, 0, 0):
            if event["seq"] > seq or end > self._end:
                break
            offset = end
        return offset

    def close(self) -> None:
        """Let go of the file and its lock; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> EventsFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(path: str | os.PathLike[str], after: int = 0) -> list[dict[str, Any]]:
    """The events with a sequence number above ``after``; needs no lock, and none if there is no file.

    Raises:
        EventsCorruptError: a complete line is not an event.
    """
    path = os.fspath(path)
    try:
        descriptor = open_plain(path)
    except FileNotFoundError:
        return []
    try:
        return [event for event, _ in _scan(descriptor, path, 0, 0) if event["seq"] > after]
    finally:
        os.close(descriptor)


def is_event(value: object) -> bool:
    """Whether ``value`` is an event as this module writes them; readers rely on the types of its fields."""
    return (
        isinstance(value, dict)
        and _is_count(value.get("seq"))
        and isinstance(value.get("time"), str)
        and isinstance(value.get("state"), str)
        and isinstance(value.get("reason"), (str, type(None)))
        and all(_is_count(value.get(name, 0)) for name in ("attempt", "epoch", "tasks", "services"))
        and isinstance(value.get("failure"), (dict, type(None)))
    )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _scan(descriptor: int, path: str, offset: int, seq: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Each complete event after ``offset``, whose predecessor is ``seq``, with the offset at which it ends."""
    rest = b""
    while True:
        chunk = os.pread(descriptor, _READ, offset + len(rest))
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                event = None
            if not is_event(event) or event["seq"] != seq + 1:
                raise EventsCorruptError(path, seq + 1)
            seq += 1
            offset += len(line) + 1
            yield event, offset
