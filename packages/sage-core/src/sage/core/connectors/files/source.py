"""What all file sources have in common: files by a pattern, cut into ranges, read from a position."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from sage.core.connectors.api import STOP, Reader, StopType
from sage.core.connectors.files.lines import Lines
from sage.core.connectors.files.places import ByteRange, absolute, cut, find_files
from sage.core.errors import ConnectorError, RecordError

__all__ = ["FileSource", "LineReader", "raw"]


class FileSource(ABC):
    """The records of one file, or of all files that match a pattern, in the order of their sorted paths.

    The position of a reader is a byte offset.

    Args:
        path: of the file, or a pattern with ``*``, ``?``, ``[…]`` and ``**`` (any number of folders); a relative one
            is relative to the folder in which this object is made.
        split_size: bytes; larger files are read as several partitions of about this size. None: each is one.
    """

    bounded: ClassVar[bool] = True

    def __init__(self, path: str | os.PathLike[str], *, split_size: int | None) -> None:
        self.path = absolute(path)
        if split_size is not None and (
            isinstance(split_size, bool) or not isinstance(split_size, int) or split_size < 1
        ):
            raise ConnectorError(f"split_size is a number of bytes from 1, or None, not {split_size!r}")
        self.split_size = split_size

    def partitions(self) -> Sequence[str]:
        return [str(part) for path in find_files(self.path) for part in cut(path, self.split_size)]

    def open(self, partition: str, position: object | None) -> Reader:
        assert position is None or isinstance(position, int)
        return self.reader(Lines(ByteRange.parse(partition), position))

    @abstractmethod
    def reader(self, lines: Lines) -> Reader:
        """What makes records of lines; it closes them."""


class LineReader(ABC):
    """Makes at most one record of each line."""

    mark: bytes = b""
    """What may stand at the beginning of a file and belongs to no record."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    @abstractmethod
    def parse(self, lines: list[bytes]) -> list[Any]:
        """The records of several lines, quickly.

        Raises:
            ValueError, RecursionError: something is unusual; then `parse_one` is called for each.
        """

    @abstractmethod
    def parse_one(self, line: bytes) -> list[Any]:
        """The record of a line; empty if it has none.

        Raises:
            ValueError, RecursionError: the line is unusable. Its text says why.
        """

    def read(self, n: int) -> list[Any] | StopType | None:
        begin = self._lines.offset
        taken = self._lines.take(n)
        if not taken:
            return STOP
        lines = taken
        if begin == 0 and self.mark:
            lines = [taken[0].removeprefix(self.mark), *taken[1:]]
        try:
            return self.parse(lines)
        except (ValueError, RecursionError):  # whatever it is, it is said of the line that it is about
            return self._one_by_one(lines, taken)

    def position(self) -> object:
        return self._lines.offset

    def wait(self, timeout: float) -> None:  # noqa: B027
        """A file has no news to wait for."""

    def close(self) -> None:
        self._lines.close()

    def _one_by_one(self, lines: list[bytes], taken: list[bytes]) -> list[Any]:
        records: list[Any] = []
        for number, line in enumerate(lines):
            try:
                records += self.parse_one(line)
            except (ValueError, RecursionError) as error:
                if records:
                    self._lines.put_back(taken[number:])
                    return records
                self._lines.put_back(taken[number + 1 :])
                raise self._unusable(taken[number], error) from error
        return records

    def _unusable(self, line: bytes, error: Exception) -> RecordError:
        begin = self._lines.offset - len(line)
        number = self._lines.number(begin)
        return RecordError(
            f"{self._lines.path}, line {number}: {error}", record=raw(line), file=self._lines.path, line=number
        )


def raw(line: bytes) -> str | bytes:
    """A line as it was found, without its end: as text where it is UTF-8."""
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line
