"""JSON Lines: a line is a JSON value, and a value is a record."""

from __future__ import annotations

import codecs
import json
import os
from typing import Any

from sage.core.connectors.api import MAX_LINE_SIZE, SPLIT_SIZE
from sage.core.connectors.files.lines import Lines
from sage.core.connectors.files.sink import FileSink
from sage.core.connectors.files.source import FileSource, LineReader

__all__ = ["JsonlSink", "JsonlSource"]

_decode = json.JSONDecoder().raw_decode
_SPACE = " \t\r\n"  # what JSON means by it
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_ascii = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


class JsonlSource(FileSource):
    """The value of each line; empty lines are passed over. The files are UTF-8, with or without a mark before it.

    As Python does it, ``NaN`` and ``Infinity`` are read as numbers, a number too large for a float as infinity, and of
    a repeated key the last value counts.

    Args:
        path, split_size, min_partitions, max_line_size: as in `FileSource`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        split_size: int | None = SPLIT_SIZE,
        min_partitions: int = 1,
        max_line_size: int = MAX_LINE_SIZE,
    ) -> None:
        super().__init__(path, split_size=split_size, min_partitions=min_partitions, max_line_size=max_line_size)

    def reader(self, lines: Lines) -> LineReader:
        return _JsonlReader(lines, "utf-8", codecs.BOM_UTF8)


class _JsonlReader(LineReader):
    def parse(self, lines: list[str]) -> list[Any]:
        # It takes half of the time of `json.loads`, and passes over no space: what has some is looked at one by one.
        pairs = list(map(_decode, lines))
        if [end for _, end in pairs] != list(map(len, lines)):
            raise ValueError("something around a value")
        return [value for value, _ in pairs]

    def parse_one(self, line: str) -> list[Any]:
        if not line.strip(_SPACE):
            return []
        try:
            return [json.loads(line)]
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
        except RecursionError as error:
            raise ValueError("JSON that is nested too deep") from error


class JsonlSink(FileSink):
    """Each record as a line of JSON in UTF-8.

    NaN and infinities are no JSON, and are refused like everything else that is none.

    Args:
        path, overwrite: as in `FileSink`.
    """

    def write(self, records: list[Any]) -> None:
        self.put(self._encode(records))

    def _encode(self, records: list[Any]) -> bytes:
        lines = []
        for record in records:
            try:
                lines.append(_encode(record))
            except Exception as error:
                hint = "make plain values of it first, by .map(…): dict, list, str, numbers, True, False, None"
                raise self.unusable(record, f"not to be written as JSON: {error}", hint) from error
        try:
            return ("\n".join(lines) + "\n").encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can only hold escaped
            return ("\n".join(map(_encode_ascii, records)) + "\n").encode()
