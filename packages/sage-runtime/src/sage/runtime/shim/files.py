"""Small private files that are replaced whole, and folders that are made durable."""

# pathlib would cost the shim a third of its start.
# ruff: noqa: PTH105, PTH108, PTH123

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["read_json", "sync_folder", "write_json"]


def write_json(path: str, value: Any) -> None:
    """Replace the file at ``path`` by ``value`` as JSON, mode 0600; readers see the old or the new content.

    Not flushed to disk: what must survive a power cut belongs in the events file.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    data = json.dumps(value, separators=(",", ":")).encode()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
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


def read_json(path: str) -> Any:
    """The value in the file at ``path``; `FileNotFoundError` if there is none, `ValueError` if it is not JSON."""
    with open(path, "rb") as file:
        return json.loads(file.read())


def sync_folder(path: str) -> None:
    """Flush a folder to disk: which names it has, not what is in their files."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
