"""Reading a job's log by byte offset while the shim writes and rotates it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sage.runtime.shim.files import open_plain, read_plain
from sage.runtime.shim.log import index_path, log_files, read_index

__all__ = ["LogPart", "read_log"]

_ATTEMPTS = 10
_LARGEST_INDEX = 1 << 20


@dataclass(frozen=True)
class LogPart:
    """A piece of a log.

    Attributes:
        data: the bytes.
        offset: of the first of them, counted from the job's first byte.
        next_offset: where to read on.
        at_end: nothing more was in the log when it was read.
        truncated: bytes before ``offset`` were asked for, but their file is gone or cannot be read.
    """

    data: bytes
    offset: int
    next_offset: int
    at_end: bool
    truncated: bool

    @property
    def text(self) -> str:
        """The data decoded as UTF-8; what is none is replaced."""
        return self.data.decode("utf-8", "replace")


@dataclass(frozen=True)
class _File:
    descriptor: int
    start: int
    size: int


def read_log(path: str | Path, offset: int = 0, limit: int = 1 << 16) -> LogPart:
    """At most ``limit`` bytes (at least 16) of the log at ``path`` (of ``job.log``) from byte ``offset``.

    The piece ends after a whole line where it holds one and more follows, else between two characters. A negative
    ``offset`` counts from the end. A log that is not there yet reads as empty.
    """
    limit = max(limit, 16)
    files = _open_files(os.fspath(path))
    try:
        first = files[0].start if files else 0
        end = files[-1].start + files[-1].size if files else 0
        if offset < 0:
            offset = max(end + offset, first)
        # A file that somebody removed from between the others leaves a gap, over which whoever reads must get.
        start = next((max(offset, file.start) for file in files if offset < file.start + file.size), max(offset, end))
        data = _read(files, start, limit)
        if start + len(data) < end:
            data = _whole(data)
        return LogPart(data, start, start + len(data), start + len(data) >= end, offset < start)
    finally:
        for file in files:
            os.close(file.descriptor)


def _open_files(path: str) -> list[_File]:
    """All files of the log as they were at one moment, in order."""
    for _ in range(_ATTEMPTS):
        before = _index_bytes(path)
        files, missed = _open_once(path)
        if not missed and before == _index_bytes(path):
            return files
        # A rotation came between.
        for file in files:
            os.close(file.descriptor)
    # It rotates faster than this process gets to look. What is at hand may begin late, but is in order.
    return _open_once(path)[0]


def _open_once(path: str) -> tuple[list[_File], bool]:
    """The files that can be had, and whether one was gone or met twice, since it was renamed meanwhile."""
    starts, following = read_index(path)
    found: dict[int, _File] = {}
    missed = False
    try:
        names = list(log_files(path))
    except FileNotFoundError:
        return [], False
    for _, name in names:
        try:
            descriptor = open_plain(name)
        except FileNotFoundError:
            missed = True
            continue
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            # Not what a shim writes: the job put it there, and it is no part of the log.
            continue
        info = os.fstat(descriptor)
        if info.st_ino in found:
            missed = True
            os.close(descriptor)
        else:
            found[info.st_ino] = _File(descriptor, starts.get(info.st_ino, following), info.st_size)
    return _in_order(found.values()), missed


def _in_order(found: Iterable[_File]) -> list[_File]:
    """The files by their first byte; where the index says that they overlap, one follows after the other."""
    files: list[_File] = []
    end = 0
    for file in sorted(found, key=lambda file: file.start):
        files.append(replace(file, start=max(file.start, end)))
        end = files[-1].start + file.size
    return files


def _index_bytes(path: str) -> bytes | None:
    try:
        return read_plain(index_path(path), _LARGEST_INDEX)
    except OSError:
        return None  # no rotation yet, or damaged from outside: see `read_index`


def _read(files: list[_File], offset: int, limit: int) -> bytes:
    parts = []
    for file in files:
        if offset >= file.start + file.size or offset < file.start or not limit:
            continue
        part = os.pread(file.descriptor, min(limit, file.start + file.size - offset), offset - file.start)
        parts.append(part)
        offset += len(part)
        limit -= len(part)
    return b"".join(parts)


def _whole(data: bytes) -> bytes:
    newline = data.rfind(b"\n")
    if newline >= 0:
        return data[: newline + 1]
    # No line end: at least do not cut through a character, whose later bytes are 10xxxxxx.
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            length = 1 if byte < 0x80 else 2 if byte >> 5 == 6 else 3 if byte >> 4 == 14 else 4
            return data[:-back] if length > back and back < len(data) else data
    return data
