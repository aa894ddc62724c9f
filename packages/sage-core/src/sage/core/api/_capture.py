"""Capture mode: while ``SAGE_CAPTURE`` names a folder, ``submit()`` writes a package there instead of running.

The command line takes the graph of a script this way: it runs the script so, and then does with each package
what was asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sage.core.api._status import status_of
from sage.core.api.job import Job
from sage.core.errors import WrongStateError
from sage.core.graph.model import LogicalGraph
from sage.core.models import JobInfo, JobMetrics

__all__ = ["CapturedJob", "capture", "capture_folder"]


def capture_folder() -> Path | None:
    """Where to write packages, or None outside capture mode."""
    folder = os.environ.get("SAGE_CAPTURE")
    return Path(folder) if folder else None


def capture(folder: Path, graph: LogicalGraph, uuid: str, backend: str | None, options: Mapping[str, Any]) -> Job:
    """Write the package of a graph as ``<NNN>-<uuid>.sagepkg``, numbered in order of submission."""
    from sage.core.api._packing import pack

    number = len(list(folder.glob("*.sagepkg"))) + 1
    pack(folder / f"{number:03d}-{uuid}.sagepkg", graph, uuid, backend, options)
    return CapturedJob(uuid, graph.name, backend)


class CapturedJob(Job):
    """Stands for a job that the command line submits once the script has ended. Waiting for it returns at once."""

    def __init__(self, uuid: str, name: str, backend: str | None) -> None:
        super().__init__(uuid, name)
        self._backend = backend or JobInfo.backend

    def status(self) -> dict[str, Any]:
        reason = "it was handed over: what runs this program sends it once the program has ended"
        return status_of(JobInfo(0, self.uuid, self.name, "submitted", reason=reason, backend=self._backend), None)

    def metrics(self) -> JobMetrics:
        return JobMetrics()

    def wait(self, timeout: float | None = None) -> dict[str, Any]:
        return self.status()

    def logs(self) -> Iterator[str]:
        return iter(())

    def stop(self) -> None:
        raise self._too_early("stopped")

    def continue_(self) -> None:
        raise self._too_early("continued")

    def delete(self, *, force: bool = False) -> None:
        raise self._too_early("deleted")

    def _too_early(self, what: str) -> WrongStateError:
        return WrongStateError(f"job {self.uuid} is submitted when the script has ended: it cannot be {what} before")
