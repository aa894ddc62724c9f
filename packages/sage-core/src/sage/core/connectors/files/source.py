"""What all file sources have in common: files by a pattern, cut into ranges, read from a position."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from sage.core.connectors.api import MAX_LINE_SIZE, STOP, Reader, StopType
from sage.core.connectors.files.encoding import split_lines, undecodable, undecodable_hint
from sage.core.connectors.files.lines import Lines, Place, without_end
from sage.core.connectors.files.places import ByteRange, absolute, cut, find_files
from sage.core.errors import ConnectorError

__all__ = ["FileSource", "LineReader"]


class FileSource(ABC):
    """The records of one file, or of all files that match a pattern, in the order of their sorted paths.

    Args:
        path: of the file, or a pattern with ``*``, ``?``, ``[…]`` and ``**`` (any number of folders); a relative one
            is relative to the folder in which this object is made.
        split_size: bytes; larger files are read as several partitions of that size. None: each is one.
        min_partitions: smaller files are cut, too, until there are so many, where ``split_size`` is not None.
        max_line_size: bytes, without a line's end; a longer line is no record, and takes no memory.
    """

    bounded: ClassVar[bool] = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        split_size: int | None,
        min_partitions: int = 1,
        max_line_size: int = MAX_LINE_SIZE,
    ) -> None:
        self.path = absolute(path)
        self.split_size = None if split_size is None else _from_1("split_size", split_size, "bytes")
        self.min_partitions = _from_1("min_partitions", min_partitions, "partitions")
        self.max_line_size = _from_1("max_line_size", max_line_size, "bytes")

    def partitions(self) -> Sequence[str]:
        paths = find_files(self.path)
        each = -(-self.min_partitions // len(paths))
        return [str(part) for path in paths for part in cut(path, self.split_size, each)]

    def open(self, partition: str, position: object | None) -> Reader:
        assert position is None or isinstance(position, tuple)
        place = None if position is None else Place(*position)
        return self.reader(Lines(ByteRange.parse(partition), place, self.max_line_size))

    @abstractmethod
    def reader(self, lines: Lines) -> Reader:
        """What makes records of lines; it closes them."""


class LineReader(ABC):
    """Makes at most one record of each line.

    Args:
        lines: what to read.
        encoding: of the text.
        mark: what may stand at the beginning of a file and belongs to no record.
    """

    def __init__(self, lines: Lines, encoding: str, mark: bytes) -> None:
        self._lines = lines
        self._encoding = encoding
        self._mark = mark
        self._texts: list[str] | list[bytes] = []  # the block, line by line, without ends
        self._decoded = True  # bytes where it could not be decoded as a whole
        self._next = 0  # the first line that was not taken yet

    @abstractmethod
    def parse(self, lines: list[str]) -> list[Any]:
        """The records of several lines, quickly.

        Raises:
            ValueError, RecursionError: something is unusual; then `parse_one` is called for each.
        """

    @abstractmethod
    def parse_one(self, line: str) -> list[Any]:
        """The record of a line; empty if it has none.

        Raises:
            ValueError: the line is unusable. Its text says why.
        """

    def read(self, n: int) -> list[Any] | StopType | None:
        if self._next >= len(self._texts) and not self._next_block():
            return STOP
        texts: list[Any] = self._texts[self._next : self._next + n]
        if self._decoded:
            try:
                records = self.parse(texts)
            except (ValueError, RecursionError):  # whatever it is, it is said of the line that it is about
                pass
            else:
                self._next += len(texts)
                return records
        return self._one_by_one(texts)

    def position(self) -> object:
        return tuple(self._lines.place(self._lines.offset(self._next)))

    def wait(self, timeout: float) -> None:  # noqa: B027
        """A file has no news to wait for."""

    def close(self) -> None:
        self._lines.close()

    def _next_block(self) -> bool:
        self._texts, self._next = [], 0
        block = self._lines.next_block()
        if self._lines.start == 0:
            block = block.removeprefix(self._mark)
        if not block:
            return False
        try:
            self._texts, self._decoded = split_lines(block, self._encoding), True
        except ValueError:
            self._texts, self._decoded = [without_end(line) for line in io.BytesIO(block)], False
        return True

    def _one_by_one(self, texts: list[Any]) -> list[Any]:
        records: list[Any] = []
        for text in texts:
            found = text  # bytes, where it cannot be decoded
            try:
                found = text if self._decoded else self._decode(text)
                records += self.parse_one(found)
            except ValueError as error:
                if records:
                    return records
                offset = self._lines.offset(self._next)
                self._next += 1
                hint = undecodable_hint(self._lines.path) if isinstance(found, bytes) else None
                raise self._lines.unusable(found, offset, str(error), hint) from error
            self._next += 1
        return records

    def _decode(self, line: bytes) -> str:
        try:
            return line.decode(self._encoding)
        except UnicodeDecodeError as error:
            raise undecodable(error) from error


def _from_1(name: str, value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConnectorError(f"{name} is a number of {what} from 1, not {value!r}")
    return value
