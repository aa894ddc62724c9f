"""Tells when files in a folder change: Linux inotify, so that nobody has to look again and again.

A job's log is written by its shim; the daemon learns of new output here. Where the kernel has no watches left
(``fs.inotify.max_user_watches``), the folder's watchers are woken at a slow pace instead, and the log says so once.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["FolderWatch"]

_IN_MODIFY = 0x0000_0002
_IN_MOVED_TO = 0x0000_0080
_IN_CREATE = 0x0000_0100
_IN_Q_OVERFLOW = 0x0000_4000
_IN_ONLYDIR = 0x0100_0000
_MASK = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_ONLYDIR
_EVENT = struct.Struct("iIII")
_READ = 1 << 16
_PAUSE = 0.02
"""Seconds between two looks at the kernel's queue: a job that prints without end wakes us 50 times a second."""
_SLOW_PACE = 1.0
_log = logging.getLogger(__name__)


class FolderWatch:
    """Watches folders for the event loop it was made in."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"inotify_init1: {os.strerror(code)}")
        self._watchers: dict[int, set[asyncio.Event]] = {}
        self._unwatched: set[asyncio.Event] = set()
        self._slow_timer: asyncio.TimerHandle | None = None
        self._pause_timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._descriptor, self._read)

    @contextmanager
    def changes(self, folder: Path) -> Iterator[asyncio.Event]:
        """An event that is set whenever a file in ``folder`` is written, made or moved; clear it before looking."""
        changed = asyncio.Event()
        watch = self._add(folder)
        watchers = self._unwatched if watch is None else self._watchers.setdefault(watch, set())
        watchers.add(changed)
        if watch is None:
            self._start_slow_pace()
        try:
            yield changed
        finally:
            watchers.discard(changed)
            if watch is not None and not watchers and self._watchers.get(watch) is watchers:
                del self._watchers[watch]
                if self._descriptor >= 0:
                    self._libc.inotify_rm_watch(self._descriptor, watch)

    def close(self) -> None:
        """Stop watching; harmless when repeated."""
        if self._descriptor < 0:
            return
        for timer in (self._slow_timer, self._pause_timer):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1

    def _add(self, folder: Path) -> int | None:
        watch, code = self._add_watch(folder)
        if watch >= 0:
            return watch
        if code in (errno.ENOSPC, errno.ENOMEM):
            if not self._unwatched:
                _log.warning(
                    "the kernel has no watch left for %s (fs.inotify.max_user_watches); looking each second", folder
                )
            return None
        raise OSError(code, os.strerror(code), str(folder))

    def _add_watch(self, folder: Path) -> tuple[int, int]:
        """The kernel's number of the watch, or a negative one and the error."""
        watch = self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), ctypes.c_uint32(_MASK))
        return int(watch), ctypes.get_errno()

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _READ)
        except BlockingIOError:
            return
        offset = 0
        touched: set[int] = set()
        while offset < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size + length
            if mask & _IN_Q_OVERFLOW:
                touched.update(self._watchers)
            else:
                # Also where the folder is gone: its watchers look once more and find that out.
                touched.add(watch)
        for watch in touched:
            for changed in self._watchers.get(watch, ()):
                changed.set()
        self._loop.remove_reader(self._descriptor)
        self._pause_timer = self._loop.call_later(_PAUSE, self._resume)

    def _resume(self) -> None:
        self._loop.add_reader(self._descriptor, self._read)

    def _start_slow_pace(self) -> None:
        if self._slow_timer is None:
            self._slow_timer = self._loop.call_later(_SLOW_PACE, self._wake_unwatched)

    def _wake_unwatched(self) -> None:
        self._slow_timer = None
        for changed in self._unwatched:
            changed.set()
        if self._unwatched:
            self._start_slow_pace()
