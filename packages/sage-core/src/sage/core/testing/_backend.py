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
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sage.core.backends.api import Attempt, Command, Deployment, HostInfo, TaskEvent, missing_capabilities
from sage.core.engine.allowance import Allowance
from sage.core.engine.clock import VirtualClock
from sage.core.engine.failures import OperatorError
from sage.core.engine.life import TaskLife
from sage.core.engine.links import Inbox, Link, Signal
from sage.core.engine.pace import Pace
from sage.core.engine.wiring import TaskSet, wire
from sage.core.errors import Problem, SimulationError
from sage.core.plan.model import ChannelId, ExecutionPlan, TaskId
from sage.core.testing._channel import Channel
from sage.core.testing._choices import Choices
from sage.core.testing._coroutines import LoopFlag

__all__ = ["SimulatedBackend"]

_OUTSIDE = 10.0
"""Seconds, real ones, that coroutines may wait for the world outside."""

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

    capabilities = frozenset({"async", "unbounded"})

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
        Allowance.check(max_records, timeout)
        self.seed = seed
        self.cancel = cancel
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
        self._slow = choices.one_of((0.0, 0.1, 0.5))  # share of slices that count as slow
        self._spurious = choices.one_of((0.0, 0.0, 0.05))  # share of turns that step a task without any reason
        self._meanwhile = choices.one_of((0.0, 0.05, 0.3))  # share of calls of `interfere` in which others go on
        self._cancelling = choices.one_of((0.3, 0.05, 0.005)) if backend.cancel else 0.0
        batch_size = choices.one_of((1, 2, 3, 5, 16, 1024))
        largest_slice = choices.one_of((1, 2, 5, 50))  # whatever the batches: one record may become many
        most_credits = choices.one_of((1, 2, 8))
        channels: list[Channel] = []
        sending: dict[TaskId, list[Channel]] = {task: [] for task in plan.tasks}
        paces: list[_Pace] = []
        flags: list[_Flag | LoopFlag] = []
        awaits = [plan.operators[plan.stages[task.stage].operators[0]].kind == "map_async" for task in plan.tasks]

        def connect(id: ChannelId, inbox: Inbox) -> Link:
            channel = Channel(
                f"{plan.source_of(id)}>{plan.target_of(id)} of edge {id.edge}",
                inbox,
                1 + choices.below(most_credits),
                batch_size,
                choices,
            )
            sending[plan.source_of(id)].append(channel)
            channels.append(channel)
            return channel

        def signal() -> Signal:
            flags.append(LoopFlag() if awaits[len(flags)] else _Flag())
            return flags[-1]

        def pace(_: int) -> Pace:
            paces.append(_Pace(largest_slice, choices, self._slow))
            return paces[-1]

        wiring = wire(
            TaskSet(plan, plan.tasks),
            attempt,
            {},
            signal=signal,
            batch_size=batch_size,
            clock=self.clock,
            pace=pace,
            connect=connect,
        )
        self._allowance = Allowance(wiring.tasks, self.clock, backend.max_records, backend.timeout)
        self._tasks = {
            task.id: _Task(
                TaskLife(task, wiring.services, events), _title(plan, task.id), flag, pace, sending[task.id], self
            )
            for task, flag, pace in zip(wiring.tasks, flags, paces, strict=True)
        }
        self._channels = channels
        actors: list[_Actor] = [*self._tasks.values()]
        actors += [actor for channel in channels for actor in (_Arrival(channel), _Credit(channel))]
        self._loops = [_Coroutines(task, flag) for task, flag in zip(self._tasks.values(), flags, strict=True)]
        actors += [item for item, it_awaits in zip(self._loops, awaits, strict=True) if it_awaits]
        actors.append(_Time(self))
        self._turn = (_ByPriority if choices.chance(0.5) else _ByWeight)(actors, choices)
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

    @property
    def next_deadline(self) -> float:
        """When some waiting task, or coroutine, wants to go on, of those that do not yet."""
        now, moments = self.clock.now(), [(loop.task.next_look, loop.next_event) for loop in self._loops]
        return min((moment for both in moments for moment in both if moment > now), default=math.inf)

    def pass_time(self) -> None:
        """Let time jump to the next deadline; no faster than it passes outside, while coroutines wait for that."""
        now, until = self.clock.now(), self.next_deadline
        if files := [file for loop in self._loops for file in loop.outside]:
            began = time.monotonic()
            select.select(files, (), (), min(until - now, _OUTSIDE))
            until = min(until, now + time.monotonic() - began)
        self.clock.jump(until)

    def hold(self, pace: Pace) -> None:
        """Hold a source to what it may still give."""
        self._allowance.apply()
        pace.limit = int(max(1, min(pace.limit, self._allowance.records_left)))

    def _take_turn(self) -> None:
        self._may_cancel()
        possible = self._turn.possible()
        if self.turns > self._backend.turns and not self._failed:
            self._fail(f"it has not ended after {self._backend.turns:,} turns")
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

    def _act(self, actor: _Actor) -> None:
        self.turns += 1
        turn = self.turns
        self._note(f"{actor.name}: {actor.act()}", turn)

    def _fail(self, what: str) -> None:
        self._failed = True
        left = [task for task in self._tasks.values() if not task.life.ended]
        lines = [f"the simulated job cannot end: {what}."]
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


class _Flag(Signal):
    """The signal of a task that is asked whether it was woken."""

    __slots__ = ("is_set",)

    def __init__(self) -> None:
        self.is_set = False

    def take(self) -> None:
        """Clear it."""
        self.is_set = False

    def set(self) -> None:
        self.is_set = True

    def wait(self, timeout: float | None = None) -> bool:
        was_set, self.is_set = self.is_set, False
        return was_set


class _Clock(VirtualClock):
    """Virtual time; others may go on while a task waits."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def wait(self, signal: Signal, seconds: float) -> bool:
        self._meanwhile()
        return super().wait(signal, seconds)

    def jump(self, to: float) -> None:
        self._now = max(self._now, to)


class _Pace(Pace):
    """Slices of any size, some of which count as slow whatever they take."""

    __slots__ = ("_choices", "_slow")

    def __init__(self, most: int, choices: Choices, slow: float) -> None:
        super().__init__(most)
        self._choices = choices
        self._slow = slow

    def after(self, seconds: float) -> bool:
        self.limit = self._choices.one_of((1, 1 + self._choices.below(self._most), self._most))
        return self._choices.chance(self._slow)


class _Actor(Protocol):
    """Something that can happen."""

    name: str

    def is_possible(self) -> bool:
        """Whether it can happen now."""

    def act(self) -> str:
        """Let it happen. Returns what it was, for the trace."""


class _Task:
    """A task's next step.

    Attributes:
        until: when it is to be stepped although nothing has woken it.
        is_stepping: whether it is in the middle of a step.
    """

    def __init__(
        self,
        life: TaskLife,
        name: str,
        flag: _Flag | LoopFlag,
        pace: Pace,
        sending: Sequence[Channel],
        deployment: SimulatedDeployment,
    ) -> None:
        self.name = name
        self.is_stepping = False
        self._sending = sending
        self.life = life
        self.until = math.inf
        self._flag = flag
        self._pace = pace
        self._deployment = deployment
        self._opened = False
        self._waits = False

    @property
    def now(self) -> float:
        return self._deployment.clock.now()

    def is_possible(self) -> bool:
        if self.life.ended or self.is_stepping:
            return False
        return not self._waits or self._flag.is_set or self.until <= self.now

    def act(self) -> str:
        self.is_stepping = True
        try:
            return self._step() if self._opened else self._open()
        finally:
            self.is_stepping = False

    def _open(self) -> str:
        self._opened = True
        return "opens" if self.life.open() else "does not open"

    def _step(self) -> str:
        life, task = self.life, self.life.task
        if self._waits:
            self._flag.take()
        if task.chain.source is not None and life.started:
            self._deployment.hold(self._pace)
        stuck = [channel for channel in self._sending if channel.is_stuck]
        before = self._work_done()
        step = life.step()
        if any(channel.is_stuck for channel in stuck) and self._work_done() != before and not life.ended:
            life.give_up(SimulationError(f"{self.name} went on although a full batch waited for a credit: {stuck[0]}"))
            return "fails"
        self._waits = step == "wait"
        self.until = math.inf
        if self._waits and life.started and task.patience < math.inf:
            self.until = self.now + task.patience
        return step

    @property
    def next_look(self) -> float:
        """When it wants to be stepped although nothing wakes it."""
        return math.inf if self.life.ended else self.until

    @property
    def is_idle(self) -> bool:
        """Whether its thread waits for the task's signal."""
        return self._opened and self._waits and not self.is_stepping and not self.life.ended

    def run_coroutines(self, flag: LoopFlag) -> str:
        """Let coroutines go on, as they do while the task waits."""
        awaiting = self.life.task.chain.awaiting
        assert awaiting is not None
        self.is_stepping = True
        try:
            with OperatorError.boundary(awaiting, "execute"):
                woken = flag.turn()
        except BaseException as error:  # reported as the job's failure
            self.life.give_up(error)
            return "fails"
        finally:
            self.is_stepping = False
        self._waits = self._waits and not woken
        return "one has ended" if woken else "go on"

    def _work_done(self) -> int:
        return sum(item.records_in + item.records_out for item in self.life.task.chain.operators)


class _Arrival:
    """The oldest message on its way arrives."""

    def __init__(self, channel: Channel) -> None:
        self.name = f"arrival {channel.name}"
        self._channel = channel

    def is_possible(self) -> bool:
        return bool(self._channel.in_flight)

    def act(self) -> str:
        return self._channel.arrive()


class _Coroutines:
    """Coroutines of a task that waits go on."""

    def __init__(self, task: _Task, flag: _Flag | LoopFlag) -> None:
        self.name = f"coroutines of {task.name}"
        self.task = task
        self._flag = flag

    @property
    def next_event(self) -> float:
        """When some coroutine wants to go on; infinite if none does, or while none may."""
        return self._flag.next_event if isinstance(self._flag, LoopFlag) and self.task.is_idle else math.inf

    @property
    def files(self) -> tuple[int, ...]:
        """What becomes readable when news for coroutines come from outside."""
        return self._flag.files if isinstance(self._flag, LoopFlag) and self.task.is_idle else ()

    @property
    def outside(self) -> tuple[int, ...]:
        return self._flag.outside if isinstance(self._flag, LoopFlag) else ()

    def is_possible(self) -> bool:
        return self.next_event <= self.task.now

    def act(self) -> str:
        assert isinstance(self._flag, LoopFlag)
        return self.task.run_coroutines(self._flag)


class _Credit:
    """A credit comes back."""

    def __init__(self, channel: Channel) -> None:
        self.name = f"credit {channel.name}"
        self._channel = channel

    def is_possible(self) -> bool:
        return self._channel.returning > 0

    def act(self) -> str:
        self._channel.grant()
        return f"{self._channel.returning} left"


class _Time:
    """Time passes until some task wants to look again."""

    name = "time"

    def __init__(self, deployment: SimulatedDeployment) -> None:
        self._deployment = deployment

    def is_possible(self) -> bool:
        return self._deployment.next_deadline < math.inf

    def act(self) -> str:
        self._deployment.pass_time()
        return "passes"


class _ByWeight:
    """Picks among what is possible, some more often than others."""

    def __init__(self, actors: list[_Actor], choices: Choices) -> None:
        self._actors = actors
        self._choices = choices
        self._weights = {id(actor): choices.one_of((0.02, 1.0, 1.0, 5.0)) for actor in actors}

    def possible(self) -> list[_Actor]:
        return [actor for actor in self._actors if actor.is_possible()]

    def pick(self, possible: list[_Actor]) -> _Actor:
        point = self._choices.fraction() * sum(self._weights[id(actor)] for actor in possible)
        for actor in possible:
            point -= self._weights[id(actor)]
            if point < 0:
                return actor
        return possible[-1]


class _ByPriority(_ByWeight):
    """Always picks the first of an order in which, now and then, the one that was picked falls to the last place.

    Such orders let one part of a job run far ahead of another, which turns picked evenly hardly ever do.
    """

    def __init__(self, actors: list[_Actor], choices: Choices) -> None:
        super().__init__([], choices)
        left = list(actors)
        while left:
            self._actors.append(left.pop(choices.below(len(left))))
        self._falls = choices.one_of((0.3, 0.1, 0.03))

    def pick(self, possible: list[_Actor]) -> _Actor:
        first = possible[0]
        if self._choices.chance(self._falls):
            self._actors.remove(first)
            self._actors.append(first)
        return first
