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
from collections.abc import Iterable

from sage.core.engine.messages import Probe

__all__ = ["Head", "Rounds"]


class Rounds:
    """The probes that come to one task, counted by channel.

    Args:
        inside: the channels that come from within the loop; those of a head are its back edges.
        outside: the others.

    Attributes:
        outside: those of them that have not ended.
        is_whole: whether a probe has come from all sides.
    """

    def __init__(self, inside: Iterable[int], outside: Iterable[int] = ()) -> None:
        self._probes: dict[int, deque[Probe]] = {channel: deque() for channel in inside}  # at most one for each head
        self.outside = set(outside)
        self._ended: set[int] = set()
        self.is_whole = False

    def arrived(self, channel: int, probe: Probe) -> None:
        """A probe has come."""
        self._probes[channel].append(probe)
        self.is_whole = self._look()

    def ended(self, channel: int) -> None:
        """Nothing follows by a channel."""
        self._ended.add(channel)
        self.outside.discard(channel)
        self.is_whole = self._look()

    def _look(self) -> bool:
        if self.outside:
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
