"""The lines of one byte range of a file, with the means to tell where each one is and to go back."""

from __future__ import annotations

import os
from pathlib import Path

from sage.core.connectors.files.places import ByteRange
from sage.core.errors import ConnectorError

__all__ = ["Lines"]

_AHEAD = 256 * 1024
"""Bytes read in one go, and so the most that one batch of ordinary lines takes."""

_SKIP = 1024 * 1024


class Lines:
    """Reads lines as bytes, with their ends. A line belongs to the range that it begins in.

    Args:
        part: what to read.
        position: the offset of a line at which to go on; None for the beginning.

    Raises:
        ConnectorError: the file cannot be opened, or is not what it was when ``position`` was taken.

    Attributes:
        path: of the file.
        offset: where the next line begins, in bytes from the beginning of the file.
    """

    def __init__(self, part: ByteRange, position: int | None = None) -> None:
        self.path = part.path
        self._end = part.end
        try:
            self._file = Path(part.path).open("rb", buffering=_AHEAD)  # noqa: SIM115 - `close` closes it
        except FileNotFoundError as error:
            raise self.error("it was there when the job began, and has vanished") from error
        except OSError as error:
            raise self.error(f"cannot be opened: {error.strerror}") from error
        self._size = os.fstat(self._file.fileno()).st_size
        self._ahead: list[bytes] = []  # lines read from the file ...
        self._next = 0  # ... and the first of them that was not taken yet
        self._counted = (0, 1)  # an offset, and the number of the line that begins there
        self.offset = part.start
        try:
            if position is None:
                self._find_first(part.start)
            else:
                self._go_on(position)
        except BaseException:
            self._file.close()
            raise

    def take(self, n: int) -> list[bytes]:
        """The next lines, at most ``n``; none at the end.

        Raises:
            ConnectorError: the file has become shorter, so that what follows is lost.
        """
        lines = self._ahead[self._next : self._next + n]
        if not lines:
            lines = self._read_ahead()[:n]
        self._next += len(lines)
        self.offset += sum(map(len, lines))
        return lines

    def put_back(self, lines: list[bytes]) -> None:
        """Undo having taken ``lines``, the last that were taken."""
        if len(lines) <= self._next:
            self._next -= len(lines)
            self.offset -= sum(map(len, lines))
        else:
            self.go_back(self.offset - sum(map(len, lines)))

    def go_back(self, offset: int) -> None:
        """Take next the line at ``offset``, where a line begins."""
        self._file.seek(offset)
        self._ahead, self._next, self.offset = [], 0, offset

    def number(self, offset: int) -> int:
        """The number of the line that begins at ``offset``, from 1. It reads the file up to there: for errors only."""
        start, number = self._counted
        if offset < start:
            start, number = 0, 1
        with Path(self.path).open("rb") as file:
            file.seek(start)
            while start < offset and (block := file.read(min(_SKIP, offset - start))):
                start += len(block)
                number += block.count(b"\n")
        self._counted = (start, number)
        return number

    def error(self, message: str, offset: int | None = None) -> ConnectorError:
        """An error that names the file, and the line at ``offset``."""
        if offset is None:
            return ConnectorError(f"{self.path}: {message}", file=self.path)
        line = self.number(offset)
        return ConnectorError(f"{self.path}, line {line}: {message}", file=self.path, line=line)

    def close(self) -> None:
        self._file.close()

    def _find_first(self, start: int) -> None:
        """Go to the first line that begins at ``start`` or behind it."""
        if self._size < start:
            raise self.error(f"it had {start:,} bytes and more when the job began, and has {self._size:,} now")
        if start:
            self._file.seek(start - 1)
            self.offset = start - 1
            while piece := self._file.readline(_SKIP):
                self.offset += len(piece)
                if piece.endswith(b"\n"):
                    break

    def _go_on(self, position: int) -> None:
        if self._size < position:
            raise self.error(f"{position:,} bytes of it were read before, and it has {self._size:,} now")
        if position:
            self._file.seek(position - 1)
            if self._file.read(1) != b"\n" and self._size > position:
                raise self.error(f"no line begins at byte {position:,}, where it was read before: it was changed")
        self.offset = position

    def _read_ahead(self) -> list[bytes]:
        if self._end is not None and self.offset >= self._end:
            return []
        try:
            lines = self._file.readlines(_AHEAD)
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror}") from error
        stop = self.offset + sum(map(len, lines))
        if stop < self._size and not (lines and lines[-1].endswith(b"\n")):
            raise self.error(f"it had {self._size:,} bytes when reading began, and became shorter meanwhile")
        while self._end is not None and len(lines) > 1 and stop - len(lines[-1]) >= self._end:
            stop -= len(lines.pop())  # it begins in the next range
        self._ahead, self._next = lines, 0
        return lines
