"""CSV as RFC 4180 has it: a record may span several lines, and is read as a dict by the names of its columns."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Literal

from sage.core.connectors.api import MAX_LINE_SIZE, STOP, StopType
from sage.core.connectors.files.encoding import check_encoding, mark_of, undecodable, undecodable_hint, unencodable
from sage.core.connectors.files.lines import LineByLine, Lines, raw_line, size_of_lines
from sage.core.connectors.files.sink import FileSink
from sage.core.connectors.files.source import FileSource
from sage.core.errors import ConnectorError, RecordError

__all__ = ["CsvSink", "CsvSource", "Quoting"]

Quoting = Literal["minimal", "all", "none"]
"""Which values are put in quotes: those that need it, all, or none: then quotes are characters like any other."""

_QUOTING = {"minimal": csv.QUOTE_MINIMAL, "all": csv.QUOTE_ALL, "none": csv.QUOTE_NONE}

_LONGEST_FIELD = 16 * 1024 * 1024
"""Characters. Python's own limit, 128 Ki, is one for the whole process: it is raised, never lowered."""


class CsvSource(FileSource):
    """Each line below the header as a dict: the names of the columns, and the values as text.

    Empty lines are passed over. A mark at the beginning of UTF-8 is left out. Files are never cut, since no one can
    tell from the middle of a file whether a line end is within quotes.

    Args:
        path: as in `FileSource`.
        columns: the names, for files without a header.
        delimiter: between values, one character.
        quotechar: around values that hold a delimiter, a quote (doubled) or a line end; one character.
        quoting: ``"none"`` where quotes mean nothing.
        encoding: of the files.
        max_line_size: as in `FileSource`; a value may have 16 Mi characters.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        columns: Sequence[str] | None = None,
        delimiter: str = ",",
        quotechar: str = '"',
        quoting: Quoting = "minimal",
        encoding: str = "utf-8",
        max_line_size: int = MAX_LINE_SIZE,
    ) -> None:
        super().__init__(path, split_size=None, max_line_size=max_line_size)
        self.columns = _check_columns(columns)
        self.dialect = _dialect(delimiter, quotechar, quoting)
        self.encoding = check_encoding(encoding)

    def reader(self, lines: Lines) -> _CsvReader:
        return _CsvReader(lines, self.columns, self.dialect, self.encoding)


class _CsvReader:
    """Reads quickly, many rows in one go; where something is wrong, again and row by row, until it is behind it."""

    def __init__(self, lines: Lines, columns: Sequence[str] | None, dialect: Mapping[str, Any], encoding: str) -> None:
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
        self._lines = lines
        self._dialect = {**dialect, "strict": True}
        self._encoding, _ = mark_of(encoding)
        self._careful: LineByLine | None = None
        self._careful_until = 0
        try:
            start = lines.start
            self._columns, behind = self._read_header() if columns is None else (tuple(columns), 0)
            self._read_quickly(max(start, behind))
        except BaseException:
            lines.close()
            raise

    def read(self, n: int) -> list[Any] | StopType | None:
        if self._careful is not None:
            if self._careful.offset < self._careful_until:
                return self._read_carefully(self._careful, n)
            self._read_quickly(self._careful.offset)
        rows, columns, begin = self._rows, self._columns, self._rows.line_num
        block, start, first = self._lines.block, self._lines.start, self._first
        try:
            records = [dict(zip(columns, row, strict=True)) for row in islice(rows, n) if row]
        except (csv.Error, ValueError, ConnectorError):
            self._careful_until = self._lines.start + max(len(self._lines.block), 1)
            offset = start + size_of_lines(block, begin - first)
            careful = self._careful = LineByLine(self._lines, offset)
        else:
            return records if records or rows.line_num > begin else STOP
        return self._read_carefully(careful, n)

    def position(self) -> object:
        return tuple(self._lines.place(self._offset()))

    def wait(self, timeout: float) -> None:
        """A file has no news to wait for."""

    def close(self) -> None:
        self._lines.close()

    def _offset(self) -> int:
        if self._careful is not None:
            return self._careful.offset
        return self._lines.start + size_of_lines(self._lines.block, self._rows.line_num - self._first)

    def _read_quickly(self, offset: int) -> None:
        """Go on at ``offset``. The parser takes no line before it needs it: it is always known where it is."""
        self._careful = None
        self._lines.go_back(offset)
        self._first = 0  # the number of lines that were taken before the block
        self._rows = csv.reader(chain.from_iterable(self._blocks()), **self._dialect)

    def _blocks(self) -> Iterator[Iterable[str]]:
        while block := self._lines.next_block():
            self._first = self._rows.line_num
            yield io.StringIO(self._decode(block, self._lines.start), newline="\n")

    def _read_carefully(self, lines: LineByLine, n: int) -> list[Any] | StopType:
        records: list[Any] = []
        while len(records) < n:
            feed = _Feed(lines, self._decode)
            begin = lines.offset
            try:
                row = next(csv.reader(feed, **self._dialect), None)
                if row is None:
                    return records or STOP
                if row:
                    records.append(self._record(row))
            except (csv.Error, ValueError) as error:
                if records:
                    lines.put_back(feed.taken)
                    return records
                if not isinstance(error, _WrongWidthError):
                    # A quote too many may have swallowed any number of good lines: only the first is given up.
                    lines.put_back(feed.taken[1:])
                    del feed.taken[1:]
                record = raw_line(b"".join(feed.taken), self._encoding)
                hint = undecodable_hint(self._lines.path) if isinstance(error, UnicodeDecodeError) else None
                raise self._lines.unusable(record, begin, _reason(error), hint) from error
            except ConnectorError as error:
                if records or not isinstance(error, RecordError):  # which is a line that is too long, and behind us
                    lines.go_back(begin)
                if records:
                    return records
                raise
        return records

    def _record(self, row: list[str]) -> dict[str, str]:
        if len(row) != len(self._columns):
            values = "1 value" if len(row) == 1 else f"{len(row)} values"
            raise _WrongWidthError(f"{values} for {len(self._columns)} columns")
        return dict(zip(self._columns, row, strict=True))

    def _decode(self, block: bytes, begin: int) -> str:
        if begin == 0 and self._encoding == "utf-8":
            block = block.removeprefix(codecs.BOM_UTF8)
        return block.decode(self._encoding)

    def _read_header(self) -> tuple[tuple[str, ...], int]:
        """The names in the first line that is not empty, and where what is read begins: behind it."""
        lines = LineByLine(self._lines, 0)
        begin = 0
        try:
            row: list[str] | None = []
            while row is not None and not row:
                begin = lines.offset
                row = next(csv.reader(_Feed(lines, self._decode), **self._dialect), None)
        except (csv.Error, ValueError) as error:
            hint = undecodable_hint(self._lines.path) if isinstance(error, UnicodeDecodeError) else None
            raise self._lines.error(f"the header is unusable: {_reason(error)}", begin, hint) from error
        except RecordError as error:
            raise self._lines.error("the header is too long", begin) from error
        names = tuple(row or ())
        twice = _twice(names)
        if twice is not None:
            raise self._lines.error(f"the header names {twice!r} twice", begin)
        return names, lines.offset


class _WrongWidthError(ValueError):
    """A row that is well formed, and does not fit the columns."""


class _Feed:
    """Hands lines to the CSV parser one at a time, so that it is known which belong to a record."""

    def __init__(self, lines: LineByLine, decode: Callable[[bytes, int], str]) -> None:
        self._lines = lines
        self._decode = decode
        self.taken: list[bytes] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        begin = self._lines.offset
        line = self._lines.take()
        if not line:
            raise StopIteration
        self.taken.append(line)
        return self._decode(line, begin)


class CsvSink(FileSink):
    """Each record, a mapping, as a row below a header.

    Values are written as ``str`` gives them, None as nothing at all; read again they are text.

    Args:
        path, overwrite: as in `FileSink`.
        columns: their names and order; by default those of the first record. Each record must have just these.
        delimiter, quotechar, quoting: as in `CsvSource`. With ``"all"`` every value is quoted; with ``"none"`` a value
            that would need it is refused.
        encoding: of the file; ``utf-8-sig`` writes the mark by which some programs know UTF-8.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        columns: Sequence[str] | None = None,
        delimiter: str = ",",
        quotechar: str = '"',
        quoting: Quoting = "minimal",
        encoding: str = "utf-8",
        overwrite: bool = False,
    ) -> None:
        super().__init__(path, overwrite=overwrite)
        self.columns = _check_columns(columns)
        self.dialect = _dialect(delimiter, quotechar, quoting)
        self.encoding, self._mark = mark_of(check_encoding(encoding))

    def begin(self) -> bytes:
        return self._mark + (b"" if self.columns is None else self._encode([self.columns], [self.columns]))

    def write(self, records: list[Any]) -> None:
        if self.columns is not None:
            self.put(self._encode([self._row(record, self.columns) for record in records], records))
            return
        columns = tuple(records[0]) if isinstance(records[0], Mapping) else ()
        rows = [columns, *(self._row(record, columns) for record in records)]
        self.put(self._encode(rows, [columns, *records]))
        self.columns = columns  # not before: the header may have been that of a record which is given up

    def _row(self, record: Any, columns: tuple[str, ...]) -> Sequence[Any]:
        if not isinstance(record, Mapping):
            message = f"a row is a mapping of names to values, not {type(record).__name__}"
            raise self.unusable(record, message, _how_to_map(record))
        if not record:
            raise self.unusable(record, "a row is a mapping of names to values, and this one is empty")
        if len(record) == len(columns):
            try:
                return [record[name] for name in columns]
            except KeyError:
                pass  # which, is said below
        wrong = [f"no {name!r}" for name in columns if name not in record]
        wrong += [f"{name!r} beyond them" for name in record if name not in columns]
        message = f"the columns are {', '.join(map(str, columns))}; this record has {', '.join(wrong)}"
        raise self.unusable(record, message, "give every record the same keys, or say columns=…")

    def _encode(self, rows: Sequence[Sequence[Any]], records: Sequence[Any]) -> bytes:
        """The rows as CSV. Each was made of the record at the same place."""
        try:
            text = self._format(rows)
            data = None if "\r" in text else text.encode(self.encoding)
        except Exception:  # also what the text of a value raises; because of which row, is found below
            data = None
        if data is not None:
            return data
        return b"".join(self._encode_one(row, record) for row, record in zip(rows, records, strict=True))

    def _encode_one(self, row: Sequence[Any], record: Any) -> bytes:
        try:
            text = self._format([row])
            if "\r" in text:
                # It ends a line for whoever reads it, and yet some versions of Python put no quotes around it.
                if self.dialect["quoting"] == csv.QUOTE_NONE:
                    raise csv.Error("a carriage return needs quotes")
                text = self._format([row], quoting=csv.QUOTE_ALL)
            return text.encode(self.encoding)
        except UnicodeEncodeError as error:
            raise self.unusable(record, unencodable(error)) from error
        except Exception as error:
            raise self.unusable(record, f"not to be written as CSV: {error}") from error

    def _format(self, rows: Sequence[Sequence[Any]], **changed: Any) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n", **{**self.dialect, **changed}).writerows(rows)
        return text.getvalue()


def _how_to_map(record: Any) -> str | None:
    if dataclasses.is_dataclass(record):
        return "make one of it first, by .map(dataclasses.asdict)"
    if hasattr(record, "_asdict"):
        return "make one of it first, by .map(lambda record: record._asdict())"
    return None


def _check_columns(columns: Sequence[str] | None) -> tuple[str, ...] | None:
    if columns is None:
        return None
    if isinstance(columns, str) or not all(isinstance(name, str) for name in columns) or not columns:
        raise ConnectorError(f"columns are a list of names, not {columns!r}", hint="columns=['id', 'name']")
    twice = _twice(columns)
    if twice is not None:
        raise ConnectorError(f"columns name {twice!r} twice", hint="give each a name of its own")
    return tuple(columns)


def _twice(names: Sequence[str]) -> str | None:
    """The first name that is there twice."""
    return next((name for number, name in enumerate(names) if name in names[:number]), None)


def _dialect(delimiter: str, quotechar: str, quoting: str) -> dict[str, Any]:
    for name, value, usual in (("delimiter", delimiter, ","), ("quotechar", quotechar, '"')):
        if not isinstance(value, str) or len(value) != 1 or value in "\r\n":
            raise ConnectorError(f"{name} is one character, not {value!r}", hint=f"{name}={usual!r} is usual")
    if delimiter == quotechar:
        raise ConnectorError(f"delimiter and quotechar are both {delimiter!r}", hint="use two that differ")
    if quoting not in _QUOTING:
        raise ConnectorError(f"quoting is one of {', '.join(map(repr, _QUOTING))}, not {quoting!r}")
    if quoting == "none":
        return {"delimiter": delimiter, "quoting": csv.QUOTE_NONE, "quotechar": None}
    return {"delimiter": delimiter, "quoting": _QUOTING[quoting], "quotechar": quotechar}


def _reason(error: Exception) -> str:
    return str(undecodable(error) if isinstance(error, UnicodeDecodeError) else error)
