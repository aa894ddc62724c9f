"""The session log: one plain text file per run of the daemon, made for ``tail -F``.

It carries what the daemon does, each job's changes of state and, at a bounded rate, the output lines of jobs
prefixed ``job N``. A thread of its own writes it, so that a slow disk never holds up a request; its queue is bounded,
and what did not fit is counted and said.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sage.runtime.jobmanager.allowance import Allowance

__all__ = ["LineBudget", "SessionLog", "plain"]

_QUEUE_LENGTH = 20_000
_LATEST = "latest.log"
_MAX_LINE = 4_000
_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s"


class SessionLog:
    """Opens ``<folder>/session_<timestamp>.log``, links ``latest.log`` to it and prunes what is too old.

    Args:
        folder: where session logs live.
        max_bytes: size at which the file is rotated to ``….log.1``.
        keep: how many rotated files a session keeps, and how many sessions are kept beside this one.
        echo: also write the daemon's own lines (not those of jobs) to stderr.
    """

    def __init__(self, folder: Path, *, max_bytes: int, keep: int, echo: bool = False) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._keep = keep
        self._echo = echo
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
        self.path = _fresh(folder, f"session_{stamp}")
        self._descriptor = _open(self.path)
        self._size = 0
        self._link_latest()
        self._prune()
        self._queue: queue.Queue[tuple[str, bool] | None] = queue.Queue(_QUEUE_LENGTH)
        self._dropped = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="session-log", daemon=True)
        self._thread.start()

    def handler(self) -> logging.Handler:
        """A logging handler that writes here."""
        return _Handler(self)

    def write(self, text: str, *, echo: bool = True) -> None:
        """Add lines (without a line end). Never blocks; counts what does not fit."""
        try:
            self._queue.put_nowait((text, echo))
        except queue.Full:
            with self._lock:
                self._dropped += 1

    def close(self, timeout: float = 5.0) -> None:
        """Write what is queued, then close the file."""
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _run(self) -> None:
        running = True
        while running:
            batch = [self._queue.get()]
            while len(batch) < 500 and not self._queue.empty():
                batch.append(self._queue.get())
            running = None not in batch
            lines = [item for item in batch if item is not None]
            with self._lock:
                dropped, self._dropped = self._dropped, 0
            if dropped:
                lines.append((f"({dropped} lines are missing here: they came faster than the disk took them)", True))
            self._put(lines)
        os.close(self._descriptor)

    def _put(self, lines: list[tuple[str, bool]]) -> None:
        data = "".join(f"{text}\n" for text, _ in lines).encode("utf-8", errors="backslashreplace")
        try:
            if self._size and self._size + len(data) > self._max_bytes:
                self._rotate()
            os.write(self._descriptor, data)
            self._size += len(data)
        except OSError as error:
            # A full disk must not end the daemon; the loss is told as soon as there is room.
            with self._lock:
                self._dropped += len(lines)
            if self._echo:
                sys.stderr.write(f"the session log cannot be written: {error}\n")
        if self._echo:
            sys.stderr.write("".join(f"{text}\n" for text, echo in lines if echo))
            sys.stderr.flush()

    def _rotate(self) -> None:
        oldest = self._numbered(self._keep)
        oldest.unlink(missing_ok=True)
        for number in range(self._keep - 1, 0, -1):
            if self._numbered(number).exists():
                self._numbered(number).rename(self._numbered(number + 1))
        if self._keep:
            self.path.rename(self._numbered(1))
        else:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = _open(self.path)
        self._size = 0

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _link_latest(self) -> None:
        new = self._folder / f".{_LATEST}.{os.getpid()}"
        new.unlink(missing_ok=True)
        new.symlink_to(self.path.name)
        new.rename(self._folder / _LATEST)

    def _prune(self) -> None:
        sessions = sorted({entry.name.split(".log", 1)[0] for entry in self._folder.glob("session_*.log*")})
        own = self.path.name.removesuffix(".log")
        earlier = [name for name in sessions if name != own]
        for name in earlier[: max(0, len(earlier) - self._keep)]:
            for entry in self._folder.glob(f"{name}.log*"):
                entry.unlink(missing_ok=True)


def _fresh(folder: Path, name: str) -> Path:
    path = folder / f"{name}.log"
    number = 2
    while path.exists():
        path = folder / f"{name}_{number:02d}.log"
        number += 1
    return path


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


class _Handler(logging.Handler):
    def __init__(self, log: SessionLog) -> None:
        super().__init__()
        self._log = log
        formatter = logging.Formatter(_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._log.write(self.format(record))
        except Exception:
            self.handleError(record)


class LineBudget:
    """Output lines of one job on their way into the session log, bounded in rate and length.

    Args:
        prefix: ``job 3``.
        write: takes each line.
        per_second: lines a second that pass in the long run.
        burst: lines that pass at once after silence.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        prefix: str,
        write: Callable[[str], None],
        *,
        per_second: float = 200.0,
        burst: int = 1_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prefix = prefix
        self._write = write
        self._allowance = Allowance(per_second=per_second, burst=burst, clock=clock)
        self._left_out = 0
        self._skipped = 0

    def add(self, lines: list[str]) -> None:
        """Pass on the lines that the budget allows; the count of others is told when it is over."""
        allowed = self._allowance.take(len(lines))
        if allowed:
            self.settle()
        for line in lines[:allowed]:
            self._write(f"{self._prefix} | {plain(line)}")
        self._left_out += len(lines) - allowed

    def skip(self, size: int) -> None:
        """Count bytes that were not even read."""
        self._skipped += size

    def settle(self) -> None:
        """Say how much was left out, if any was."""
        parts = [f"{self._left_out} lines"] if self._left_out else []
        parts += [f"{self._skipped} bytes"] if self._skipped else []
        if parts:
            self._write(f"{self._prefix} | ({' and '.join(parts)} left out here; its own log has them)")
        self._left_out = self._skipped = 0


def plain(line: str) -> str:
    """Text as one line that a terminal may show: no control characters (they could forge lines), bounded length."""
    shown = line[:_MAX_LINE]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in shown)
    return shown if len(line) <= _MAX_LINE else f"{shown}… ({len(line)} characters)"
