"""Signals between a test and the functions of its pipeline, whichever process of this machine they run in.

Both are named pipes. Waiting for one is no guess: the system wakes up whoever waits.
"""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

__all__ = ["Bell", "Gate"]

_LINE = 512
"""Bytes: what is written at once, and so is never mixed with what others write."""


class _Pipe:
    """A named pipe that whoever made it keeps open, so that nobody else ever waits to open it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o600)
        self._path = str(path)
        self._kept: int | None = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (type(self), self._path)

    def __deepcopy__(self, memo: object) -> _Pipe:
        return _again(type(self), self._path)

    def close(self) -> None:
        """Let go of it; only by who made it."""
        if self._kept is not None:
            os.close(self._kept)
            self._kept = None

    def _write(self, line: bytes) -> None:
        pipe = os.open(self._path, os.O_RDWR)
        try:
            os.write(pipe, line)
        finally:
            os.close(pipe)


class Bell(_Pipe):
    """Rung by functions, any number of times, heard by the test in that order."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._rest = b""
        self._heard: list[str] = []

    def ring(self, text: str = "") -> None:
        """Tell something; short, without line breaks."""
        self._write(text.encode()[: _LINE - 1] + b"\n")

    def heard(self, count: int = 0, limit: float = 0.0) -> list[str]:
        """All that was rung until now, waiting up to ``limit`` seconds until that is ``count`` times."""
        assert self._kept is not None
        deadline = time.monotonic() + limit
        while True:
            while select.select([self._kept], [], [], 0)[0]:
                *lines, self._rest = (self._rest + os.read(self._kept, 1 << 16)).split(b"\n")
                self._heard += [line.decode() for line in lines]
            left = deadline - time.monotonic()
            if len(self._heard) >= count or left <= 0:
                return list(self._heard)
            select.select([self._kept], [], [], left)


class Gate(_Pipe):
    """Shut until somebody opens it, for good."""

    def open(self) -> None:
        self._write(b"open")

    def wait(self, limit: float = 60.0) -> bool:
        """Wait, at most ``limit`` seconds, until it is open. Returns whether it is."""
        pipe = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        try:
            return bool(select.select([pipe], [], [], limit)[0])
        finally:
            os.close(pipe)

    @property
    def is_open(self) -> bool:
        return self.wait(0.0)


def _again(kind: type[_Pipe], path: str) -> _Pipe:
    pipe = kind.__new__(kind)
    pipe._path = path
    pipe._kept = None
    return pipe
