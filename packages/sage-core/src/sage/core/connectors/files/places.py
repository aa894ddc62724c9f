"""Which files a path stands for, and how they are cut into partitions."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from sage.core.errors import ConnectorError

__all__ = ["ByteRange", "absolute", "cut", "find_files"]

_MOST_PARTITIONS = 100_000
"""Of one file: more are a slip, and would keep whoever deals them out busy for long."""


@dataclass(frozen=True)
class ByteRange:
    """A part of a file: the lines that begin at ``start`` or behind it, and before ``end``.

    The last part of a file takes all that follows as well; ``end`` is what the size was. Its text is the name of a
    partition, and is all that is needed to read it.
    """

    path: str
    start: int
    end: int
    is_last: bool

    def __str__(self) -> str:
        return f"{self.path}@{self.start}-{self.end}{'+' if self.is_last else ''}"

    @classmethod
    def parse(cls, name: str) -> ByteRange:
        """The range of that name; whatever the path has in it, the part behind its last ``@`` is ours."""
        path, _, numbers = name.rpartition("@")
        start, _, end = numbers.partition("-")
        return cls(path, int(start), int(end.removesuffix("+")), end.endswith("+"))


def absolute(path: str | os.PathLike[str]) -> str:
    """A path or pattern that means the same wherever the job runs: relative to the folder that it was written in."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConnectorError(f"a path is text that is not empty, not {text!r}", hint="give a str or a pathlib.Path")
    return os.path.abspath(text)  # noqa: PTH100 - it may be a pattern, and ".." has to go


def find_files(pattern: str) -> list[str]:
    """The files that a path or a pattern stands for, sorted. Folders, FIFOs and the like do not match a pattern.

    Raises:
        ConnectorError: there are none.
    """
    try:
        return _find(Path(pattern))
    except OSError as error:
        raise ConnectorError(
            f"{pattern} cannot be looked for: {error.strerror}",
            hint="see that its folders may be read where the job runs",
            file=pattern,
        ) from error


def cut(path: str, size: int | None, at_least: int = 1) -> list[ByteRange]:
    """A file in ranges of ``size`` bytes at most, and in ``at_least`` so many if it has enough; None leaves it whole.

    The last one takes what is appended meanwhile.

    Raises:
        ConnectorError: it has vanished meanwhile, or would have too many ranges.
    """
    try:
        length = Path(path).stat().st_size
    except OSError as error:
        raise ConnectorError(
            f"{path}: {error.strerror}", hint="see that it is still there where the job runs", file=path
        ) from error
    if size is None or length == 0:
        return [ByteRange(path, 0, length, is_last=True)]
    step = min(size, -(-length // at_least))
    if length > _MOST_PARTITIONS * step:
        message = f"{path} has {length:,} bytes, which make too many partitions of {step:,}"
        raise ConnectorError(message, hint="a larger split_size makes fewer of them", file=path)
    return [
        ByteRange(path, start, min(start + step, length), is_last=start + step >= length)
        for start in range(0, length, step)
    ]


def _find(path: Path) -> list[str]:
    pattern = str(path)
    if path.is_file():
        return [pattern]  # also where its name looks like a pattern
    if path.is_dir():
        raise ConnectorError(f"{pattern} is a folder", hint=f"name its files: {pattern}/*", file=pattern)
    if path.exists():
        raise ConnectorError(
            f"{pattern} is no regular file", hint="read it by a function given to from_source", file=pattern
        )
    if not glob.has_magic(pattern):
        raise ConnectorError(
            f"there is no file {pattern}", hint="it has to be there where the job runs, before it starts", file=pattern
        )
    found = sorted(name for name in set(glob.iglob(pattern, recursive=True)) if Path(name).is_file())  # noqa: PTH207
    if not found:
        raise ConnectorError(
            f"no file matches {pattern}", hint="one has to be there where the job runs, before it starts", file=pattern
        )
    return _once(found) if "**" in pattern else found


def _once(found: list[str]) -> list[str]:
    """Without what was found again by links between folders, which may even lead in a circle."""
    places: dict[str, str] = {}
    for name in sorted(found, key=lambda name: (name.count(os.sep), name)):
        folder, base = os.path.split(name)
        places.setdefault(os.path.join(os.path.realpath(folder), base), name)  # noqa: PTH118
    return sorted(places.values())
