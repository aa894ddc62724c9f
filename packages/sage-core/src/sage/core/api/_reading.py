"""What every environment reads from: connectors, and the files among them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sage.core.api._files import describe_file
from sage.core.api._installed import installed_source
from sage.core.connectors.api import MAX_LINE_SIZE, SPLIT_SIZE, is_bounded
from sage.core.graph.builder import Upstream
from sage.core.graph.functions import Given, describe_connector
from sage.core.graph.policy import ErrorPolicy

if TYPE_CHECKING:
    from sage.core.api.datastream import DataStream
    from sage.core.connectors.files.csv import Quoting

__all__ = ["Reading"]


class Reading(ABC):
    """The part of an environment that reads from connectors."""

    def from_connector(
        self,
        source: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """A source that is read in partitions, by the contract `sage.core.connectors.api.Source`.

        Args:
            source: a class with its constructor arguments, an instance, or the name of an installed connector with
                its options by name.
            parallelism: subtasks that share the partitions; where there are fewer, some have nothing to read.
            on_error: for single records that cannot be read; other errors are retried where it says so, and fail.

        Raises:
            PluginError: no connector of that name is installed, or it is broken.
        """
        given = installed_source(source, args, kwargs) if isinstance(source, str) else None
        given = given or describe_connector(source, args, kwargs, "read")
        bounded = {"bounded": is_bounded(given.spec.target)}
        return self._declare("read", given, name, uid, parallelism, on_error, bounded)

    def from_text(
        self,
        path: str | os.PathLike[str],
        *,
        encoding: str = "utf-8",
        split_size: int | None = SPLIT_SIZE,
        max_line_size: int = MAX_LINE_SIZE,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
    ) -> DataStream[str]:
        """The lines of text files, without their ends.

        Args:
            path: of a file, or a pattern (``*``, ``?``, ``[…]``, ``**``) for several, which are read in the order of
                their sorted paths. A relative one is relative to the folder that this program runs in, wherever the
                job runs.
            encoding: of the files.
            split_size: bytes; larger files are cut, so that several subtasks may read them, and smaller ones as well if
                there are not enough for ``parallelism``. None: never.
            max_line_size: bytes, without a line's end; a longer line is no record.
            on_error: for lines that cannot be decoded or are too long; the record that is given up is the raw line
                (of one that is too long, its beginning).
        """
        from sage.core.connectors.files.text import TextSource

        options = {"encoding": encoding, "max_line_size": max_line_size, **_splitting(split_size, parallelism)}
        given = describe_file(TextSource, path, options, "text")
        return self._declare("read", given, name, uid, parallelism, on_error, {"bounded": True})

    def from_jsonl(
        self,
        path: str | os.PathLike[str],
        *,
        split_size: int | None = SPLIT_SIZE,
        max_line_size: int = MAX_LINE_SIZE,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
    ) -> DataStream[Any]:
        """The values in JSON Lines files, one on each line; empty lines are passed over.

        Args:
            path, split_size, max_line_size: as in `from_text`.
            on_error: for lines that are not JSON, and as in `from_text`.
        """
        from sage.core.connectors.files.jsonl import JsonlSource

        options = {"max_line_size": max_line_size, **_splitting(split_size, parallelism)}
        given = describe_file(JsonlSource, path, options, "jsonl")
        return self._declare("read", given, name, uid, parallelism, on_error, {"bounded": True})

    def from_csv(
        self,
        path: str | os.PathLike[str],
        *,
        columns: Sequence[str] | None = None,
        delimiter: str = ",",
        quotechar: str = '"',
        quoting: Quoting = "minimal",
        encoding: str = "utf-8",
        max_line_size: int = MAX_LINE_SIZE,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
    ) -> DataStream[dict[str, str]]:
        """The rows of CSV files as dicts, by the names in their header; all values are text.

        Args:
            path, max_line_size: as in `from_text`. A CSV file is read by one subtask, however large it is.
            columns: the names, for files without a header.
            delimiter, quotechar: one character each.
            quoting: ``"none"`` where quotes are characters like any other.
            encoding: of the files.
            on_error: for lines that are malformed or have too few or too many values, and as in `from_text`.
        """
        from sage.core.connectors.files.csv import CsvSource

        options = {
            "columns": columns,
            "delimiter": delimiter,
            "quotechar": quotechar,
            "quoting": quoting,
            "encoding": encoding,
            "max_line_size": max_line_size,
        }
        given = describe_file(CsvSource, path, options, "csv")
        return self._declare("read", given, name, uid, parallelism, on_error, {"bounded": True})

    @abstractmethod
    def _declare(
        self,
        kind: str,
        given: Given,
        name: str | None,
        uid: str | None,
        parallelism: int,
        on_error: ErrorPolicy | None,
        options: Mapping[str, Any] | None = None,
        upstream: tuple[Upstream, ...] = (),
    ) -> DataStream[Any]:
        """Declare an operator; a source has no upstream."""


def _splitting(split_size: int | None, parallelism: int) -> dict[str, Any]:
    """How files are cut so that each subtask finds something; what ``parallelism`` may be is judged elsewhere."""
    return {"split_size": split_size, "min_partitions": max(parallelism, 1) if isinstance(parallelism, int) else 1}
