"""A file that appears only when it is whole: written beside its place under another name, then moved there."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from sage.core.errors import ConnectorError

__all__ = ["WholeFile", "discard", "part_of", "publish", "written_before"]


def part_of(path: Path, subtask: int, parallelism: int) -> Path:
    """Where a subtask writes: a single one to the path itself, several to ``name-000-of-004.suffix`` and so on."""
    if parallelism == 1:
        return path
    return path.with_name(f"{path.stem}-{subtask:03d}-of-{parallelism:03d}{path.suffix}")


def written_before(path: Path) -> list[Path]:
    """What earlier runs have written to this path: the file itself, and parts of it, however many there were.

    Raises:
        ConnectorError: what is there is no file, or cannot be seen.
    """
    try:
        if path.is_dir():
            raise ConnectorError(f"{path} is a folder", hint="name the file to be written in it", file=str(path))
        if path.exists() and not path.is_file():
            raise ConnectorError(
                f"{path} is no regular file, and cannot be replaced by one",
                hint="write to another path, or to this one by a function given to sink",
                file=str(path),
            )
        parts = re.compile(rf"{re.escape(path.stem)}-\d{{3,}}-of-\d{{3,}}{re.escape(path.suffix)}")
        with os.scandir(path.parent) as entries:
            names = sorted(entry.name for entry in entries if entry.name == path.name or parts.fullmatch(entry.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _failed(path, "cannot be written", error) from error
    return [path.with_name(name) for name in names]


class WholeFile:
    """The temporary file of one subtask, `.<name>.<subtask>.tmp` in the folder of its target.

    The name is always the same, so that what a killed process left behind is written over by the next run. A lock
    keeps two that run at the same time apart.

    Args:
        target: where the file will be.
        subtask: whose it is.

    Raises:
        ConnectorError: it cannot be created, or another job is writing it.
    """

    def __init__(self, target: Path, subtask: int) -> None:
        self.target = target
        self.temporary = target.with_name(f".{target.name}.{subtask}.tmp")
        self._size = 0
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._create()
        except OSError as error:
            raise _failed(target, "cannot be written", error) from error

    def write(self, data: bytes) -> None:
        """Append ``data``. If that fails, nothing of it remains, and it may be tried again.

        Raises:
            ConnectorError: it failed.
        """
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            raise _failed(self.target, "cannot be written", error) from error
        self._size += len(data)

    def finish(self) -> None:
        """Everything is on the disk when this returns."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise _failed(self.target, "cannot be written", error) from error

    def close(self) -> None:
        """Let go of the file and of its lock; closing twice does nothing."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _create(self) -> int:
        while True:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self.temporary, flags, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still(self.temporary, descriptor):  # and was not published by its owner in between
                    os.ftruncate(descriptor, 0)
                    return descriptor
            except BlockingIOError as error:
                os.close(descriptor)
                raise ConnectorError(
                    f"{self.target}: another job, or another sink of this one, is writing it just now",
                    hint="give each sink a path of its own",
                    file=str(self.target),
                ) from error
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)


def publish(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Move a finished file to its place. Doing so again does nothing.

    Raises:
        ConnectorError: it cannot be moved, or something else has taken its place.
    """
    try:
        if not temporary.exists() and target.exists():
            return  # it was done before
        if not overwrite and target.exists():
            raise ConnectorError(
                f"{target} has appeared while its new content was written",
                hint="somebody else writes there: write to another path, or give overwrite=True",
                file=str(target),
            )
        temporary.replace(target)
        _flush_folder(target.parent)
    except OSError as error:
        raise _failed(target, "cannot be published", error) from error


def discard(temporary: Path) -> None:
    """Remove a temporary file, if it is there."""
    temporary.unlink(missing_ok=True)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(target: Path, what: str, error: OSError) -> ConnectorError:
    where = f" ({error.filename})" if error.filename not in (None, str(target)) else ""
    return ConnectorError(f"{target} {what}: {error.strerror}{where}", file=str(target))
