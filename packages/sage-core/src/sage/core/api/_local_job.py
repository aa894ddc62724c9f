"""A job in this process."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sage.core import timestamps
from sage.core.api._failed import job_failed
from sage.core.api._status import status_of
from sage.core.api.job import Job
from sage.core.backends.api import Backend
from sage.core.engine import ctrl_c
from sage.core.engine.coordinator import Coordinator
from sage.core.engine.events import Attempt
from sage.core.engine.interrupt import GRACE
from sage.core.errors import GraphError, PackagingError, WaitTimeoutError, WrongStateError
from sage.core.graph.kinds import SINK_KINDS, SOURCE_KINDS
from sage.core.graph.model import FunctionSpec, LogicalGraph
from sage.core.models import ENDED_STATES, FailureInfo, JobInfo, JobMetrics

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

    from sage.core.plugins.job_hooks import JobHooks

__all__ = ["LocalJob"]

_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})
_log = logging.getLogger("sage.job")
_unfinished: set[LocalJob] = set()
_left: set[LocalJob] = set()
"""Jobs that Ctrl-C left as they were: nobody waits for them, but their threads may still run."""

os.register_at_fork(after_in_child=_unfinished.clear)  # the threads of a job stay with the parent


def _attempt(graph: LogicalGraph, uuid: str, package: Path | None) -> Attempt:
    if not any(edge.exchange == "hash" for edge in graph.edges):  # nothing is kept for keys
        return Attempt(uuid, graph.name, package=package)
    from sage.core.config import load  # takes as long as to run a small job

    return Attempt(uuid, graph.name, package=package, max_operator_state=load().checkpoints.max_operator_state)


class LocalJob(Job):
    """Runs a graph through a coordinator in this process."""

    @classmethod
    def start(
        cls,
        graph: LogicalGraph,
        uuid: str,
        backend: Backend,
        backend_name: str,
        *,
        waited: bool,
        hooks: JobHooks | None = None,
    ) -> LocalJob:
        """Check and deploy; ``waited`` says that the caller calls `wait` next, ``hooks`` whom to tell of it."""
        _check_templates(graph)
        job = cls(graph, uuid, backend, backend_name, hooks)
        job._is_awaited = waited or job.in_callers_thread
        _at_exit(job)  # before it starts: Ctrl-C may come at any moment
        try:
            job._coordinator.start()
            if not job._is_awaited:
                ctrl_c.check()
        except BaseException:
            job._coordinator.cancel(GRACE)
            raise
        return job

    def __init__(
        self, graph: LogicalGraph, uuid: str, backend: Backend, backend_name: str, hooks: JobHooks | None = None
    ) -> None:
        super().__init__(uuid, graph.name)
        self._backend = backend
        self._backend_name = backend_name
        self._hooks = hooks
        self._state = "created"
        self.is_bounded = not any(operator.is_endless for operator in graph.operators)
        self.in_callers_thread = not self._backend.capabilities & {"threads", "processes", "hosts"}
        self._times: dict[str, str] = {"created_at": timestamps.now()}
        self._reason: str | None = None
        self._deleted = False
        self._waiting = 0  # callers that will be told by an exception if the job fails
        self._is_awaited = False  # one more will be: it is on its way to `wait`
        self._waiting_lock = threading.Lock()
        self._told = False  # one was
        self._left_alone = False  # Ctrl-C was pressed twice
        self._folder: TemporaryDirectory[str] | None = None  # of the package, if other processes need one
        package = self._pack(graph) if backend.capabilities & {"processes", "hosts"} else None
        self._coordinator = Coordinator(graph, self._backend, _attempt(graph, uuid, package), on_state=self._on_state)

    def _pack(self, graph: LogicalGraph) -> Path:
        """Write what other processes get the job's code from, where nobody else can read it."""
        from tempfile import TemporaryDirectory

        from sage.core.api._packing import pack_graph

        # It goes with the last one who may read it; if this program is killed, it stays in the system's folder.
        try:
            self._folder = TemporaryDirectory(prefix="sage-job-", ignore_cleanup_errors=True)
        except OSError as error:  # the folder is full, not there, or not ours to write to
            raise _unwritten(error) from error
        package = Path(self._folder.name) / "package.zip"
        try:
            pack_graph(package, graph, self.uuid, self._backend_name)
        except BaseException as error:  # what cannot be packed, or warnings that are errors
            self._folder.cleanup()
            if isinstance(error, OSError):
                raise _unwritten(error) from error
            raise
        return package

    def status(self) -> dict[str, Any]:
        if self._deleted:
            return {"status": "deleted", "uuid": self.uuid, "name": self.name}
        metrics = self.metrics()
        return status_of(self._info(self._coordinator.state, metrics), metrics)

    def _info(self, state: str, metrics: JobMetrics) -> JobInfo:
        sources = [item for item in metrics.operators if item.kind in SOURCE_KINDS]
        sinks = [item for item in metrics.operators if item.kind in SINK_KINDS]
        return JobInfo(
            number=0,
            uuid=self.uuid,
            name=self.name,
            state=state,
            reason=self._reason,
            backend=self._backend_name,
            running=state == "running",
            tasks=metrics.tasks,
            services=metrics.services,
            records_in=sum(item.records_out for item in sources),
            records_out=sum(item.records_in for item in sinks),
            failure=self._coordinator.failure,
            created_at=self._times["created_at"],
            started_at=self._times.get("started_at"),
            ended_at=self._times.get("ended_at"),
        )

    def metrics(self) -> JobMetrics:
        return self._coordinator.metrics()

    def wait(self, timeout: float | None = None) -> dict[str, Any]:
        run = self._coordinator
        with ctrl_c.Guard():
            try:
                with self._to_be_told(), nullcontext() if self.in_callers_thread else ctrl_c.freely():
                    run.join(timeout)
                if not run.is_ended:
                    ctrl_c.check()
            except KeyboardInterrupt:
                self.interrupted()
                raise
        if run.state not in ENDED_STATES:
            then = "when it is waited for again" if self.in_callers_thread else self._until
            raise WaitTimeoutError(
                f"job '{self.name}' ({self.uuid}) has not ended within {timeout:g} s; it goes on {then}",
                hint="timeout=None waits for ever; the environment's stop() ends the job",
                job=self.uuid,
            )
        if run.state == "failed":
            self._told = True
            if self.in_callers_thread and type(run.error) is KeyboardInterrupt:  # raised by the user's code
                raise run.error
            raise job_failed(self.uuid, self.name, run.failure, run.error) from run.error
        return self.status()

    def logs(self) -> Iterator[str]:
        raise WrongStateError("a local job prints into this process's own output: there is no log to read")

    def stop(self) -> None:
        self._coordinator.cancel(GRACE)

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

    @property
    def _until(self) -> str:
        return "until it is done" if self.is_bounded else "until the program ends"

    def goes_on_after(self, error: BaseException) -> bool:
        """Whether it is left running by an exception that leaves its environment: one that has said so does that."""
        return isinstance(error, WaitTimeoutError) and error.job == self.uuid and not self.in_callers_thread

    def settle(self) -> None:
        """Wait for a bounded job; cancel an unbounded one. Raises what `wait` does, unless it has done so before."""
        if not self.is_bounded:
            self.tell_of_the_end()
            self.cancel_and_wait()
        if not self._told and not self._left_alone:
            self.wait(None if self.is_bounded else 0)

    def tell_of_the_end(self) -> None:
        """Say that an unbounded job is about to be cancelled, unless somebody has seen to its end before."""
        if self._coordinator.state in ("starting", "running"):
            _log.warning(
                "job '%s' is cancelled: nobody waits for it, and its source may go on for ever;"
                " job.wait() waits for its end, stop() says that this is meant",
                self.name,
            )

    def cancel_and_wait(self) -> None:
        """Cancel, and wait until the tasks have ended or were abandoned."""
        with self._left_at_once():
            self._coordinator.cancel(GRACE)
            if not self._left_alone:
                self._coordinator.join(GRACE + 1)

    def join_at_exit(self) -> None:
        """Wait where nobody will see an exception any more: a failure is logged. Only bounded work has all its time."""
        may_finish = self.is_bounded and self._coordinator.state != "cancelling"
        self._coordinator.join(None if may_finish else GRACE + 1)

    def interrupted(self) -> None:
        """Ctrl-C once ends the job in good order; a second one, during that, leaves at once."""
        with self._left_at_once(), ctrl_c.freely():
            _log.warning("job '%s' is being cancelled; press Ctrl-C again to leave at once", self.name)
            self.cancel_and_wait()

    @contextmanager
    def _left_at_once(self) -> Iterator[None]:
        """Ctrl-C in here leaves the job as it is: nothing will wait for it any more."""
        try:
            yield
        except KeyboardInterrupt:
            self._left_alone = True
            _unfinished.discard(self)
            _left.add(self)
            raise

    @contextmanager
    def _to_be_told(self) -> Iterator[None]:
        with self._waiting_lock:
            self._waiting += 1
            self._is_awaited = False
        try:
            yield
        finally:
            with self._waiting_lock:
                self._waiting -= 1

    def _on_state(self, state: str, reason: str | None, failure: FailureInfo | None) -> None:
        self._reason = reason
        if state == "running":
            self._times["started_at"] = timestamps.now()
        if state in ENDED_STATES:
            self._times["ended_at"] = timestamps.now()
            _unfinished.discard(self)
            if self._folder is not None:
                self._folder.cleanup()
        if self._hooks is not None:
            plan = self._coordinator.plan
            at_rest = state in ENDED_STATES  # else metrics would be asked for
            metrics = (
                self.metrics() if at_rest else JobMetrics(tasks=len(plan.tasks), services=len(plan.graph.services))
            )
            self._hooks.moved(self._info(state, metrics), self._state, reason)
        self._state = state
        if state == "failed" and failure is not None and not (self._waiting or self._is_awaited):
            _log.error("job '%s' (%s) failed: %s\n%s", self.name, self.uuid, failure.message, failure.traceback)


def _unwritten(error: OSError) -> PackagingError:
    return PackagingError(
        f"what other processes get the job's code from could not be written: {error}",
        hint="it goes to the system's temporary folder: free room there, or name another one by TMPDIR",
    )


def _check_templates(graph: LogicalGraph) -> None:
    """Instances and constructor arguments are copied for each subtask, so they must pickle, as they must anywhere."""
    if not any(_may_refuse_to_pickle(item.function) for item in graph.declared):
        return  # and then the pickling library need not even be imported
    from sage.core.client.code import check_templates

    problems = [item for item in check_templates(graph) if item.level == "error"]
    if problems:
        raise GraphError(problems)


def _may_refuse_to_pickle(spec: FunctionSpec) -> bool:
    if spec.form == "class":
        return any(type(value) not in _PLAIN for value in (*spec.args, *spec.kwargs.values()))
    return spec.form == "instance"


def _at_exit(job: LocalJob) -> None:
    if not _unfinished:
        atexit.unregister(_settle_all)
        atexit.register(_settle_all)
    _unfinished.add(job)


def _settle_all() -> None:
    """The program has ended: bounded jobs are waited for, unbounded ones cancelled; all are if Ctrl-C ended it."""
    by_interrupt = getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")
    jobs, pressed = list(_unfinished), False
    for job in jobs:
        if by_interrupt or not job.is_bounded:
            if not by_interrupt:
                job.tell_of_the_end()
            job.stop()
    for job in jobs:
        try:
            job.join_at_exit()
        except KeyboardInterrupt:
            pressed = True
            for other in jobs:
                other.stop()
            try:
                job.interrupted()
            except KeyboardInterrupt:  # twice
                _leave_at_once()
    if pressed:
        _exit_as_interrupted()
    elif by_interrupt and any(not job._coordinator.is_ended for job in (*jobs, *_left)):
        _leave_at_once()


def _leave_at_once() -> None:
    """End by the signal, as Ctrl-C ends a program, and without the interpreter's own end.

    That end stops threads wherever they are, and aborts if one of them holds the lock of the standard output.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more, or it was closed
            stream.flush()
    os.kill(os.getpid(), signal.SIGINT)


def _exit_as_interrupted() -> None:
    """Let the process end as Ctrl-C ends one, although the program itself had come to its end.

    Nothing that is raised at exit changes the status. The interpreter notes whether the last code that it ran from
    source ended by `KeyboardInterrupt`, and, having ended in good order, kills itself by the signal if so.
    """
    with suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")  # noqa: S102
