"""Text: a line is a record."""

from __future__ import annotations

import os
from typing import Any

from sage.core.connectors.api import MAX_LINE_SIZE, SPLIT_SIZE
from sage.core.connectors.files.encoding import check_encoding, mark_of, unencodable
from sage.core.connectors.files.lines import Lines
from sage.core.connectors.files.sink import FileSink
from sage.core.connectors.files.source import FileSource, LineReader
from sage.core.errors import RecordError

__all__ = ["TextSink", "TextSource"]


class TextSource(FileSource):
    """Each line as a str, without its end (``\\n`` or ``\\r\\n``); empty lines, too.

    Args:
        path, split_size, min_partitions, max_line_size: as in `FileSource`.
        encoding: of the files; ``utf-8-sig`` leaves out the mark that some programs write at the beginning.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        encoding: str = "utf-8",
        split_size: int | None = SPLIT_SIZE,
        min_partitions: int = 1,
        max_line_size: int = MAX_LINE_SIZE,
    ) -> None:
        super().__init__(path, split_size=split_size, min_partitions=min_partitions, max_line_size=max_line_size)
        self.encoding = check_encoding(encoding)

    def reader(self, lines: Lines) -> LineReader:
        return _TextReader(lines, *mark_of(self.encoding))


class _TextReader(LineReader):
    def parse(self, lines: list[str]) -> list[Any]:
        return lines

    def parse_one(self, line: str) -> list[Any]:
        return [line]


class TextSink(FileSink):
    """Each record, a str without line ends, as a line.

    Args:
        path, overwrite: as in `FileSink`.
        encoding: of the file.
    """

    def __init__(self, path: str | os.PathLike[str], *, encoding: str = "utf-8", overwrite: bool = False) -> None:
        super().__init__(path, overwrite=overwrite)
        self.encoding, self._mark = mark_of(check_encoding(encoding))

    def begin(self) -> bytes:
        return self._mark

    def write(self, records: list[Any]) -> None:
        self.put(self._encode(records))

    def _encode(self, records: list[Any]) -> bytes:
        try:
            text = "\n".join(records) + "\n"
            if text.count("\n") == len(records) and "\r" not in text:
                return text.encode(self.encoding)
        except (TypeError, UnicodeEncodeError) as error:
            raise self._culprit(records) from error
        raise self._culprit(records)

    def _culprit(self, records: list[Any]) -> RecordError:
        for record in records:
            if not isinstance(record, str):
                hint = "make text of it first, for example by .map(str)"
                return self.unusable(record, f"a line is text, not {type(record).__name__}", hint)
            if "\n" in record or "\r" in record:
                return self.unusable(record, "a record with a line end in it would be read as two", "write JSON Lines")
            try:
                record.encode(self.encoding)
            except UnicodeEncodeError as error:
                return self.unusable(record, unencodable(error))
        raise AssertionError("all of these records can be written")
