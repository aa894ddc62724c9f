"""The lines of one byte range of a file, in blocks, with the means to tell where each one is and to go back."""

from __future__ import annotations

import io
import os
import stat
import zlib
from typing import NamedTuple

from sage.core.connectors.api import MAX_LINE_SIZE
from sage.core.connectors.files.places import ByteRange
from sage.core.errors import ConnectorError, RecordError

__all__ = ["LineByLine", "Lines", "Place", "raw_line", "size_of_lines", "without_end"]

_AHEAD = 256 * 1024
"""Bytes read in one go."""

_COMPARED = 512
"""Bytes at the beginning of a file, and before a position, by which it is known again."""

_EXCERPT = 1000


class Place(NamedTuple):
    """Where reading goes on.

    Attributes:
        offset: of a line, in bytes from the beginning of the file.
        check: a checksum of some of what is before it, by which a file is known again.
    """

    offset: int
    check: int


class Lines:
    """Reads blocks of whole lines, as bytes with their ends. A line belongs to the range that it begins in.

    Args:
        part: what to read.
        place: where to go on, as `place` gave it; None for the beginning.
        max_line_size: bytes, without the end of a line.

    Raises:
        ConnectorError: the file cannot be opened, or is not what it was when the job began or ``place`` was taken.

    Attributes:
        path: of the file.
        block: what `next_block` returned last.
        start: where it begins, in bytes from the beginning of the file.
    """

    def __init__(self, part: ByteRange, place: Place | None = None, max_line_size: int = MAX_LINE_SIZE) -> None:
        self.path = part.path
        self._until = None if part.is_last else part.end
        self._longest = max_line_size
        self.start, self.block = part.start, b""
        self._rest = b""  # what was read behind the block
        try:
            self._file = os.open(
                part.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
            )  # the last: not to wait at a FIFO
        except FileNotFoundError as error:
            raise self.error("it was there when the job began, and has vanished") from error
        except OSError as error:
            raise self.error(f"cannot be opened: {error.strerror}") from error
        self._counted = (0, 1)  # an offset, and the number of the line that begins there
        try:
            self._size = self._check_size(part)
            self.go_back(part.start)
            if place is None:
                self._find_first(part.start)
            else:
                self._go_on(place)
        except BaseException:
            self.close()
            raise

    def next_block(self) -> bytes:
        """The next lines, one at least; empty at the end. Only the last line of a file may lack its end.

        Raises:
            RecordError: a line is too long. It is passed over: the next block begins behind it.
            ConnectorError: the file cannot be read, or has become shorter, so that what follows is lost. What was to
                be returned is not passed over.
        """
        self.start += len(self.block)
        self.block = b""
        if self._until is not None and self.start >= self._until:
            return b""
        try:
            return self._read_block()
        except RecordError:
            raise
        except ConnectorError:
            self.go_back(self.start)
            raise

    def offset(self, count: int) -> int:
        """Where, in bytes from the beginning of the file, the line ``count`` of the block begins, from 0."""
        return self.start + size_of_lines(self.block, count)

    def place(self, offset: int) -> Place:
        """How to come back to the line at ``offset``."""
        return Place(offset, self._check(offset))

    def go_back(self, offset: int) -> None:
        """Begin the next block with the line at ``offset``, where a line begins."""
        os.lseek(self._file, offset, os.SEEK_SET)
        self.start, self.block, self._rest = offset, b"", b""

    def number(self, offset: int) -> int:
        """The number of the line that begins at ``offset``, from 1. It reads the file up to there: for errors only."""
        start, number = self._counted
        if offset < start:
            start, number = 0, 1
        while start < offset and (piece := os.pread(self._file, min(_AHEAD, offset - start), start)):
            start += len(piece)
            number += piece.count(b"\n")
        self._counted = (start, number)
        return number

    def error(self, message: str, offset: int | None = None, hint: str | None = None) -> ConnectorError:
        """An error that names the file, and the line at ``offset``."""
        if offset is None:
            return ConnectorError(f"{self.path}: {message}", hint=hint, file=self.path)
        line = self.number(offset)
        return ConnectorError(f"{self.path}, line {line}: {message}", hint=hint, file=self.path, line=line)

    def unusable(self, record: str | bytes, offset: int, message: str, hint: str | None = None) -> RecordError:
        """The error of one record, which begins at ``offset``."""
        line = self.number(offset)
        where = f"{self.path}, line {line}"
        return RecordError(f"{where}: {message}", hint=hint, record=record, file=self.path, line=line)

    def close(self) -> None:
        """Let go of the file; closing twice does nothing."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def _read_block(self) -> bytes:
        pieces, size, cut = [self._rest], len(self._rest), 0
        while not cut:
            piece = self._read(min(_AHEAD, self._longest))  # so that only the first line may be too long
            if not piece:
                if size > self._longest:  # what might have been half of its end was none
                    raise self._too_long()
                break
            first = piece.find(b"\n")
            pieces.append(piece)
            length = size + (len(piece) if first < 0 else first)
            if length > self._longest and not self._is_end(pieces, length):
                raise self._too_long()
            size += len(piece)
            cut = piece.rfind(b"\n") + 1
        data = b"".join(pieces)
        end = size - len(pieces[-1]) + cut if cut else size
        if self._until is not None and (last := data.find(b"\n", self._until - 1 - self.start)) >= 0:
            end = min(end, last + 1)  # what follows begins in the next range
        self.block, self._rest = data[:end], data[end:]
        return self.block

    def _is_end(self, pieces: list[bytes], length: int) -> bool:
        """Whether all that the first ``length`` bytes have too many is the first half of an end of line."""
        return length == self._longest + 1 and b"".join(pieces)[self._longest : length] == b"\r"

    def _read(self, size: int) -> bytes:
        try:
            data = os.read(self._file, size)
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror}") from error
        if not data and (now := os.lseek(self._file, 0, os.SEEK_CUR)) < self._size:
            raise self.error(f"it had {self._size:,} bytes when reading began, and ends after {now:,} now")
        return data

    def _too_long(self) -> RecordError:
        """Go behind the next line, and tell of it."""
        start = self.start
        beginning = raw_line(os.pread(self._file, min(_EXCERPT, self._longest), start))
        os.lseek(self._file, start + self._longest, os.SEEK_SET)
        self._pass_line()
        hint = f"read it with a larger max_line_size, or skip it by an error policy ({_EXCERPT} bytes are kept of it)"
        return self.unusable(beginning, start, f"longer than {self._longest:,} bytes", hint)

    def _pass_line(self) -> None:
        """Go behind the next line end from where the file is read, or to the end of the file."""
        while piece := self._read(_AHEAD):
            if end := piece.find(b"\n") + 1:
                os.lseek(self._file, end - len(piece), os.SEEK_CUR)
                break
        self.go_back(os.lseek(self._file, 0, os.SEEK_CUR))

    def _check_size(self, part: ByteRange) -> int:
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode):
            raise self.error("it was a file when the job began, and is none any more")
        if status.st_size < part.end:
            raise self.error(f"it had {part.end:,} bytes when the job began, and has {status.st_size:,} now")
        return status.st_size

    def _find_first(self, start: int) -> None:
        """Go to the first line that begins at ``start`` or behind it."""
        if start:
            os.lseek(self._file, start - 1, os.SEEK_SET)
            self._pass_line()

    def _go_on(self, place: Place) -> None:
        offset = place.offset
        if self._size < offset:
            raise self.error(f"{offset:,} bytes of it were read before, and it has {self._size:,} now")
        if self._check(offset) != place.check:
            raise self.error(f"it was changed or replaced since its first {offset:,} bytes were read")
        if offset and self._size > offset and os.pread(self._file, 1, offset - 1) != b"\n":
            raise self.error(f"its last line was read before, {offset:,} bytes from the beginning, and has grown since")
        self.go_back(offset)

    def _check(self, offset: int) -> int:
        first = os.pread(self._file, min(_COMPARED, offset), 0)
        last = os.pread(self._file, min(_COMPARED, offset), max(0, offset - _COMPARED))
        return zlib.crc32(last, zlib.crc32(first))


class LineByLine:
    """Takes the lines of blocks one at a time.

    Attributes:
        offset: where the next one begins, in bytes from the beginning of the file.
    """

    def __init__(self, lines: Lines, offset: int) -> None:
        self._lines = lines
        self._ahead: list[bytes] = []  # last one first
        self.offset = offset
        lines.go_back(offset)

    def take(self) -> bytes:
        """The next line, with its end; empty at the end of the file. Raises what `Lines.next_block` does."""
        if not self._ahead:
            try:
                self._ahead = list(io.BytesIO(self._lines.next_block()))[::-1]
            except RecordError:
                self.offset = self._lines.start
                raise
            if not self._ahead:
                return b""
        line = self._ahead.pop()
        self.offset += len(line)
        return line

    def go_back(self, offset: int) -> None:
        """Take next the line at ``offset``, where a line begins."""
        self._ahead, self.offset = [], offset
        self._lines.go_back(offset)

    def put_back(self, lines: list[bytes]) -> None:
        """Undo having taken ``lines``, the last that were taken."""
        self._ahead += reversed(lines)
        self.offset -= sum(map(len, lines))


def size_of_lines(block: bytes, count: int) -> int:
    """The size of the first ``count`` lines of a block."""
    return sum(map(len, io.BytesIO(block).readlines()[:count]))


def without_end(line: bytes) -> bytes:
    """A line without its end, ``\\n`` or ``\\r\\n``."""
    return line[:-2] if line.endswith(b"\r\n") else line.removesuffix(b"\n")


def raw_line(line: bytes, encoding: str = "utf-8") -> str | bytes:
    """A line as it was found, without its end: as text where it can be decoded."""
    line = without_end(line)
    try:
        return line.decode(encoding)
    except UnicodeDecodeError:
        return line
