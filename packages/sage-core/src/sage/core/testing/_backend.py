"""The backend behind a simulation: one thread, virtual time, and a seed that decides what happens next.

What may happen next at any moment: a task that has a reason to takes a step, the oldest message of a channel
arrives, a credit comes back, time jumps to when a task wants to look again. Whatever is possible may be chosen, so
that a schedule of threads, or of hosts with a network between them, is among those that some seed gives. A task that
has said that it waits is stepped when it was woken, as on threads: a wake-up that is lost shows as a standstill.
"""

from __future__ import annotations

import math
import os
import select
import time
from collections import deque
from collections.abc import Callable, Mapping

from sage.core.backends.api import Attempt, Command, Deployment, HostInfo, TaskEvent, missing_capabilities
from sage.core.engine.allowance import InputAllowance
from sage.core.engine.clock import VirtualClock
from sage.core.engine.life import TaskLife
from sage.core.engine.links import Inbox, Link, Signal
from sage.core.engine.pace import Pace
from sage.core.engine.wiring import TaskSet, wire
from sage.core.errors import Problem, SimulationError
from sage.core.plan.model import ChannelId, ExecutionPlan, TaskId
from sage.core.testing._actors import Arrival, Coroutines, Credit, Flag, RandomPace, Task, Time
from sage.core.testing._channel import Channel
from sage.core.testing._choices import Choices
from sage.core.testing._coroutines import LoopFlag
from sage.core.testing._turns import Actor, ByPriority, ByWeight

__all__ = ["SimulatedBackend"]

_OUTSIDE = 10.0
"""Seconds, real ones, that coroutines may wait for the world outside."""

_HOW_TO_END = (
    "max_records=… or timeout=… ends the input of a source that goes on for ever;"
    " a job that only takes long is given more turns=…"
)

_DEEPEST = 3
"""How many tasks may be in user code at once."""

_SHOWN = 20
"""How many of the last turns an error shows."""


class SimulatedBackend:
    """Runs a job by turns that a seed decides.

    Args:
        seed: decides everything that is left open: two runs with one seed are the same.
        cancel: whether to ask for the job's end at a moment that the seed decides, if it has not ended before.
        max_records, timeout: as on the backend ``inline``; seconds are virtual.
        turns: after how many the job is said never to end.
        tell: called with a line for every turn.

    Attributes:
        stop: asks for the end of the job.
        deployment: the running tasks, once there are some.
    """

    capabilities = frozenset({"async", "feedback", "unbounded"})

    def __init__(
        self,
        seed: int,
        *,
        cancel: bool = False,
        max_records: int | None = None,
        timeout: float | None = None,
        turns: int = 1_000_000,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        InputAllowance.check(max_records, timeout)
        self.seed = seed
        self.cancels = cancel
        self.max_records = max_records
        self.timeout = timeout
        self.turns = turns
        self.tell = tell
        self.stop: Callable[[], None] | None = None
        self.deployment: SimulatedDeployment | None = None

    def check(self, plan: ExecutionPlan) -> list[Problem]:
        return missing_capabilities(plan, "simulated", self.capabilities)

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        self.deployment = SimulatedDeployment(plan, attempt, events, self)
        return self.deployment


class SimulatedDeployment:
    """The tasks of a simulated job; `join` runs them.

    Attributes:
        clock: tells the virtual time.
        last: the last turns.
        turns: how many there were.
    """

    def __init__(
        self,
        plan: ExecutionPlan,
        attempt: Attempt,
        events: Callable[[TaskEvent], None],
        backend: SimulatedBackend,
    ) -> None:
        self._backend = backend
        self._choices = choices = Choices(backend.seed)
        self.clock = _Clock(self.interfere)
        self.turns = 0
        self._failed = False
        self.last: deque[str] = deque(maxlen=_SHOWN)
        self._info = HostInfo("simulated", os.getpid())
        slow = choices.one_of((0.0, 0.1, 0.5))  # share of slices that count as slow
        self._spurious = choices.one_of((0.0, 0.0, 0.05))  # share of turns that step a task without any reason
        self._meanwhile = choices.one_of((0.0, 0.05, 0.3))  # share of calls of `interfere` in which others go on
        self._cancelling = choices.one_of((0.3, 0.05, 0.005)) if backend.cancels else 0.0
        batch_size = choices.one_of((1, 2, 3, 5, 16, 1024))
        largest_slice = choices.one_of((1, 2, 5, 50))  # whatever the batches: one record may become many
        most_credits = choices.one_of((1, 2, 8))
        channels: list[Channel] = []
        sending: dict[TaskId, list[Channel]] = {task: [] for task in plan.tasks}
        flags = {task: LoopFlag() if plan.awaits(task) else Flag() for task in plan.tasks}
        paces = {task: RandomPace(largest_slice, choices, slow) for task in plan.tasks}

        def connect(id: ChannelId, inbox: Inbox) -> Link:
            channel = Channel(
                f"{plan.source_of(id)}>{plan.target_of(id)} of edge {id.edge}",
                inbox,
                None if plan.edges[id.edge].back else 1 + choices.below(most_credits),
                batch_size,
                choices,
            )
            sending[plan.source_of(id)].append(channel)
            channels.append(channel)
            return channel

        wiring = wire(
            TaskSet(plan, plan.tasks),
            attempt,
            {},
            events,
            signal=flags.__getitem__,
            batch_size=batch_size,
            clock=self.clock,
            pace=paces.__getitem__,
            connect=connect,
        )
        self._allowance = InputAllowance(wiring.tasks, self.clock, backend.max_records, backend.timeout)
        self._tasks = {
            task.id: Task(
                TaskLife(task, wiring.services, events),
                _title(plan, task.id),
                flags[task.id],
                paces[task.id],
                sending[task.id],
                self.clock,
                self._hold,
            )
            for task in wiring.tasks
        }
        self._channels = channels
        actors: list[Actor] = [*self._tasks.values()]
        actors += [actor for channel in channels for actor in (Arrival(channel), Credit(channel))]
        self._loops = [Coroutines(self._tasks[id], flag) for id, flag in flags.items() if isinstance(flag, LoopFlag)]
        actors += [*self._loops, Time(self._next_deadline, self._pass_time)]
        self._turn = (ByPriority if choices.chance(0.5) else ByWeight)(actors, choices)
        self._note(f"batches of {batch_size}, {', '.join(f'{item.name}: {item.credits}' for item in channels)}")

    def send(self, task: TaskId, command: Command) -> None:
        self._tasks[task].life.obey(command)
        if command.kind == "start":
            self._allowance.begin()

    def placement(self) -> Mapping[TaskId, HostInfo]:
        return dict.fromkeys(self._tasks, self._info)

    def cancel(self, grace: float) -> None:
        self._note("cancel")
        for task in self._tasks.values():
            task.life.task.cancel()

    def join(self, timeout: float | None) -> bool:
        """Run until all tasks have ended. Time on the wall decides how long this call takes, and nothing else."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while any(not task.life.ended for task in self._tasks.values()):
            if time.monotonic() >= deadline:
                return False
            self._take_turn()
        return True

    def interfere(self) -> None:
        """Let happen what may happen on other threads while user code runs, or waits, on one."""
        self._may_cancel()
        if not self._choices.chance(self._meanwhile):
            return
        if self._choices.chance(0.3):
            task = self._choices.one_of([*self._tasks.values()])
            self._note(f"{task.name} is rescued")
            task.life.task.rescue()
        elif sum(task.is_stepping for task in self._tasks.values()) < _DEEPEST and (possible := self._turn.possible()):
            self._act(self._turn.pick(possible))

    def _next_deadline(self) -> float:
        """When some waiting task, or coroutine, wants to go on, of those that do not yet."""
        now = self.clock.now()
        moments = [task.next_look for task in self._tasks.values()] + [loop.next_event for loop in self._loops]
        moments.append(now + self._allowance.seconds_left)
        return min((moment for moment in moments if moment > now), default=math.inf)

    def _pass_time(self) -> None:
        """Let time jump to the next deadline; no faster than it passes outside, while coroutines wait for that."""
        now, until = self.clock.now(), self._next_deadline()
        if files := [file for loop in self._loops for file in loop.outside]:
            began = time.monotonic()
            select.select(files, (), (), min(until - now, _OUTSIDE))
            until = min(until, now + time.monotonic() - began)
        self.clock.jump(until)
        self._allowance.apply()

    def _hold(self, pace: Pace) -> None:
        """Hold a source to what it may still give."""
        self._allowance.apply()
        pace.limit = int(max(1, min(pace.limit, self._allowance.records_left)))

    def _take_turn(self) -> None:
        self._may_cancel()
        possible = self._turn.possible()
        if self.turns > self._backend.turns and not self._failed:
            self._fail(f"it has not ended after {self._backend.turns:,} turns", _HOW_TO_END)
        elif not possible:
            if not self._hears_from_outside():
                self._fail("it stands still: nothing can happen any more")
        elif self._spurious and self._choices.chance(self._spurious):
            task = self._choices.one_of([task for task in self._tasks.values() if not task.life.ended])
            self._note(f"{task.name} is woken for no reason")
            self._act(task)
        else:
            self._act(self._turn.pick(possible))

    def _hears_from_outside(self) -> bool:
        """Wait for news of threads and the like that coroutines wait for: real time, and no part of the schedule."""
        files = [file for loop in self._loops for file in loop.files]
        return bool(files) and any(select.select(files, (), (), _OUTSIDE))

    def _act(self, actor: Actor) -> None:
        self.turns += 1
        turn = self.turns
        self._note(f"{actor.name}: {actor.act()}", turn)

    def _fail(self, what: str, hint: str | None = None) -> None:
        self._failed = True
        left = [task for task in self._tasks.values() if not task.life.ended]
        lines = [f"the simulated job cannot end: {what}.", *([] if hint is None else [f"  hint: {hint}"])]
        lines += [f"  {task.name} waits for {task.life.task.waits_for}" for task in left]
        lines += [f"  {channel}" for channel in self._channels if channel.is_in_use]
        lines += [f"The last of {self.turns:,} turns:", *(f"  {line}" for line in self.last)]
        left[0].life.give_up(SimulationError("\n".join(lines)))

    def _may_cancel(self) -> None:
        stop = self._backend.stop
        if self._cancelling and stop is not None and self._choices.chance(self._cancelling):
            self._cancelling = 0.0
            stop()

    def _note(self, text: str, turn: int | None = None) -> None:
        line = f"{self.turns if turn is None else turn} at {self.clock.now():.6f}: {text}"
        self.last.append(line)
        if self._backend.tell is not None:
            self._backend.tell(line)


def _title(plan: ExecutionPlan, task: TaskId) -> str:
    names = [plan.operators[number].name for number in plan.stages[task.stage].operators]
    return f"task {task} ({', '.join(names)})"


class _Clock(VirtualClock):
    """Virtual time; others may go on while a task waits."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def wait(self, signal: Signal, seconds: float) -> bool:
        self._meanwhile()
        return super().wait(signal, seconds)
