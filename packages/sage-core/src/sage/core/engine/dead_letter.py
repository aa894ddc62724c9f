"""Records that were given up, with the reason; on a stream or in a file, from which they can be played again."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sage.core import timestamps
from sage.core.engine.failures import headline
from sage.core.errors import DeadLetterFileError
from sage.core.models import FailureInfo

__all__ = ["DeadLetter", "DeadLetterFile", "read_dead_letters"]


@dataclass(frozen=True)
class DeadLetter:
    """A record that was given up.

    Attributes:
        record: the record itself.
        failure: operator, exception and traceback.
        time: when, RFC 3339 in UTC.
    """

    record: Any
    failure: FailureInfo
    time: str

    @classmethod
    def of(cls, record: Any, failure: FailureInfo) -> DeadLetter:
        return cls(record, failure, timestamps.now())


class DeadLetterFile:
    """Appends dead letters to a file, a JSON object a line. Several subtasks may append to one file.

    The record is kept as text for people and, where it can be pickled, as a pickle to play it again.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._file: BinaryIO | None = None

    def open(self) -> None:
        """Open the file before the first record, so that a path that leads nowhere is told then. Raises `OSError`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered and for appending: each line is one write, and lands whole behind what others wrote.
        self._file = self._path.open("ab", buffering=0)

    def write(self, letter: DeadLetter) -> None:
        """Append one. Raises `OSError` if not all of it could be written: then nothing of it is left in the file."""
        assert self._file is not None
        pickled: str | None = None
        reason: str | None = None
        try:
            pickled = base64.b64encode(pickle.dumps(letter.record, protocol=5)).decode()
        except Exception as error:  # the text of the record is kept all the same, and the reason told
            reason = headline(error)
        line = {"time": letter.time, **letter.failure.to_json(), "pickle": pickled, "not_pickled": reason}
        data = json.dumps(line).encode() + b"\n"
        written = self._file.write(data) or 0
        if written < len(data):  # the disk, or what the file may take, has ended within the line
            self._take_back(self._file, written)
            raise OSError(f"only {written:,} of {len(data):,} bytes of a dead letter could be written to {self._path}")

    def _take_back(self, file: BinaryIO, written: int) -> None:
        """Remove the beginning of a line, or end it where another has written behind it: no letter is glued to it."""
        with contextlib.suppress(OSError):  # no file that can be cut, or no room at all: the error tells of it
            end = file.tell()
            if os.fstat(file.fileno()).st_size == end:
                os.ftruncate(file.fileno(), end - written)
                return
        with contextlib.suppress(OSError):
            file.write(b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def read_dead_letters(path: str | os.PathLike[str]) -> Iterator[DeadLetter]:
    """The dead letters in a file, in order: ``env.from_batch(lambda: (l.record for l in read_dead_letters(path)))``.

    Records are unpickled: only read files that your own jobs wrote.

    Raises:
        DeadLetterFileError: a line is damaged, or its record could not be pickled when it was written, or cannot be
            unpickled here.
    """
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{os.fspath(path)}, line {number}"
            try:
                data = json.loads(line)
                failure, pickled = FailureInfo.from_json(data), data["pickle"]
            except (ValueError, KeyError, TypeError) as error:
                raise DeadLetterFileError(f"{where}: no dead letter: {error}") from error
            if pickled is None:
                reason = data.get("not_pickled")
                raise DeadLetterFileError(f"{where}: the record was not kept, since it could not be pickled: {reason}")
            try:
                record = pickle.loads(base64.b64decode(pickled))  # noqa: S301
            except Exception as error:  # classes of the record may have moved
                raise DeadLetterFileError(
                    f"{where}: the record cannot be unpickled: {headline(error)}",
                    hint="read it in a program that has the modules of the one that wrote it",
                ) from error
            yield DeadLetter(record, failure, data["time"])
