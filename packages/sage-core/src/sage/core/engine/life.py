"""The life of a task on any host: opened, started, stepped to its end, and every turn of it reported."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from sage.core.engine.events import Command, TaskEvent
from sage.core.engine.failures import OperatorError, describe_failure
from sage.core.engine.services import ServiceRegistry
from sage.core.engine.task import Step, Task
from sage.core.models import FailureInfo

__all__ = ["TaskLife"]


class TaskLife:
    """Runs one task for a host, on the thread that calls it, and tells how it goes.

    Args:
        task: the task.
        services: what it calls; the last task to end closes them.
        events: where to report.

    Attributes:
        started: whether records may flow.
        ended: whether the last event was sent.
    """

    def __init__(self, task: Task, services: ServiceRegistry, events: Callable[[TaskEvent], None]) -> None:
        self.task = task
        self._services = services
        self.started = False
        self.ended = False
        self._told_prepared = False
        self._events = events

    def open(self) -> bool:
        """Open the task, unless it was cancelled before. Returns whether it is ready to start."""
        if self.task.cancelled:
            self._end_cancelled()
            return False
        try:
            if self._services.open():
                self.task.open()
                self._events(TaskEvent(self.task.id, "running"))
        except BaseException as error:  # reported as the job's failure
            self._fail(error)
            return False
        return True

    def obey(self, command: Command, where: str | None = None) -> None:
        """Do what the coordinator asks for; any thread may call it. ``where`` is for `report`."""
        if command.kind == "start":
            self.start()
        elif command.kind == "commit":
            self.task.commit()
        else:
            self.report(where)

    def start(self) -> None:
        """Let records flow; any thread may call it."""
        self.started = True
        self.task.signal.set()

    def report(self, where: str | None = None) -> None:
        """Send the counts so far, and which user code does not return, if the host knows; any thread may call it."""
        if not self.ended:
            self._events(TaskEvent(self.task.id, "counts", counts=self.task.counts(), where=where))

    def step(self) -> Step:
        """Step the task; what it raises, and its end, are reported."""
        if not self.started:
            if self.task.cancelled:
                self._end_cancelled()
                return "done"
            return "wait"
        try:
            step = self.task.step()
        except BaseException as error:  # reported as the job's failure
            self._fail(error)
            return "done"
        if self.task.prepared and not self._told_prepared:
            self._told_prepared = True
            self._events(TaskEvent(self.task.id, "prepared"))
        if step == "done":
            if self.task.cancelled:
                self._end_cancelled()
            else:
                self._end_finished()
        return step

    def idle(self) -> None:
        """Wait until there may be something to do. What a source's own ``wait`` raises fails the task."""
        try:
            self.task.idle()
        except BaseException as error:  # reported as the job's failure
            self._fail(error)

    def give_up(self, error: BaseException) -> None:
        """Fail the task with ``error``: its host has met something that keeps it from going on."""
        self._fail(error)

    def end_untold(self) -> None:
        """The thread that ran the task is about to end: unless that was told, the job fails, for it would never end."""
        if not self.ended:
            failure = FailureInfo("internal", f"SAGE itself failed: task {self.task.id} ended without telling how")
            self._end(TaskEvent(self.task.id, "failed", failure=failure))

    def _end_finished(self) -> None:
        try:
            self._services.leave()
        except OperatorError as error:
            failure = describe_failure(error)
            self._end(TaskEvent(self.task.id, "failed", self.task.counts(), failure, error.cause))
        else:
            self._end(TaskEvent(self.task.id, "finished", counts=self.task.counts()))

    def _end_cancelled(self) -> None:
        failure = None
        for close in (self.task.close, self._services.leave):
            try:
                close()
            except OperatorError as error:
                failure = failure or describe_failure(error, subtask=self.task.id.subtask)
        self._end(TaskEvent(self.task.id, "cancelled", counts=self.task.counts(), failure=failure))

    def _fail(self, error: BaseException) -> None:
        failure = describe_failure(error, subtask=self.task.id.subtask)
        for close in (self.task.close, self._services.leave):
            try:
                close()
            except OperatorError as second:
                text = f"{failure.traceback}\nThen, while closing after that failure, {second}\n"
                failure = dataclasses.replace(failure, traceback=text + (describe_failure(second).traceback or ""))
        cause = error.cause if isinstance(error, OperatorError) else error
        self._end(TaskEvent(self.task.id, "failed", counts=self.task.counts(), failure=failure, error=cause))

    def _end(self, event: TaskEvent) -> None:
        self.ended = True
        self._events(event)
