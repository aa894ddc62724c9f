"""Reads the JobManager's session log: its last lines, and further ones as they come, across sessions."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from sage.core.models import LogChunk

__all__ = ["follow", "last_lines"]

_PAUSE = 0.25
_CHUNK = 1 << 16


def last_lines(path: Path, count: int) -> LogChunk:
    """The last `count` lines of the log.

    Raises:
        FileNotFoundError: there is no log.
    """
    data = path.read_bytes()
    start = _start_of(data, count)
    return LogChunk(data[start:].decode(errors="replace"), start, len(data))


def follow(path: Path, count: int) -> Iterator[LogChunk]:
    """The last `count` lines, then what is added, for ever; also when the name comes to mean another file.

    The file is looked at four times a second: the standard library has no event for a file that grows.

    Raises:
        FileNotFoundError: there is no log.
    """
    pause = threading.Event()
    file = path.open("rb")
    try:
        file.seek(_start_of(file.read(), count))
        while True:
            offset = file.tell()
            data = file.read(_CHUNK)
            if data:
                yield LogChunk(data.decode(errors="replace"), offset, offset + len(data))
            elif _is_another(path, file.fileno()):
                file.close()
                file = path.open("rb")
            else:
                pause.wait(_PAUSE)
    finally:
        file.close()


def _start_of(data: bytes, count: int) -> int:
    """Where the last `count` lines begin."""
    position = len(data) - data.endswith(b"\n")
    for _ in range(count):
        position = data.rfind(b"\n", 0, position)
        if position < 0:
            return 0
    return position + 1


def _is_another(path: Path, descriptor: int) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    before = os.fstat(descriptor)
    return (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino)
