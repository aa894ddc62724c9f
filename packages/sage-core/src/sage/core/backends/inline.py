"""The ``inline`` backend: all tasks in the caller's thread, in an order that never varies.

Sources take turns in declaration order, one record each; every record is pushed to the end of the pipeline
before the next one is read. A debugger steps through it like through a plain loop.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping

from sage.core.backends.api import (
    Attempt,
    BackendOptions,
    Command,
    Deployment,
    HostInfo,
    TaskEvent,
    TaskId,
    missing_capabilities,
)
from sage.core.engine.life import TaskLife
from sage.core.engine.links import Signal
from sage.core.engine.wiring import TaskSet, wire
from sage.core.errors import Problem
from sage.core.plan.model import ExecutionPlan
from sage.core.plugins import hookimpl

__all__ = ["InlineBackend", "sage_backend"]


class InlineBackend:
    """One host, stepped by whoever joins it."""

    capabilities = frozenset({"unbounded"})

    def check(self, plan: ExecutionPlan) -> list[Problem]:
        return missing_capabilities(plan, "inline", self.capabilities)

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        return _InlineDeployment(plan, attempt, events)


class _InlineDeployment:
    """Opens its tasks at once; `join` runs them."""

    def __init__(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> None:
        self._signal = Signal()
        # A channel holds what one record made of itself: drained before the next is read, it needs no credits.
        wiring = wire(TaskSet(plan, plan.tasks), attempt, {}, signal=lambda: self._signal, batch_size=1, credits=None)
        self._lives = {task.id: TaskLife(task, wiring.services, events) for task in wiring.tasks}
        self._info = HostInfo("inline", os.getpid())
        self._sources = [life for life in self._lives.values() if life.task.chain.source is not None]
        self._others = [life for life in self._lives.values() if life.task.chain.source is None]
        for life in self._lives.values():
            if not life.open():
                break

    def send(self, task: TaskId, command: Command) -> None:
        if command.kind == "start":
            self._lives[task].start()
        else:
            self._lives[task].report()

    def placement(self) -> Mapping[TaskId, HostInfo]:
        return dict.fromkeys(self._lives, self._info)

    def cancel(self, grace: float) -> None:
        for life in self._lives.values():
            life.task.cancel()

    def join(self, timeout: float | None) -> bool:
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not self._ended():
            if time.monotonic() >= deadline:
                return False
            self._drain()
            busy = False
            for life in self._sources:
                if not life.ended:
                    busy = life.step() != "wait" or busy
                    self._drain()
            if not busy and not self._ended():
                self._wait(deadline)
        return True

    def _wait(self, deadline: float) -> None:
        """Wait for news of any source: first as the sources that have a way of their own do, in turn."""
        idle = [life for life in self._sources if not life.ended and life.started]
        own = [life for life in idle if life.task.own_wait is not None]
        for life in own:
            life.idle()
        if not own:
            waiting = [*idle, *(life for life in self._others if not life.ended)]
            patience = min((life.task.patience for life in waiting), default=math.inf)
            patience = min(patience, max(0.0, deadline - time.monotonic()))
            self._signal.wait(None if patience == math.inf else patience)

    def _drain(self) -> None:
        """Step whatever has input, the task furthest downstream first, until nothing has."""
        moved = True
        while moved:
            moved = False
            for life in reversed(self._others):
                if not life.ended and life.step() != "wait":
                    moved = True
                    break

    def _ended(self) -> bool:
        return all(life.ended for life in self._lives.values())


@hookimpl
def sage_backend(name: str, options: BackendOptions) -> InlineBackend:
    return InlineBackend()
