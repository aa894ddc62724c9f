"""What all file sinks have in common: from batches of records to a file that appears when it is whole."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sage.core.connectors.api import Delivery
from sage.core.connectors.files.places import absolute
from sage.core.connectors.files.whole import WholeFile, discard, part_of, publish, written_before
from sage.core.errors import ConnectorError, RecordError

if TYPE_CHECKING:
    from sage.core.engine.context import RuntimeContext

__all__ = ["FileSink"]


class FileSink(ABC):
    """Writes records to a file, or each of several subtasks to a part: ``out-000-of-004.jsonl`` for ``out.jsonl``.

    The file is written under another name in the same folder (`.<name>.<subtask>.tmp`) and moved to its place once all
    of it is on the disk; if the job fails or is cancelled it is removed. Folders that are missing are made.

    Args:
        path: of the file; a relative one is relative to the folder in which this object is made. A link is followed.
        overwrite: replace what is there, all parts of an earlier run included; otherwise that is refused.
    """

    delivery: Delivery = "transactional"

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.path = absolute(path)
        if os.fspath(path).endswith(os.sep):
            raise ConnectorError(f"{path} names a folder", hint="name the file to be written in it", file=self.path)
        self.overwrite = overwrite
        self._file: WholeFile | None = None
        self._finished = False
        self._old: list[str] = []  # files of earlier runs that the new ones do not replace by their names

    def begin(self) -> bytes:
        """What a file begins with."""
        return b""

    @abstractmethod
    def write(self, records: list[Any]) -> None:
        """Hand the bytes of all records, in full lines, to `put`.

        Raises:
            RecordError: a record has no place in such a file (see `unusable`); nothing was written.
        """

    def put(self, data: bytes) -> None:
        """Append to the file. If it fails, nothing of ``data`` is in it."""
        assert self._file is not None
        self._file.write(data)

    def open(self, context: RuntimeContext) -> None:
        path = Path(os.path.realpath(self.path))
        before = written_before(path)
        if before and not self.overwrite:
            raise ConnectorError(
                f"{before[0]} exists", hint="remove it, or write with overwrite=True", file=str(before[0])
            )
        if context.subtask == 0:
            targets = {part_of(path, number, context.parallelism) for number in range(context.parallelism)}
            self._old = [str(old) for old in before if old not in targets]
        self._file = WholeFile(part_of(path, context.subtask, context.parallelism), context.subtask)
        self._file.write(self.begin())

    def prepare(self, n: int) -> object:
        assert self._file is not None
        self._file.finish()
        self._finished = True
        return {"temporary": str(self._file.temporary), "target": str(self._file.target), "old": self._old}

    def commit(self, handle: object) -> None:
        assert isinstance(handle, Mapping)
        publish(Path(handle["temporary"]), Path(handle["target"]), overwrite=self.overwrite)
        for old in handle["old"]:
            Path(old).unlink(missing_ok=True)

    def abort(self, handle: object) -> None:
        assert isinstance(handle, Mapping)
        discard(Path(handle["temporary"]))

    def close(self) -> None:
        if self._file is not None:
            if not self._finished:
                discard(self._file.temporary)
            self._file.close()

    def unusable(self, record: Any, message: str, hint: str | None = None) -> RecordError:
        """The error of a record that cannot be written."""
        return RecordError(f"{self.path}: {message}", hint=hint, record=record, file=self.path)
