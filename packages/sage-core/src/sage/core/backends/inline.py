"""The ``inline`` backend: all tasks in the caller's thread, in an order that never varies.

Sources take turns in declaration order, one record each; every record is pushed to the end of the pipeline
before the next one is read. A debugger steps through it like through a plain loop.

Options (`InlineOptions`): ``clock``, ``max_records``, ``timeout``.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from sage.core.backends.api import (
    Attempt,
    BackendOptions,
    Command,
    Deployment,
    HostInfo,
    TaskEvent,
    TaskId,
    missing_capabilities,
    read_options,
)
from sage.core.engine import ctrl_c
from sage.core.engine.allowance import InputAllowance
from sage.core.engine.clock import WALL, VirtualClock
from sage.core.engine.life import TaskLife
from sage.core.engine.links import Inbox, Link, Signal
from sage.core.engine.wiring import TaskSet, wire
from sage.core.errors import Problem
from sage.core.plan.model import ChannelId, ExecutionPlan
from sage.core.plugins import hookimpl

__all__ = ["InlineBackend", "InlineDeployment", "InlineOptions", "sage_backend"]


@dataclass(frozen=True)
class InlineOptions:
    """How an inline job runs.

    Attributes:
        clock: ``wall``, or ``virtual``: nothing is ever waited for, time jumps to when there is something to do. A
            source that has nothing yet is asked again at once, its own ``wait`` is not called.
        max_records: how many records to read, from all sources together; then their input has ended.
        timeout: seconds of the job's clock after which the input has ended.

    Raises:
        ValueError: a value makes no sense.
    """

    clock: Literal["wall", "virtual"] = "wall"
    max_records: int | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        if self.clock not in ("wall", "virtual"):
            raise ValueError(f"clock must be 'wall' or 'virtual', not {self.clock!r}")
        InputAllowance.check(self.max_records, self.timeout)


class InlineBackend:
    """One host, stepped by whoever joins it."""

    capabilities = frozenset({"async", "feedback", "unbounded"})

    def __init__(self, options: InlineOptions | None = None) -> None:
        self._options = options or InlineOptions()

    def check(self, plan: ExecutionPlan) -> list[Problem]:
        return missing_capabilities(plan, "inline", self.capabilities)

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        return InlineDeployment(plan, attempt, events, self._options)


class InlineDeployment:
    """Opens its tasks at once; `join` runs them to their end, `settle` as far as they come by themselves.

    Args:
        plan, attempt, events: as of `Backend.deploy`.
        options: how it runs.
        connect: makes the channels; by default those of `wire`.
        start: what a virtual clock begins with, in seconds.

    Attributes:
        tasks: all of them, upstream first.
    """

    def __init__(
        self,
        plan: ExecutionPlan,
        attempt: Attempt,
        events: Callable[[TaskEvent], None],
        options: InlineOptions,
        connect: Callable[[ChannelId, Inbox], Link] | None = None,
        start: float = 0.0,
    ) -> None:
        self._signal = Signal()
        self._jumps = options.clock == "virtual"
        self._clock = VirtualClock(start) if self._jumps else WALL
        # A channel holds what one record made of itself: drained before the next is read, it needs no credits.
        wiring = wire(
            TaskSet(plan, plan.tasks),
            attempt,
            {},
            events,
            signal=lambda _: self._signal,
            batch_size=1,
            credits=None,
            clock=self._clock,
            connect=connect,
        )
        self.tasks = wiring.tasks
        self._allowance = InputAllowance(wiring.tasks, self._clock, options.max_records, options.timeout)
        self._lives = {task.id: TaskLife(task, wiring.services, events) for task in wiring.tasks}
        self._info = HostInfo("inline", os.getpid())
        self._until = math.inf  # by time.monotonic: when whoever joins wants to be told that it has not ended
        self._sources = [life for life in self._lives.values() if life.task.chain.source is not None]
        self._others = [life for life in self._lives.values() if life.task.chain.source is None]
        for life in self._lives.values():
            if not life.open():
                break

    def send(self, task: TaskId, command: Command) -> None:
        self._lives[task].obey(command)
        if command.kind == "start":
            self._allowance.begin()

    def placement(self) -> Mapping[TaskId, HostInfo]:
        return dict.fromkeys(self._lives, self._info)

    def cancel(self, grace: float) -> None:
        for life in self._lives.values():
            life.task.cancel()

    def join(self, timeout: float | None) -> bool:
        self._until = deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not self._ended():
            ctrl_c.check()
            if time.monotonic() >= deadline:
                return False
            if not self._take_turns() and not self._ended():
                self._wait(deadline)
        return True

    def settle(self) -> bool:
        """Run until nothing more happens before a source has news or time passes. Returns whether anything has."""
        moved = False
        while not self._ended() and self._take_turns():
            moved = True
            ctrl_c.check()
        return moved

    @property
    def now(self) -> float:
        """What the job's clock shows."""
        return self._clock.now()

    def pass_time(self, seconds: float) -> None:
        """Let virtual time pass, in jumps from one moment at which something is due to the next."""
        until = self._clock.now() + seconds
        self.settle()
        while (due := self._next_deadline()) < until and self._jump(due):
            pass
        self._jump(until)

    def _jump(self, to: float) -> bool:
        if isinstance(self._clock, VirtualClock):
            self._clock.jump(to)
        return self.settle()

    def _next_deadline(self) -> float:
        """When some operator has something to do without any news, infinite if none ever has."""
        waiting = [life.task for life in self._lives.values() if not life.ended]
        return min((operator.deadline for task in waiting for operator, _ in task.chain.due), default=math.inf)

    def _take_turns(self) -> bool:
        """Let each source have its turn, and drain what comes of it. Returns whether anything has happened."""
        busy = self._drain()
        for life in self._sources:
            if not life.ended and time.monotonic() < self._until:
                self._allowance.apply()
                busy = life.step() != "wait" or busy
                busy = self._drain() or busy
        return busy

    def _wait(self, deadline: float) -> None:
        """Wait for news of any source: first as the sources that have a way of their own do, in turn."""
        idle = [life for life in self._sources if not life.ended and life.started]
        own = [life for life in idle if life.task.own_wait is not None and not self._jumps]
        for life in own:
            life.idle()
        if not own:
            waiting = [*idle, *(life for life in self._others if not life.ended)]
            patience = min((life.task.patience for life in waiting), default=math.inf)
            patience = min(patience, self._allowance.seconds_left)
            if not self._jumps or patience == math.inf:
                patience = min(patience, max(0.0, deadline - time.monotonic()))
                with ctrl_c.freely():
                    self._signal.wait(None if patience == math.inf else patience)
            else:
                self._clock.wait(self._signal, patience)

    def _drain(self) -> bool:
        """Step whatever has input, the task furthest downstream first, until nothing has, or the time to wait is over.

        Returns:
            whether there were news, which may be for a source as well.
        """
        news, moved = False, True
        while moved and time.monotonic() < self._until:  # a loop may never drain
            moved = False
            for life in reversed(self._others):
                if not life.ended and life.step() != "wait":
                    moved = True
                if self._signal.wait(0.0):  # a task that waits now may have sent something before
                    moved = news = True
                if moved:
                    break
        return news

    def _ended(self) -> bool:
        return all(life.ended for life in self._lives.values())


@hookimpl
def sage_backend(name: str, options: BackendOptions) -> InlineBackend:
    return InlineBackend(read_options(options, InlineOptions, name))
