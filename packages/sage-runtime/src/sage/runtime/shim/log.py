"""The job's log: whatever bytes the job prints, in bounded files.

``job.log`` is the newest file, ``job.log.1`` the one before it, and so on. Readers count bytes since the job's first,
across rotation; which byte a file begins with is told by ``job.log.index``::

    {"files": [[inode, first byte], …], "next": first byte of the file made next}

A file that the index does not name was made after it was written, hence begins at ``next``; without an index there
was no rotation yet. Rotating unlinks and renames first, then writes the index, then makes the new file, so that this
holds after a crash between any two steps, also where the file system gives an inode's number again.
"""

# pathlib would cost the shim a third of its start.
# ruff: noqa: PTH104, PTH108, PTH116, PTH208

from __future__ import annotations

import os

from sage.runtime.shim.files import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RotatingLog", "index_path", "log_files", "read_index"]

_SMALLEST = 4096
_TAIL = 1 << 16
# Far beyond any log, and small enough for every inode number and every sum of a few.
_LARGEST = 1 << 64


class RotatingLog:
    """The log opened for writing, by the one shim of the job.

    Never raises because of a full or broken disk: what could not be written is counted, and the log says so with its
    next line that could.

    Attributes:
        total: bytes since the job's first, those in files that are gone included.
        lost: bytes that could not be written since the last that could.
    """

    def __init__(self, path: str, *, max_bytes: int, keep: int) -> None:
        """Args:
        path: of ``job.log``.
        max_bytes: at which a file is put aside (at least 4096).
        keep: how many of those put aside are kept.

        Raises:
            OSError: the log cannot be opened.
        """
        self._path = path
        self._max_bytes = max(max_bytes, _SMALLEST)
        self._keep = max(keep, 0)
        self._fd = -1
        self._size = 0
        self._start = 0
        self._line_open = False
        self._tail = b""
        self.total = 0
        self.lost = 0
        self._put_so_far = 0
        files = dict(log_files(path))
        for number in [number for number in files if number > self._keep]:
            os.unlink(files.pop(number))
        if files and 0 not in files:
            # A rotation ended between putting the old file aside and making the new one.
            starts, following = read_index(path)
            newest = os.stat(files[min(files)])
            self.total = starts.get(newest.st_ino, following) + newest.st_size
            self._begin_file()
        else:
            self._open()

    def _open(self) -> None:
        # O_NONBLOCK: a pipe that the job put there is an error rather than a wait.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
        self._fd = os.open(self._path, flags, 0o600)
        info = os.fstat(self._fd)
        starts, following = read_index(self._path)
        self._size = info.st_size
        self._start = starts.get(info.st_ino, following)
        self.total = self._start + self._size

    def write(self, data: bytes) -> None:
        """Append ``data``."""
        self._tail = (self._tail + data)[-_TAIL:]
        if self.lost:
            note = f"[sage: {self.lost} bytes of output were lost here: the log could not be written]\n"
            if self._put((b"\n" if self._line_open else b"") + note.encode()):
                self.lost = 0
        if not self._put(data):
            self.lost += len(data) - self._put_so_far

    def _put(self, data: bytes) -> bool:
        view = memoryview(data)
        self._put_so_far = 0
        try:
            while view:
                room = self._max_bytes - self._size
                if self._fd < 0 or room <= 0:
                    self._rotate()
                    continue
                part = view[:room]
                if len(view) > room:
                    # Put the file aside after a whole line, unless one line is as large as a file.
                    newline = bytes(part).rfind(b"\n")
                    if newline >= 0:
                        part = part[: newline + 1]
                    elif self._size:
                        self._rotate()
                        continue
                count = os.write(self._fd, part)
                self._size += count
                self.total += count
                self._put_so_far += count
                self._line_open = part[count - 1] != 10
                view = view[count:]
        except OSError:
            return False
        return True

    def _rotate(self) -> None:
        self.close()
        # Complete whatever a rotation that failed half way has left: each step is repeatable.
        files = dict(log_files(self._path))
        if 0 in files:
            if self._keep in files:
                os.unlink(files.pop(self._keep))
            for number in sorted(files, reverse=True):
                os.rename(files[number], f"{self._path}.{number + 1}")
        self._begin_file()

    def _begin_file(self) -> None:
        starts, following = read_index(self._path)
        inodes = [os.stat(name).st_ino for _, name in log_files(self._path)]
        entries = [[inode, starts.get(inode, following)] for inode in inodes]
        write_json(index_path(self._path), {"files": entries, "next": self.total})
        self._open()

    def tail(self) -> str:
        """The last lines written to the log in this attempt, some 64 KiB at most."""
        return self._tail.decode("utf-8", "replace")

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def index_path(path: str) -> str:
    """Where the index of the log at ``path`` lies."""
    return f"{path}.index"


def read_index(path: str) -> tuple[dict[int, int], int]:
    """The first byte of each file by inode, and that of a file the index does not name."""
    try:
        index = read_json(index_path(path))
        starts = {_offset(inode): _offset(start) for inode, start in index["files"]}
        return starts, _offset(index["next"])
    except FileNotFoundError:
        return {}, 0
    except (OSError, ValueError, KeyError, TypeError):
        # Damaged from outside: offsets begin anew, the text itself is all there.
        return {}, 0


def _offset(value: object) -> int:
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise ValueError(f"{value!r} is no number of this index")
    return value


def log_files(path: str) -> Iterator[tuple[int, str]]:
    """Number and path of each file of the log, oldest (highest number) first; 0 is ``path`` itself."""
    folder, name = os.path.split(path)
    numbers = []
    for entry in os.listdir(folder):
        if entry == name:
            numbers.append(0)
        elif entry.startswith(f"{name}.") and entry[len(name) + 1 :].isdecimal():
            numbers.append(int(entry[len(name) + 1 :]))
    for number in sorted(numbers, reverse=True):
        yield number, f"{path}.{number}" if number else path
