"""What a plugin prints while it is loaded or asked goes to stderr: stdout belongs to the program's results."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

__all__ = ["diverted"]

_lock = threading.Lock()
_threads: Counter[int] = Counter()
"""Those whose output is diverted, and how many times over."""


@contextmanager
def diverted() -> Iterator[None]:
    """Let what this thread prints go to stderr; that of other threads, of a job which runs meanwhile, goes its way."""
    own = threading.get_ident()
    with _lock:
        if not _threads:
            sys.stdout = _Diverted(_undiverted(sys.stdout))
        _threads[own] += 1
    try:
        yield
    finally:
        with _lock:
            _threads[own] -= 1
            if not _threads[own]:
                del _threads[own]
            if not _threads:
                sys.stdout = _undiverted(sys.stdout)


def _undiverted(stream: Any) -> Any:
    return stream._stdout if isinstance(stream, _Diverted) else stream


class _Diverted:
    """Stands for `sys.stdout`. Who keeps it, as a logging handler does, has the real one once all is over."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout

    def write(self, text: str) -> int:
        return self._target().write(text)

    def flush(self) -> None:
        self._target().flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target(), name)

    def _target(self) -> TextIO:
        return sys.stderr if threading.get_ident() in _threads else self._stdout
