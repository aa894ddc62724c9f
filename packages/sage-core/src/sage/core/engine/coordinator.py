"""The coordinator: one per job, in the job's process. Deploys, watches, and decides how the job ends."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sage.core.engine.event_time import MIN_TIME
from sage.core.engine.events import Attempt, Command, HostInfo, TaskCounts, TaskEvent
from sage.core.engine.failures import describe_backend_failure
from sage.core.engine.interrupt import GRACE
from sage.core.engine.metrics import JobMeter
from sage.core.engine.partitions import list_partitions
from sage.core.errors import CapabilityError, GraphError
from sage.core.graph.model import LogicalGraph
from sage.core.models import FailureInfo, JobMetrics
from sage.core.plan.model import TaskId
from sage.core.plan.planner import make_plan

if TYPE_CHECKING:
    from sage.core.backends.api import Backend, Deployment

__all__ = ["Coordinator", "StateListener"]

StateListener = Callable[[str, str | None, FailureInfo | None], None]
"""``listener(state, reason, failure)``, called in order, from any thread, once for each move."""

_ENDS = {"running": "completed", "starting": "completed", "failing": "failed", "cancelling": "cancelled"}

_LISTEN_EVERY = 1.0
"""Seconds: Ctrl-C that comes just before a thread blocks is noticed when it wakes, so it must not block for long."""

_log = logging.getLogger(__name__)


class Coordinator:
    """Runs one deployment of a job.

    Args:
        graph: what to run.
        backend: where.
        attempt: which deployment this is.
        on_state: told of each move; it must not block and must not call back.

    Attributes:
        state: ``created``, ``starting``, ``running``, ``completed``, ``failing``, ``failed``, ``cancelling`` or
            ``cancelled``.
        failure: why the job failed.
        error: the user's own exception, where it happened in this process.
    """

    def __init__(
        self, graph: LogicalGraph, backend: Backend, attempt: Attempt, *, on_state: StateListener | None = None
    ) -> None:
        self.plan = make_plan(graph)
        self.attempt = attempt
        self.state = "created"
        self.failure: FailureInfo | None = None
        self.error: BaseException | None = None
        self._backend = backend
        self._on_state = on_state
        self._deployment: Deployment | None = None
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._waiting = set(self.plan.tasks)  # not yet reported running
        self._left = set(self.plan.tasks)  # not yet ended
        self._prepared: set[TaskId] = set()  # of those, what has written all that it will, and waits to publish it
        self._counts: dict[TaskId, TaskCounts] = {}
        self._blocked: dict[TaskId, str] = {}
        self._abandoned: list[str] = []
        self._grace: float | None = None
        self._released = False
        self._meter = JobMeter(self.plan)
        self._committing = False
        self._times = dict.fromkeys(self.plan.aligned, MIN_TIME)  # of sources that wait for each other
        self._aligned = MIN_TIME

    def start(self) -> None:
        """Check the plan and deploy it. If the backend fails at that, so does the job.

        Raises:
            CapabilityError: the backend does not offer all that this plan needs.
            GraphError: the backend cannot run this plan, or a source cannot say what there is to read. Nothing was
                started.
        """
        problems = [item for item in self._backend.check(self.plan) if item.level == "error"]
        if problems:
            missing = sorted(self.plan.needs - self._backend.capabilities)
            raise CapabilityError(problems, missing=missing) if missing else GraphError(problems)
        partitions = list_partitions(self.plan, self.attempt.restored)
        with self._lock:
            if self.state != "created":  # cancelled before it began
                return
            self.attempt = replace(self.attempt, partitions=partitions)
            self._move("starting")
        try:
            deployment = self._backend.deploy(self.plan, self.attempt, self._on_event)
        except BaseException as error:
            self._not_deployed(error)
            if isinstance(error, Exception):
                return
            raise
        with self._lock:
            self._deployment = deployment
        self._proceed()

    def cancel(self, grace: float = GRACE) -> None:
        """End the job without finishing its work. Tasks in user code get ``grace`` seconds. Never blocks."""
        with self._lock:
            if self.state == "created":
                self._move("cancelled")
                self._ended.set()
            elif self._committing:  # too late, unless that takes too long
                self._grace = grace
            elif self.state in ("starting", "running"):
                self._move("cancelling")
                self._grace = grace
        self._proceed()

    def join(self, timeout: float | None = None) -> bool:
        """Wait, at most ``timeout`` seconds, until the job has ended. Returns whether it has."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout

        def some() -> float:
            return max(0.0, min(deadline - time.monotonic(), _LISTEN_EVERY))

        while not self._ended.is_set():
            if self._deployment is None or self._deployment.join(some()):
                self._ended.wait(some())
            if time.monotonic() >= deadline:
                break
        return self._ended.is_set()

    @property
    def is_ended(self) -> bool:
        return self._ended.is_set()

    def placement(self) -> Mapping[TaskId, HostInfo]:
        """Where each task runs."""
        return {} if self._deployment is None else self._deployment.placement()

    def metrics(self) -> JobMetrics:
        """What the tasks have counted and measured so far; any thread may ask."""
        deployment = self._deployment
        if deployment is not None:
            with self._lock:
                asked = sorted(self._left)
            for task in asked:
                deployment.send(task, Command("report"))
        with self._lock:
            counts, left = dict(self._counts), self._left - self._waiting
            blocked = [f"task {task} has not returned from {where}" for task, where in self._blocked.items()]
            blocked += [
                counts[task].draining or "" for task in sorted(left) if task in counts and counts[task].draining
            ]
        return self._meter.report(counts, left, blocked)

    def _on_event(self, event: TaskEvent) -> None:
        if event.kind == "collected":
            self._collect(event)
            return
        with self._lock:
            if event.task not in self._left:  # a count that comes too late, or what an abandoned task did in the end
                self._log_failure("after its task was given up", event.failure)
                return
            if event.counts is not None:
                self._counts[event.task] = event.counts
                self._blocked.pop(event.task, None)
                if event.kind == "counts" and event.where is not None:
                    self._blocked[event.task] = event.where
            if event.kind == "running":
                self._waiting.discard(event.task)
            elif event.kind == "prepared":
                self._prepared.add(event.task)
            elif event.kind == "time":
                self._times[event.task] = event.time
            elif event.kind == "failed":
                self._left.discard(event.task)
                self._note_failure(event)
            elif event.kind in ("finished", "cancelled", "abandoned"):
                self._left.discard(event.task)
                if event.kind == "abandoned":
                    self._abandoned.append(f"task {event.task} did not stop and was abandoned in {event.where}")
                else:
                    self._log_failure("while cancelling", event.failure)
        if self._times:
            self._align()
        self._proceed()

    def _collect(self, event: TaskEvent) -> None:
        """Hand records to the list of a `collect`. Those of one task come one after the other."""
        if event.task in self._left:
            sink = next(item for item in self.plan.graph.operators if item.uid == event.uid)
            for record in event.records:
                sink.function.target(record)

    def _align(self) -> None:
        """Tell the sources that wait for each other how far the slowest of them has come."""
        with self._lock:
            left = [task for task in self._times if task in self._left and task not in self._prepared]
            time = min((self._times[task] for task in left), default=MIN_TIME)
            deployment = self._deployment
            if deployment is None or time == self._aligned:
                return
            self._aligned = time
            for task in left:  # in order: nothing may overtake it
                deployment.send(task, Command("align", time))

    def _note_failure(self, event: TaskEvent) -> None:
        if self.failure is None and self.state in ("starting", "running"):
            self.failure, self.error = event.failure, event.error
            self._grace = GRACE
            self._move("failing", event.failure.message if event.failure else None)
        else:
            self._log_failure("after the job began to end", event.failure)

    def _log_failure(self, when: str, failure: FailureInfo | None) -> None:
        if failure is not None:
            trace = f"\n{failure.traceback}" if failure.traceback else ""
            _log.error("%s: %s%s", when, failure.message, trace)

    def _not_deployed(self, error: BaseException) -> None:
        with self._lock:
            if isinstance(error, KeyboardInterrupt) and self.state == "starting":
                self._move("cancelling")
            elif self.state == "starting":
                self.failure, self.error = describe_backend_failure(error), error
                self._move("failing", self.failure.message)
            self._move(_ENDS[self.state])
            self._ended.set()

    def _proceed(self) -> None:
        """Do what the state asks for; called after every change."""
        with self._lock:
            deployment = self._deployment
            if deployment is None or self._ended.is_set():
                return
            if self.state == "starting" and not self._waiting:
                self._move("running")
            release = not self._released and self.state == "running"
            self._released = self._released or release
            commit = not self._committing and self.state == "running" and self._left == self._prepared & self._left
            left = sorted(self._left) if commit else []
            self._committing = bool(left) or self._committing
            grace, self._grace = self._grace, None
            if not self._left:
                ending = "cancelled" if self._abandoned and self.state == "running" else _ENDS[self.state]
                self._move(ending, "; ".join(self._abandoned) or None)
                self._ended.set()
                return
        if release:
            for task in self.plan.tasks:
                deployment.send(task, Command("start"))
        for task in left:
            deployment.send(task, Command("commit"))
        if grace is not None:
            deployment.cancel(grace)

    def _move(self, state: str, reason: str | None = None) -> None:
        with self._lock:
            self.state = state
            if self._on_state is not None:
                try:
                    self._on_state(state, reason, self.failure if state in ("failing", "failed") else None)
                except Exception:  # the job goes on and ends, whoever listens
                    _log.exception("whoever listens to job %s could not take its state '%s'", self.attempt.job, state)
