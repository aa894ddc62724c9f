"""Threads that each own one connection to a SQLite database, for the use of an event loop.

Writes that arrive while another is being flushed share one transaction, each in a savepoint of its own, so that a
burst of submissions costs few flushes and a failing write takes nobody else's with it.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from sage.core.errors import LimitExceededError, SageError
from sage.runtime.jobmanager.problems import BusyError

__all__ = ["DatabaseThread", "StoreError", "Work", "connect"]

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""What is done with a connection, on its thread."""

_QUEUE_LENGTH = 4096
_BATCH = 256


class StoreError(SageError):
    """The index of jobs cannot be opened, read or written."""

    code = "store"
    exit_code = 10


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose commits survive a power cut; for one thread at a time."""
    connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


class DatabaseThread:
    """Owns one connection and does what it is asked, in order.

    Args:
        connection: closed when the thread ends.
        writes: work is done in transactions; without, it may only read.
    """

    def __init__(self, name: str, connection: sqlite3.Connection, *, writes: bool) -> None:
        self._connection = connection
        self._writes = writes
        self._asked: queue.Queue[tuple[Work[Any], Future[Any]] | None] = queue.Queue(_QUEUE_LENGTH)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ask(self, work: Work[T]) -> Future[T]:
        """Have ``work`` done; errors of SQLite come out as `StoreError`, `BusyError` (another process
        has locked the database) or `LimitExceededError`.

        Raises:
            BusyError: too much was asked already, or the thread is stopping.
        """
        future: Future[T] = Future()
        if self._closed:
            raise BusyError("the JobManager is stopping", hint="try again when it has started anew")
        try:
            self._asked.put_nowait((work, future))
        except queue.Full:
            raise BusyError("the index of jobs is busy", hint="try again in a moment") from None
        return future

    def stop(self, timeout: float) -> None:
        """Finish what was asked, then end."""
        self._closed = True
        self._asked.put(None, timeout=timeout)
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while (first := self._asked.get()) is not None:
                batch = [first]
                last = False
                while len(batch) < _BATCH and not self._asked.empty():
                    following = self._asked.get()
                    if following is None:
                        last = True
                        break
                    batch.append(following)
                self._do(batch)
                if last:
                    return
        finally:
            self._connection.close()

    def _do(self, batch: list[tuple[Work[Any], Future[Any]]]) -> None:
        done: list[tuple[Future[Any], Any]] = []
        try:
            if self._writes:
                self._connection.execute("BEGIN IMMEDIATE")
            for work, future in batch:
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    done.append((future, self._one(work)))
                except Exception as error:
                    if self._writes and not self._connection.in_transaction:
                        raise  # a full disk, for one, makes SQLite roll back everything
                    future.set_exception(_translated(error))
            if self._writes:
                self._connection.execute("COMMIT")
        except Exception as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            for future in [item[1] for item in batch]:
                if not future.done():
                    future.set_exception(_translated(error))
            return
        for future, result in done:
            future.set_result(result)

    def _one(self, work: Work[Any]) -> Any:
        if not self._writes:
            return work(self._connection)
        self._connection.execute("SAVEPOINT one")
        try:
            result = work(self._connection)
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO one")
                self._connection.execute("RELEASE one")
            raise
        self._connection.execute("RELEASE one")
        return result


def _translated(error: Exception) -> Exception:
    if not isinstance(error, sqlite3.Error):
        return error
    if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return LimitExceededError("the disk of the JobManager is full", hint="free some room there", status=507)
    if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return BusyError("the index of jobs is locked by another process", hint="try again in a moment")
    return StoreError(f"the index of jobs failed: {error}", hint="see the JobManager's session log")
