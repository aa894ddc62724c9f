"""Small private files that are replaced whole, and folders that are made durable."""

# pathlib would cost the shim a third of its start.
# ruff: noqa: PTH105, PTH108

from __future__ import annotations

import errno
import json
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["open_plain", "read_json", "read_plain", "sync_folder", "write_json"]

_CHUNK = 1 << 16


def open_plain(path: str) -> int:
    """A descriptor to read the regular file at ``path``.

    What lies in a job's folder may be the job's doing: a pipe in a file's place would hold up whoever opens it for
    ever, a link would lead elsewhere. `OSError` for those; `FileNotFoundError` if there is nothing.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor


def read_plain(path: str, limit: int) -> bytes:
    """At most ``limit`` bytes of the regular file at ``path``; raises as `open_plain` does."""
    descriptor = open_plain(path)
    try:
        parts = []
        while limit > 0 and (part := os.read(descriptor, min(limit, _CHUNK))):
            parts.append(part)
            limit -= len(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def write_json(path: str, value: Any) -> None:
    """Replace the file at ``path`` by ``value`` as JSON, mode 0600; readers see the old or the new content.

    Not flushed to disk: what must survive a power cut belongs in the events file.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    data = json.dumps(value, separators=(",", ":")).encode()
    # O_NONBLOCK: a pipe that the job put there is an error rather than a wait.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        raise


def read_json(path: str, *, limit: int = 1 << 20) -> Any:
    """The value in the regular file at ``path``, of ``limit`` bytes at most.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is no regular file, or cannot be read.
        ValueError: it is not JSON, or too large.
    """
    try:
        return json.loads(read_plain(path, limit))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def sync_folder(path: str) -> None:
    """Flush a folder to disk: which names it has, not what is in their files."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
