"""Which files a path stands for, and how they are cut into partitions."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from sage.core.errors import ConnectorError

__all__ = ["ByteRange", "absolute", "cut", "find_files"]


@dataclass(frozen=True)
class ByteRange:
    """A part of a file: the lines that begin at ``start`` or behind it, and before ``end`` (None: to the end).

    Its text is the name of a partition, and is all that is needed to read it.
    """

    path: str
    start: int = 0
    end: int | None = None

    def __str__(self) -> str:
        return f"{self.path}@{self.start}-{'' if self.end is None else self.end}"

    @classmethod
    def parse(cls, name: str) -> ByteRange:
        """The range of that name; whatever the path has in it, the part behind its last ``@`` is ours."""
        path, _, numbers = name.rpartition("@")
        start, _, end = numbers.partition("-")
        return cls(path, int(start), int(end) if end else None)


def absolute(path: str | os.PathLike[str]) -> str:
    """A path or pattern that means the same wherever the job runs: relative to the folder that it was written in."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConnectorError(f"a path is text that is not empty, not {text!r}")
    return os.path.abspath(text)  # noqa: PTH100 - it may be a pattern, and ".." has to go


def find_files(pattern: str) -> list[str]:
    """The files that a path or a pattern stands for, sorted.

    Raises:
        ConnectorError: there are none.
    """
    if Path(pattern).is_file():
        return [pattern]  # also where its name looks like a pattern
    if Path(pattern).is_dir():
        raise ConnectorError(f"{pattern} is a folder", hint=f"name its files: {pattern}/*", file=pattern)
    if not glob.has_magic(pattern):
        raise ConnectorError(f"there is no file {pattern}", file=pattern)
    found = sorted(path for path in glob.iglob(pattern, recursive=True) if Path(path).is_file())  # noqa: PTH207
    if not found:
        raise ConnectorError(f"no file matches {pattern}", file=pattern)
    return found


def cut(path: str, size: int | None) -> list[ByteRange]:
    """A file in ranges of about ``size`` bytes; None leaves it whole. The last one takes what is appended meanwhile."""
    try:
        length = Path(path).stat().st_size
    except OSError as error:
        raise ConnectorError(f"{path}: {error.strerror}", file=path) from error
    starts = range(0, max(length, 1), size or max(length, 1))
    return [ByteRange(path, start, start + starts.step if start != starts[-1] else None) for start in starts]
