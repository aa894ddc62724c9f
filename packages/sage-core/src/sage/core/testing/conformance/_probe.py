"""A probe: any backend, with all that it and the coordinator say to each other noted down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from sage.core.backends.api import (
    Attempt,
    Backend,
    Command,
    Deployment,
    HostInfo,
    TaskEvent,
    TaskId,
)
from sage.core.errors import Problem
from sage.core.plan.model import ExecutionPlan

__all__ = ["ENDS", "Probe"]

ENDS = frozenset({"finished", "failed", "cancelled", "abandoned"})
"""The last events of a task."""


class Probe:
    """Stands between a coordinator and a backend.

    Args:
        backend: what is probed.
        hold: keep the commands ``start`` back until `release`.

    Attributes:
        plan: what it was given to run.
        deployment: what `deploy` has returned.
        deployed: how often it was called.
    """

    def __init__(self, backend: Backend, *, hold: bool = False) -> None:
        self.backend = backend
        self.capabilities = backend.capabilities
        self.plan: ExecutionPlan | None = None
        self.deployment: Deployment | None = None
        self.deployed = 0
        self._hold = hold
        self._held: list[TaskId] = []
        self._told: list[TaskEvent] = []
        self._events: Callable[[TaskEvent], None] | None = None
        self._changed = threading.Condition()
        self._given_up = False

    def check(self, plan: ExecutionPlan) -> list[Problem]:
        return self.backend.check(plan)

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        self.plan, self._events = plan, events
        self.deployed += 1
        deployment = self.backend.deploy(plan, attempt, self._on_event)
        with self._changed:
            self.deployment = deployment
            self._changed.notify_all()
        return _Probed(self, deployment)

    def send(self, task: TaskId, command: Command) -> None:
        with self._changed:
            if self._hold and command.kind == "start":
                self._held.append(task)
                self._changed.notify_all()
                return
        assert self.deployment is not None
        self.deployment.send(task, command)

    @property
    def placement(self) -> Mapping[TaskId, HostInfo]:
        """Where the tasks run, or have run."""
        assert self.deployment is not None
        return self.deployment.placement()

    def plan_tasks(self, name: str) -> list[TaskId]:
        """The tasks of the operator ``name``."""
        assert self.plan is not None
        ids = {id for id, item in self.plan.operators.items() if item.name == name}
        stages = {stage.id for stage in self.plan.stages if ids.intersection(stage.operators)}
        return [task for task in self.plan.tasks if task.stage in stages]

    def release(self) -> None:
        """Send the commands ``start`` that were kept back, and keep none back from now on."""
        with self._changed:
            held, self._held, self._hold = self._held, [], False
        for task in held:
            self.send(task, Command("start"))

    def held(self, limit: float) -> bool:
        """Wait until all tasks are to be started. Returns whether that has come to pass."""
        with self._changed:
            return self._changed.wait_for(lambda: self.plan and len(self._held) == len(self.plan.tasks), limit) is True

    def events(self) -> Sequence[TaskEvent]:
        """What it has told until now."""
        with self._changed:
            return tuple(self._told)

    def wait_for(self, found: Callable[[Sequence[TaskEvent]], bool], limit: float) -> bool:
        """Wait, at most ``limit`` seconds, for events. Returns whether they came."""
        with self._changed:
            return self._changed.wait_for(lambda: found(self._told), limit)

    def left(self) -> list[TaskId]:
        """Tasks that have not told their end."""
        ended = {event.task for event in self.events() if event.kind in ENDS}
        return [task for task in (self.plan.tasks if self.plan else ()) if task not in ended]

    def give_up(self) -> None:
        """End the job in the backend's place, which does not: its coordinator is told that all tasks are abandoned."""
        left = self.left()
        self._given_up = True
        if self._events is not None:
            for task in left:
                self._events(TaskEvent(task, "abandoned", where="a backend that does not end it"))

    def faults(self) -> list[str]:
        """What was wrong about the events told, as sentences."""
        assert self.plan is not None
        found, events = [], self.events()
        for task in self.plan.tasks:
            kinds = [event.kind for event in events if event.task == task]
            ends = [number for number, kind in enumerate(kinds) if kind in ENDS]
            if len(ends) != 1:
                found.append(f"task {task} told its end {len(ends)} times: {kinds}")
            elif ends[0] != len(kinds) - 1:
                found.append(f"task {task} told something after its end: {kinds}")
            if kinds.count("running") > 1 or ("running" in kinds and kinds[0] != "running"):
                found.append(f"task {task} must tell 'running' once, and first: {kinds}")
            if "finished" in kinds and "running" not in kinds:
                found.append(f"task {task} has finished without 'running': {kinds}")
        strangers = {str(event.task) for event in events} - {str(task) for task in self.plan.tasks}
        if strangers:
            found.append(f"there are no tasks {sorted(strangers)}")
        return found

    def _on_event(self, event: TaskEvent) -> None:
        with self._changed:
            self._told.append(event)
            self._changed.notify_all()
        if not self._given_up and self._events is not None:
            self._events(event)


class _Probed:
    """What the coordinator takes for the deployment."""

    def __init__(self, probe: Probe, deployment: Deployment) -> None:
        self._probe = probe
        self._deployment = deployment

    def send(self, task: TaskId, command: Command) -> None:
        self._probe.send(task, command)

    def placement(self) -> Mapping[TaskId, HostInfo]:
        return self._deployment.placement()

    def cancel(self, grace: float) -> None:
        self._deployment.cancel(grace)

    def join(self, timeout: float | None) -> bool:
        return self._deployment.join(timeout)
