"""A job in this process."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sage.core.api._failed import job_failed
from sage.core.api.job import Job
from sage.core.client.models import ENDED_STATES, FailureInfo
from sage.core.engine.coordinator import Coordinator
from sage.core.engine.events import Attempt
from sage.core.errors import GraphError, WaitTimeoutError, WrongStateError
from sage.core.graph.model import FunctionSpec, LogicalGraph
from sage.core.plugins import backend as resolve_backend

__all__ = ["LocalJob"]

_GRACE = 10.0
_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})
_log = logging.getLogger("sage.job")
_unfinished: weakref.WeakSet[LocalJob] = weakref.WeakSet()


class LocalJob(Job):
    """Runs a graph through a coordinator in this process."""

    @classmethod
    def start(cls, graph: LogicalGraph, uuid: str, backend: str) -> LocalJob:
        """Check, deploy and, where the backend works in the caller's thread, run."""
        _check_templates(graph)
        job = cls(graph, uuid, backend)
        job._begin()
        return job

    def __init__(self, graph: LogicalGraph, uuid: str, backend: str) -> None:
        super().__init__(uuid, graph.name)
        self._backend = resolve_backend(backend)
        self._backend_name = backend
        self._bounded = not any(operator.kind == "source" for operator in graph.operators)
        self._times: dict[str, str] = {}
        self._reason: str | None = None
        self._deleted = False
        self._waited_for = threading.Event()
        self._coordinator = Coordinator(graph, self._backend, Attempt(uuid, graph.name), on_state=self._on_state)

    def _begin(self) -> None:
        self._times["created_at"] = _now()
        self._coordinator.start()
        if "threads" in self._backend.capabilities:
            _at_exit(self)
        else:
            self.wait()

    def status(self) -> dict[str, Any]:
        if self._deleted:
            return {"status": "deleted", "uuid": self.uuid, "name": self.name}
        run, metrics = self._coordinator, self._coordinator.metrics()
        sources = [item for item in metrics.operators if item.kind in ("batch", "collection", "source")]
        sinks = [item for item in metrics.operators if item.kind == "sink"]
        return {
            "status": run.state,
            "uuid": self.uuid,
            "name": self.name,
            "backend": self._backend_name,
            "reason": self._reason,
            "running": run.state not in ENDED_STATES,
            "tasks": metrics.tasks,
            "records_in": sum(item.records_out for item in sources),
            "records_out": sum(item.records_in for item in sinks),
            "blocked": list(metrics.blocked),
            "failure": run.failure.to_json() if run.failure else None,
            **self._times,
        }

    def wait(self, timeout: float | None = None) -> dict[str, Any]:
        self._waited_for.set()
        try:
            ended = self._coordinator.join(timeout)
        except KeyboardInterrupt:
            self._interrupted()
            raise
        if not ended:
            raise WaitTimeoutError(
                f"job '{self.name}' ({self.uuid}) has not ended within {timeout:g} s; it goes on", job=self.uuid
            )
        run = self._coordinator
        if isinstance(run.error, KeyboardInterrupt):  # Ctrl-C met the user's code in this very thread
            raise run.error
        if run.state == "failed":
            raise job_failed(self.uuid, self.name, run.failure) from run.error
        return self.status()

    def logs(self) -> Iterator[str]:
        raise WrongStateError("a local job prints into this process's own output: there is no log to read")

    def stop(self) -> None:
        self._coordinator.cancel(_GRACE)

    def continue_(self) -> None:
        raise WrongStateError("nothing was kept from which this job could continue", hint="submit the pipeline again")

    def delete(self, *, force: bool = False) -> None:
        if not self._coordinator.is_ended:
            if not force:
                raise WrongStateError(
                    f"job {self.uuid} is {self._coordinator.state}", hint="stop it first, or delete it with force=True"
                )
            self.cancel_and_wait()
        self._deleted = True

    def settle(self) -> None:
        """Wait for a bounded job; cancel an unbounded one."""
        if self._bounded:
            self.wait()
        else:
            self.cancel_and_wait()

    def cancel_and_wait(self) -> None:
        """Cancel, and wait until the tasks have ended or were abandoned."""
        self._coordinator.cancel(_GRACE)
        self._coordinator.join(_GRACE + 1)

    def _interrupted(self) -> None:
        """Ctrl-C once ends the job in good order; a second one, during that, leaves at once."""
        _log.warning("job '%s' is being cancelled; press Ctrl-C again to leave at once", self.name)
        self.cancel_and_wait()

    def _on_state(self, state: str, reason: str | None, failure: FailureInfo | None) -> None:
        self._reason = reason
        if state == "running":
            self._times["started_at"] = _now()
        if state in ENDED_STATES:
            self._times["ended_at"] = _now()
            _unfinished.discard(self)
        if state == "failed" and failure is not None and not self._waited_for.is_set():
            _log.error("job '%s' (%s) failed: %s\n%s", self.name, self.uuid, failure.message, failure.traceback)


def _check_templates(graph: LogicalGraph) -> None:
    """Instances and constructor arguments are copied for each subtask, so they must pickle, as they must anywhere."""
    if not any(_may_refuse_to_pickle(operator.function) for operator in graph.operators):
        return  # and then the pickling library need not even be imported
    from sage.core.client.code import check_templates

    problems = [item for item in check_templates(graph) if item.level == "error"]
    if problems:
        raise GraphError(problems)


def _may_refuse_to_pickle(spec: FunctionSpec) -> bool:
    if spec.form == "class":
        return any(type(value) not in _PLAIN for value in (*spec.args, *spec.kwargs.values()))
    return spec.form == "instance"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _at_exit(job: LocalJob) -> None:
    if not _unfinished:
        atexit.unregister(_settle_all)
        atexit.register(_settle_all)
    _unfinished.add(job)
    if job._coordinator.is_ended:
        _unfinished.discard(job)


def _settle_all() -> None:
    """The program has ended: bounded jobs are waited for, unbounded ones cancelled."""
    for job in list(_unfinished):
        try:
            job._waited_for.clear()  # nobody will see an exception here: a failure is logged
            if job._bounded:
                job._coordinator.join()
            else:
                job.cancel_and_wait()
        except KeyboardInterrupt:
            job._interrupted()
