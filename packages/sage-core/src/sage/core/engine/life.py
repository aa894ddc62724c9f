"""The life of a task on any host: opened, started, stepped to its end, and every turn of it reported."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Literal

from sage.core.engine import ctrl_c
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
            self._end_in_order()
            return False
        try:
            if self._services.open():
                self.task.open()
                self._events(TaskEvent(self.task.id, "running"))
        except BaseException as error:
            if _is_ctrl_c(error):
                self.task.cancel()
                ctrl_c.put_off()  # until there is a deployment that can be cancelled
            else:
                self.give_up(error)
            return False
        return True

    def obey(self, command: Command, where: str | None = None) -> None:
        """Do what the coordinator asks for; any thread may call it. ``where`` tells which user code does not return."""
        if command.kind == "start":
            self.started = True
            self.task.signal.set()
        elif command.kind == "commit":
            self.task.commit()
        elif command.kind == "align":
            self.task.align(command.time)
        elif not self.ended:
            self._events(TaskEvent(self.task.id, "counts", counts=self.task.counts(), where=where))

    def step(self) -> Step:
        """Step the task; what it raises, and its end, are reported. Ctrl-C is raised: the job is to be cancelled."""
        if not self.started:
            if self.task.cancelled:
                self._end_in_order()
                return "done"
            return "wait"
        try:
            step = self.task.step()
        except BaseException as error:
            if _is_ctrl_c(error):
                raise _cause_of(error) from None
            self.give_up(error)
            return "done"
        if self.task.aligned:
            time = self.task.time_to_tell()
            if time is not None:
                self._events(TaskEvent(self.task.id, "time", time=time))
        if self.task.prepared and not self._told_prepared:
            self._told_prepared = True
            self._events(TaskEvent(self.task.id, "prepared"))
        if step == "done":
            self._end_in_order()
        return step

    def idle(self) -> None:
        """Wait until there may be something to do. What a source's own ``wait`` raises is met as in `step`."""
        try:
            self.task.idle()
        except BaseException as error:
            if _is_ctrl_c(error):
                raise _cause_of(error) from None
            self.give_up(error)

    def give_up(self, error: BaseException) -> None:
        """Fail the task, and with it the job, with ``error``: something keeps it from going on."""
        failure = self._describe(error)
        with suppress(OperatorError):  # what was collected before that still counts
            self.task.deliver()
        for second in self._close_all():
            text = f"{failure.traceback}\nThen, while closing after that failure, {second}\n"
            failure = replace(failure, traceback=text + (self._describe(second).traceback or ""))
        self._end("failed", failure, _cause_of(error))

    def end_untold(self) -> None:
        """The thread that ran the task is about to end: unless that was told, the job fails, for it would never end."""
        if not self.ended:
            failure = FailureInfo("internal", f"SAGE itself failed: task {self.task.id} ended without telling how")
            self._end("failed", failure)

    def _end_in_order(self) -> None:
        """Its work is done, or it was cancelled before."""
        cancelled, closing = self.task.cancelled, self._close_all()
        if closing:
            self._end("cancelled" if cancelled else "failed", self._describe(closing[0]), closing[0].cause)
        else:
            self._end("cancelled" if cancelled else "finished")

    def _close_all(self) -> list[OperatorError]:
        """Close the task, and its services if it is the last one. Returns what failed at that."""
        errors = []
        for close in (self.task.close, self._services.leave):
            try:
                close()
            except OperatorError as error:
                if _is_ctrl_c(error):
                    ctrl_c.put_off()
                else:
                    errors.append(error)
        return errors

    def _describe(self, error: BaseException) -> FailureInfo:
        return describe_failure(error, subtask=self.task.id.subtask)

    def _end(
        self,
        kind: Literal["finished", "failed", "cancelled"],
        failure: FailureInfo | None = None,
        error: BaseException | None = None,
    ) -> None:
        self.ended = True
        self._events(TaskEvent(self.task.id, kind, self.task.counts(), failure, error))


def _cause_of(error: BaseException) -> BaseException:
    return error.cause if isinstance(error, OperatorError) else error


def _is_ctrl_c(error: BaseException) -> bool:
    return ctrl_c.is_pressed(_cause_of(error))
