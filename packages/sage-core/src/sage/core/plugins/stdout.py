"""What a plugin prints while it is loaded or asked goes to stderr: stdout belongs to the program's results."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

__all__ = ["diverted"]


@contextmanager
def diverted() -> Iterator[None]:
    """Let what this thread prints go to stderr; that of other threads, of a job which runs meanwhile, goes its way."""
    before = sys.stdout
    own: Any = _Diverted(before)
    sys.stdout = own
    try:
        yield
    finally:
        own.end()
        if sys.stdout is own:
            sys.stdout = before


class _Diverted:
    """Stands for `sys.stdout`. A plugin may keep it, as a logging handler does, so it ends by being just that."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout
        self._thread: int | None = threading.get_ident()

    def end(self) -> None:
        self._thread = None

    def write(self, text: str) -> int:
        return self._target().write(text)

    def flush(self) -> None:
        self._target().flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target(), name)

    def _target(self) -> TextIO:
        return sys.stderr if self._thread == threading.get_ident() else self._stdout
