"""A job under a JobManager."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sage.core.api._failed import job_failed
from sage.core.api._packing import pack
from sage.core.api._status import status_of
from sage.core.api.job import Job
from sage.core.errors import JobManagerError, NotFoundError
from sage.core.graph.model import LogicalGraph
from sage.core.models import JobInfo, JobMetrics

if TYPE_CHECKING:
    from sage.core.api.remote_environment import RemoteEnvironment

__all__ = ["RemoteJob"]

_log = logging.getLogger("sage.job")


class RemoteJob(Job):
    """Speaks of a job through the client of its environment."""

    @classmethod
    def start(
        cls,
        graph: LogicalGraph,
        uuid: str,
        backend: str | None,
        options: Mapping[str, Any],
        environment: RemoteEnvironment,
    ) -> RemoteJob:
        """Package the graph and submit it."""
        with tempfile.TemporaryDirectory(prefix="sage-") as folder:
            package = Path(folder) / "job.sagepkg"
            pack(package, graph, uuid, backend, options)
            info = environment.client.submit(package)
        _report(uuid, environment)
        return cls(uuid, graph.name, info.number, environment)

    def __init__(self, uuid: str, name: str, number: int, environment: RemoteEnvironment) -> None:
        super().__init__(uuid, name)
        self._number = number
        self._environment = environment
        self._told = False

    def status(self) -> dict[str, Any]:
        try:
            return self._status(self._environment.client.job(self.uuid))
        except NotFoundError:
            return {"status": "deleted", "uuid": self.uuid, "name": self.name}

    def metrics(self) -> JobMetrics:
        return self._environment.client.metrics(self.uuid)

    def wait(self, timeout: float | None = None) -> dict[str, Any]:
        self._tell_where()
        try:
            info = self._environment.client.wait(self.uuid, timeout)
        except KeyboardInterrupt as error:
            error.add_note(f"job '{self.name}' goes on: sage job logs -f {self.uuid}, sage job stop {self.uuid}")
            raise
        if info.state == "failed":
            raise job_failed(self.uuid, self.name, info.failure)
        return self._status(info)

    def logs(self) -> Iterator[str]:
        yield from self._environment.client.follow_logs(self.uuid)
        _report(self.uuid, self._environment, seen=True)

    def stop(self) -> None:
        self._environment.client.stop(self.uuid)

    def continue_(self) -> None:
        self._environment.client.continue_(self.uuid)

    def delete(self, *, force: bool = False) -> None:
        self._environment.client.delete(self.uuid, force=force)

    def _tell_where(self) -> None:
        """Say, once, what is waited for: somebody who sits at a terminal sees nothing of the job else."""
        if self._told or "SAGE_RUN_REPORT" in os.environ:  # `sage run` shows the job itself
            return
        self._told = True
        client = self._environment.client
        number, address = self._number, f"{client.host}:{client.port}"
        text = f"job {number} ({self.name}) is with the JobManager at {address}; its output: sage job logs -f {number}"
        if sys.stderr is not None and sys.stderr.isatty():
            print(text, file=sys.stderr, flush=True)
        else:
            _log.info("%s", text)

    def _status(self, info: JobInfo) -> dict[str, Any]:
        try:
            metrics = self.metrics()
        except JobManagerError:  # it went, or the job did, right after the answer: that stands all the same
            metrics = None
        return status_of(info, metrics)


def _report(uuid: str, environment: RemoteEnvironment, *, seen: bool = False) -> None:
    """Tell ``sage run``, if it runs this script, which job to follow, and whether the script has read its output."""
    report = os.environ.get("SAGE_RUN_REPORT")
    if report:
        client = environment.client
        with Path(report).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"uuid": uuid, "host": client.host, "port": client.port, "seen": seen}) + "\n")
