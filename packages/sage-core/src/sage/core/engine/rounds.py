"""When a loop is over: probes go round in it until nothing else does.

A loop is a set of tasks each of which is reached from every other one. Its *heads* are where back edges lead; without
those, it has no cycle. Each head sends a probe by all its outputs, in band behind its records, and the next one when
the last has come back by all its back edges. Every other task hands a probe on, behind its own records, once

- all that comes from outside the loop has ended,
- a probe has come by every channel from within the loop, each of them counted,
- and nothing is held back here that goes on by itself: what waits for company was sent on, coroutines have ended.

So the first probes wait for the forward inputs to end, and nobody has to be told of that.

A probe tells for how many rounds nothing has happened: ``quiet``. A task hands on the least that has come, but -1 if it
has taken or put out any record since the probe before. A head adds one, unless it has itself sent a record on since.

**Why this is right.** Take a round that every task has found quiet: it has handled no record between handing on probe
*r* and probe *r + 1*. Look at all tasks and channels at the moments of probe *r*. A record on its way by a forward
channel would be there before the probe, which has come behind it, or was sent after it, which the round rules out; one
on its way by a back edge would arrive before probe *r* comes back, and that is within the round, too. So all channels
were empty and all tasks had nothing to do, and only a record can make them do something: the loop has drained.

With one head, such a round is one that comes back with ``quiet`` at 1 or more: all tasks of the loop hear of the head
and are heard by it, in one round. With *n* heads a task may be heard by some of them only by way of others. News of a
record take at most *n - 1* rounds more, so each head waits for *n*. A loop that has drained stays so, hence they need
not agree on the moment.

**Letting in.** Were records taken in as they come, all of a long input would soon be in the loop, and wait there. So a
head at which more than half as many wait as there is room for in memory says `Hold`, and takes that back at a quarter.
Each task tells that on, once, and takes nothing from outside meanwhile. What is in the loop goes on, so this ends.

**Ending.** When it has drained, a head lets its probes say that time is ``over``. A task that has such ones from all
sides lets go what it keeps until the end of time, as windows and timers do, and that goes round like anything else.
When all is quiet once more, the head ends its output. Then the tasks of the loop end in turn, as anywhere, and the head
is done when all that leads to it has ended. A record that comes to it after all is a mistake, and fails the job.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from sage.core.engine.messages import Hold, Probe
from sage.core.engine.spill import Backlog
from sage.core.errors import FeedbackError

__all__ = ["Head", "LoopPart", "Rounds"]


class Rounds:
    """The probes that come to one task, counted by channel.

    Args:
        inside: the channels that come from within the loop; those of a head are its back edges.
        outside: the others.

    Attributes:
        is_whole: whether a probe has come from all sides.
    """

    def __init__(self, inside: Iterable[int], outside: Iterable[int] = ()) -> None:
        self._probes: dict[int, deque[Probe]] = {channel: deque() for channel in inside}  # at most one for each head
        self._outside = set(outside)
        self._ended: set[int] = set()
        self.is_whole = False

    def is_outside(self, channel: int) -> bool:
        """Whether a channel comes from outside of the loop."""
        return channel in self._outside

    def arrived(self, channel: int, probe: Probe) -> None:
        """A probe has come."""
        self._probes[channel].append(probe)
        self.is_whole = self._look()

    def ended(self, channel: int) -> None:
        """Nothing follows by a channel."""
        self._ended.add(channel)
        self._outside.discard(channel)
        self.is_whole = self._look()

    def _look(self) -> bool:
        if self._outside:
            return False
        found = False
        for channel, probes in self._probes.items():
            if probes:
                found = True
            elif channel not in self._ended:
                return False
        return found

    @property
    def is_over(self) -> bool:
        """Whether the probes that have come from all sides say that time is over."""
        return all(probes[0].over for probes in self._probes.values() if probes)

    def take(self, *, quiet: bool) -> Probe:
        """What to hand on of the probes that have come from all sides.

        Args:
            quiet: whether this task has handled no record since the probe before.
        """
        taken = [probes.popleft() for probes in self._probes.values() if probes]
        over = all(probe.over for probe in taken)
        least = min(probe.quiet for probe in taken if probe.over is over)
        self.is_whole = self._look()
        return Probe(taken[0].round, least if quiet else -1, over)


class Head:
    """What a head decides.

    Args:
        heads: how many its loop has.

    Attributes:
        rounds: how many have come back.
        over: whether it has said that time is over.
        is_done: whether the loop is over.
    """

    def __init__(self, heads: int = 1) -> None:
        self._heads = heads
        self.rounds = 0
        self.over = False
        self.is_done = False

    def first(self) -> Probe:
        return Probe(1, 0, False)

    def back(self, probe: Probe, *, quiet: bool) -> Probe | None:
        """A probe has come back by all back edges. Returns the next one, or None if the loop is over.

        Args:
            quiet: whether this head has handled no record since it sent the probe.
        """
        self.rounds += 1
        if not quiet or (self.over and not probe.over):
            count = 0
        elif probe.over and not self.over:  # others have found it drained
            count = self._heads
        else:
            count = probe.quiet + 1
        if count >= self._heads:
            if self.over:
                self.is_done = True
                return None
            self.over, count = True, 0
        return Probe(self.rounds + 1, count, self.over)


class LoopPart:
    """What a task of a loop does about its end.

    Args:
        names: of the loop's heads.
        rounds: the probes that come to the task.
        edges: by which it hands them on: those that stay within the loop.
        head: what it decides, if it is a head.
        backlog: what waits to go round again there.
        stage: its stage.
    """

    def __init__(
        self,
        names: Sequence[str],
        rounds: Rounds,
        edges: Sequence[int],
        head: Head | None = None,
        backlog: Backlog | None = None,
        stage: int = 0,
    ) -> None:
        self.rounds = rounds
        self.edges = edges
        self.head = head
        self._backlog = backlog
        self._handled = 0
        self._begun = False
        self._let_go = False
        self._stage = stage
        self._holds: dict[int, Hold] = {}  # the newest that each head has said
        self._is_held = False
        self._name = " and ".join(f"'{name}'" for name in names)

    def first(self) -> Probe | None:
        """The probe that a head begins with, once."""
        if self.head is None or self._begun:
            return None
        self._begun = True
        return self.head.first()

    def check(self) -> None:
        """Raises `FeedbackError` if something that goes round could not be kept."""
        if self._backlog is not None and self._backlog.error is not None:
            raise self._backlog.error

    def lets_go(self) -> bool:
        """Whether the task is to let go what it keeps until the end of time, before it hands on: once for a probe."""
        if not self.rounds.is_over or self._let_go:
            return False
        self._let_go = True
        return True

    def hand_on(self, handled: int) -> Probe | None:
        """The probe to hand on next, of those that have come from all sides; None if the loop is over.

        Args:
            handled: a count that rises with whatever the task takes or puts out.
        """
        quiet, self._handled, self._let_go = handled == self._handled, handled, False
        probe = self.rounds.take(quiet=quiet)
        return probe if self.head is None else self.head.back(probe, quiet=quiet)

    @property
    def has_news(self) -> bool:
        """Whether this head has to say whether anything is to be taken in from outside: more waits here, or less."""
        if self._backlog is None or self.head is None or self.head.is_done:
            return False
        said, waiting = self._holds.get(self._stage), self._backlog.waiting
        if said is not None and said.on:
            return waiting <= self._backlog.in_memory // 4
        return waiting > self._backlog.in_memory // 2

    def hold(self) -> Hold | None:
        """What this head has to say of that, if there is news."""
        if not self.has_news:
            return None
        said = self._holds.get(self._stage)
        news = Hold(self._stage, 1, True) if said is None else Hold(self._stage, said.number + 1, not said.on)
        self._holds[self._stage] = news
        return news

    def heard(self, hold: Hold) -> bool:
        """Take in what a head says. Returns whether it is news, to be told on."""
        said = self._holds.get(hold.head)
        if hold.head == self._stage or (said is not None and said.number >= hold.number):
            return False
        self._holds[hold.head] = hold
        self._is_held = any(item.on for item in self._holds.values())
        return True

    def keeps_out(self, channel: int) -> bool:
        """Whether nothing is to be taken from a channel for now."""
        return self._is_held and self.rounds.is_outside(channel)

    def too_late(self) -> FeedbackError:
        """What is wrong where a record comes back to a head that has ended."""
        return FeedbackError(
            f"a record has come back by the loop {self._name} after its end",
            hint="an operator of the loop has put it out as its input ended: let what goes back not come from it",
            loop=self._name.strip("'"),
        )

    @property
    def described(self) -> str:
        """Its state, for people."""
        text = f", in the loop {self._name}, which has not drained"
        if self.head is None:
            return text
        return f"{text}: {self.head.rounds} rounds, {self._waiting} records wait to go round again"

    @property
    def draining(self) -> str | None:
        """That records still go round though all input has ended, for people; None where it is not so, or not known."""
        if self.head is None or self.head.is_done or not self.head.rounds:
            return None
        return (
            f"the loop {self._name} has not drained: its input has ended, and after {self.head.rounds:,} rounds records"
            f" still go round in it, of which {self._waiting:,} wait at its beginning"
        )

    @property
    def _waiting(self) -> int:
        return 0 if self._backlog is None else self._backlog.waiting
