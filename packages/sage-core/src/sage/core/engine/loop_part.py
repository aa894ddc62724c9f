"""What a task of a loop does beside its work: it tells on what goes round to end the loop, or to hold its input up.

`sage.core.engine.rounds` says how loops end, and why so.
"""

from __future__ import annotations

from collections.abc import Sequence

from sage.core.engine.failures import OperatorError
from sage.core.engine.intake import Intake
from sage.core.engine.messages import Batch, EndOfInput, Hold, Probe
from sage.core.engine.operators.base import RunningOperator
from sage.core.engine.outputs import Outputs
from sage.core.engine.rounds import Head, Rounds
from sage.core.engine.spill import Backlog
from sage.core.errors import FeedbackError

__all__ = ["LoopPart"]


class LoopPart:
    """The part of a task in its loop.

    Args:
        names: of the loop's heads.
        stage: of the task.
        operator: the first of that, which fails where the loop does.
        rounds: the probes that come to the task.
        intake: what comes into it.
        outputs: what leaves it.
        edges: those of them that stay within the loop.
        head: what it decides, if it is a head.
        backlog: what waits to go round again there.
    """

    def __init__(
        self,
        names: Sequence[str],
        stage: int,
        operator: RunningOperator,
        rounds: Rounds,
        intake: Intake,
        outputs: Outputs,
        edges: Sequence[int],
        head: Head | None = None,
        backlog: Backlog | None = None,
    ) -> None:
        self._names = names
        self._name = " and ".join(f"'{name}'" for name in names)
        self._stage = stage
        self._operator = operator
        self._rounds = rounds
        self._intake = intake
        self._outputs = outputs
        self._edges = edges
        self._head = head
        self._backlog = backlog
        self._handled = 0
        self._begun = False
        self._let_go = False
        self._holds: dict[int, Hold] = {}  # the newest that each head has said

    def attend(self) -> None:
        """Before each step: begin the first round, and say whether more is to be let in.

        Raises:
            OperatorError: something that goes round could not be kept.
        """
        if self._backlog is not None and self._backlog.error is not None:
            with OperatorError.boundary(self._operator, "execute"):
                raise self._backlog.error
        if self._head is not None and not self._begun:
            self._begun = True
            self._outputs.rest()  # nobody waits for what comes back, which is as late as it is
            self._tell(self._head.first())
        if self.has_news:
            said = self._holds.get(self._stage)
            news = Hold(self._stage, 1, True) if said is None else Hold(self._stage, said.number + 1, not said.on)
            self._holds[self._stage] = news
            self._tell(news)

    @property
    def has_news(self) -> bool:
        """Whether this head has to say whether anything is to be taken in from outside: more waits here, or less."""
        if self._backlog is None or self._head is None or self._head.is_done:
            return False
        said, waiting = self._holds.get(self._stage), self._backlog.waiting
        if said is not None and said.on:
            return waiting <= self._backlog.in_memory // 4
        return waiting > self._backlog.in_memory // 2

    def take(self, channel: int, message: Probe | Hold) -> None:
        """Something that goes round has come by a channel."""
        if isinstance(message, Probe):
            self._rounds.arrived(channel, message)
            return
        said = self._holds.get(message.head)
        if message.head == self._stage or (said is not None and said.number >= message.number):
            return
        self._holds[message.head] = message
        self._intake.hold(self._rounds.outside if any(item.on for item in self._holds.values()) else ())
        self._tell(message)

    def ended(self, channel: int) -> None:
        """Nothing follows by a channel."""
        self._rounds.ended(channel)

    @property
    def is_whole(self) -> bool:
        """Whether a probe has come from all sides."""
        return self._rounds.is_whole

    def lets_go(self) -> bool:
        """Whether the task is to let go what it keeps until the end of time, before it hands on: once for a probe."""
        if not self._rounds.is_over or self._let_go:
            return False
        self._let_go = True
        return True

    def hand_on(self, handled: int) -> bool:
        """Hand on the probe that has come from all sides. Returns False if there is none: the loop is over.

        Args:
            handled: a count that rises with whatever the task takes or puts out.
        """
        quiet, self._handled, self._let_go = handled == self._handled, handled, False
        came = self._rounds.take(quiet=quiet)
        probe = came if self._head is None else self._head.back(came, quiet=quiet)
        if probe is not None:
            self._tell(probe)
        return probe is not None

    def _tell(self, message: Probe | Hold) -> None:
        self._outputs.tell(message, self._edges)

    def has_come_back(self) -> bool:
        """Whether all that leads to a head has ended: from its own end on nothing else may come. Others do not wait.

        Raises:
            OperatorError: a record has come.
        """
        while self._head is not None and self._intake.open:
            message = self._intake.take()
            if message is None:
                return False
            if isinstance(message, EndOfInput):
                self._intake.open -= 1
            elif isinstance(message, Batch):
                with OperatorError.boundary(self._operator, "execute"):
                    raise self._too_late()
        return True

    def _too_late(self) -> FeedbackError:
        return FeedbackError(
            f"a record has come back by the loop {self._name} after its end",
            hint="an operator of the loop has put it out as its input ended: let what goes back not come from it",
            loop=" and ".join(self._names),
        )

    @property
    def described(self) -> str:
        """Its state, for people."""
        text = f", in the loop {self._name}, which has not drained"
        if self._head is None:
            return text
        return f"{text}: {self._head.rounds} rounds, {self._waiting} records wait to go round again"

    @property
    def draining(self) -> str | None:
        """That records still go round though all input has ended, for people; None where it is not so, or not known."""
        head = self._head
        if head is None or head.is_done or not head.rounds:
            return None
        return (
            f"the loop {self._name} has not drained: its input has ended, and after {head.rounds:,} rounds records"
            f" still go round in it, of which {self._waiting:,} wait at its beginning"
        )

    @property
    def _waiting(self) -> int:
        return 0 if self._backlog is None else self._backlog.waiting
