"""The newest numbers of a job, in a file that is replaced at most a few times a second."""

from __future__ import annotations

import time

from sage.runtime.shim.files import write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sage.runtime.shim.loop import Loop

__all__ = ["MetricsFile"]

_INTERVAL = 0.25


class MetricsFile:
    """``metrics.json``: what was put last, written at once or ``_INTERVAL`` seconds after the last time."""

    def __init__(self, loop: Loop, path: str, *, note: Callable[[str], None]) -> None:
        self._loop = loop
        self._path = path
        self._note = note
        self._latest: dict[str, Any] | None = None
        self._due = 0.0
        self._waiting = False

    def put(self, metrics: dict[str, Any]) -> None:
        self._latest = metrics
        wait = self._due - time.monotonic()
        if wait <= 0:
            self.flush()
        elif not self._waiting:
            self._waiting = True
            self._loop.after(wait, self.flush)

    def flush(self) -> None:
        """Write what was put last, if it is not written yet; a disk that refuses costs these numbers only."""
        self._waiting = False
        if self._latest is None:
            return
        metrics, self._latest = self._latest, None
        self._due = time.monotonic() + _INTERVAL
        try:
            write_json(self._path, metrics)
        except OSError as error:
            self._note(f"the metrics could not be written: {error}")
