"""What happens in a simulated job: steps of tasks and coroutines, arrivals, credits, and time that passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from sage.core.engine.clock import VirtualClock
from sage.core.engine.failures import OperatorError
from sage.core.engine.life import TaskLife
from sage.core.engine.links import Signal
from sage.core.engine.pace import Pace
from sage.core.errors import InternalError
from sage.core.testing._channel import Channel
from sage.core.testing._choices import Choices
from sage.core.testing._coroutines import LoopFlag

__all__ = ["Arrival", "Coroutines", "Credit", "Flag", "RandomPace", "Task", "Time"]


class Flag(Signal):
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


class RandomPace(Pace):
    """Slices of any size, some of which count as slow whatever they take."""

    __slots__ = ("_choices", "_slow")

    def __init__(self, most: int, choices: Choices, slow: float) -> None:
        super().__init__(most)
        self._choices = choices
        self._slow = slow

    def after(self, seconds: float) -> bool:
        self.limit = self._choices.one_of((1, 1 + self._choices.below(self._most), self._most))
        return self._choices.chance(self._slow)


class Task:
    """A task's next step.

    Attributes:
        until: when it is to be stepped although nothing has woken it.
        is_stepping: whether it is in the middle of a step.
    """

    def __init__(
        self,
        life: TaskLife,
        name: str,
        flag: Flag | LoopFlag,
        pace: Pace,
        sending: Sequence[Channel],
        clock: VirtualClock,
        hold: Callable[[Pace], None],
    ) -> None:
        self.name = name
        self.is_stepping = False
        self._sending = sending
        self.life = life
        self.until = math.inf
        self._flag = flag
        self._pace = pace
        self._clock = clock
        self._hold = hold
        self._opened = False
        self._waits = False

    @property
    def now(self) -> float:
        return self._clock.now()

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
            self._hold(self._pace)
        stuck = [channel for channel in self._sending if channel.is_stuck]
        before = self._work_done()
        step = life.step()
        if any(channel.is_stuck for channel in stuck) and self._work_done() != before and not life.ended:
            life.give_up(InternalError(f"{self.name} went on although a full batch waited for a credit: {stuck[0]}"))
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


class Arrival:
    """The oldest message on its way arrives."""

    def __init__(self, channel: Channel) -> None:
        self.name = f"arrival {channel.name}"
        self._channel = channel

    def is_possible(self) -> bool:
        return bool(self._channel.in_flight)

    def act(self) -> str:
        return self._channel.arrive()


class Coroutines:
    """Coroutines of a task that waits go on."""

    def __init__(self, task: Task, flag: LoopFlag) -> None:
        self.name = f"coroutines of {task.name}"
        self.task = task
        self._flag = flag

    @property
    def next_event(self) -> float:
        """When some coroutine wants to go on; infinite if none does, or while none may."""
        return self._flag.next_event if self.task.is_idle else math.inf

    @property
    def files(self) -> tuple[int, ...]:
        """What becomes readable when news for coroutines come from outside."""
        return self._flag.files if self.task.is_idle else ()

    @property
    def outside(self) -> tuple[int, ...]:
        return self._flag.outside

    def is_possible(self) -> bool:
        return self.next_event <= self.task.now

    def act(self) -> str:
        return self.task.run_coroutines(self._flag)


class Credit:
    """A credit comes back."""

    def __init__(self, channel: Channel) -> None:
        self.name = f"credit {channel.name}"
        self._channel = channel

    def is_possible(self) -> bool:
        return self._channel.returning > 0

    def act(self) -> str:
        self._channel.grant()
        return f"{self._channel.returning} left"


class Time:
    """Time passes until some task wants to look again."""

    name = "time"

    def __init__(self, next_deadline: Callable[[], float], pass_time: Callable[[], None]) -> None:
        self._next_deadline = next_deadline
        self._pass_time = pass_time

    def is_possible(self) -> bool:
        return self._next_deadline() < math.inf

    def act(self) -> str:
        self._pass_time()
        return "passes"
