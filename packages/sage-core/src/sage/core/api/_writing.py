"""What every stream can be written to: connectors, and the files among them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from sage.core.api._files import describe_file
from sage.core.api._installed import installed_sink
from sage.core.graph.functions import Given, describe_connector
from sage.core.graph.policy import ErrorPolicy

if TYPE_CHECKING:
    from sage.core.connectors.files.csv import Quoting

__all__ = ["Writing"]


class Writing(ABC):
    """The part of a stream that writes to connectors. All methods return the stream, to be used further."""

    def to_connector(
        self,
        sink: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> Self:
        """Writes the records in batches, by the contract `sage.core.connectors.api.Sink`.

        Args:
            sink: a class with its constructor arguments, an instance, or the name of an installed connector with its
                options by name; each subtask has its own.
            on_error: for single records that cannot be written; other errors are retried where it says so, and fail.

        Raises:
            PluginError: no connector of that name is installed, or it is broken.
        """
        given = installed_sink(sink, args, kwargs) if isinstance(sink, str) else None
        given = given or describe_connector(sink, args, kwargs, "write")
        return self._write(given, name, uid, parallelism, on_error)

    def to_text(
        self,
        path: str | os.PathLike[str],
        *,
        encoding: str = "utf-8",
        overwrite: bool = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
    ) -> Self:
        """Writes each record, a str, as a line.

        The file is there when all of it is: until then it has another name, ``.<name>.<subtask>.tmp`` beside its
        place, and if the job fails nothing of it stays. Several subtasks write parts: ``out-000-of-004.txt`` and so
        on for ``out.txt``.

        Args:
            path: of the file. A relative one is relative to the folder that this program runs in, wherever the job
                runs; missing folders are made.
            encoding: of the file.
            overwrite: replace what is there, all parts of an earlier run included; otherwise the job fails.
            on_error: for records that cannot be written.
        """
        from sage.core.connectors.files.text import TextSink

        given = describe_file(TextSink, path, {"encoding": encoding, "overwrite": overwrite}, "text")
        return self._write(given, name, uid, parallelism, on_error)

    def to_jsonl(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
    ) -> Self:
        """Writes each record as a line of JSON.

        Args:
            path, overwrite: as in `to_text`.
            on_error: for records that are no JSON values.
        """
        from sage.core.connectors.files.jsonl import JsonlSink

        given = describe_file(JsonlSink, path, {"overwrite": overwrite}, "jsonl")
        return self._write(given, name, uid, parallelism, on_error)

    def to_csv(
        self,
        path: str | os.PathLike[str],
        *,
        columns: Sequence[str] | None = None,
        delimiter: str = ",",
        quotechar: str = '"',
        quoting: Quoting = "minimal",
        encoding: str = "utf-8",
        overwrite: bool = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
    ) -> Self:
        """Writes each record, a dict, as a row below a header.

        Args:
            path, overwrite: as in `to_text`.
            columns: their names and order; by default those of the first record. Each record has to have just these.
            delimiter, quotechar: one character each.
            quoting: ``"minimal"``, ``"all"`` or ``"none"``.
            encoding: of the file.
            on_error: for records that are no such dicts.
        """
        from sage.core.connectors.files.csv import CsvSink

        options = {
            "columns": columns,
            "delimiter": delimiter,
            "quotechar": quotechar,
            "quoting": quoting,
            "encoding": encoding,
            "overwrite": overwrite,
        }
        return self._write(describe_file(CsvSink, path, options, "csv"), name, uid, parallelism, on_error)

    @abstractmethod
    def _write(
        self, given: Given, name: str | None, uid: str | None, parallelism: int, on_error: ErrorPolicy | None
    ) -> Self:
        """Declare a sink of a connector."""
