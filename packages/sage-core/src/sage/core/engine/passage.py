"""How event time passes through a task: from its channels, by operators that act on it, to its outputs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from sage.core.engine.chain import Chain
from sage.core.engine.event_time import MIN_TIME
from sage.core.engine.operators.base import ENDED, RunningOperator
from sage.core.engine.operators.timed import TimedOperator
from sage.core.engine.output import Output
from sage.core.engine.slices import Slices
from sage.core.engine.valve import Valve
from sage.core.engine.ways import Way

__all__ = ["Passage"]

_PASSED = object()


class Passage:
    """The watermarks that are on their way through a task.

    One may have much put out on its way, a slice in each step of the task. Until it has passed nothing else is taken
    in, so that records are never behind a watermark that came before them.

    Args:
        chain: what they pass through.
        ways: by channel, how its records reach the chain.
        slices: by which the chain is entered.

    Attributes:
        under_way: what is yet to pass, in order; each item goes on with it, and yields at the end of each slice.
    """

    def __init__(self, chain: Chain, ways: Sequence[Way], slices: Slices) -> None:
        self._chain = chain
        self._slices = slices
        timed = [channel for channel, way in enumerate(ways) if way.timed]
        self._timed = {channel: place for place, channel in enumerate(timed)}
        self._valve = Valve(len(timed))
        self._keeps_time = bool(chain.clocks or chain.holders or chain.acting)
        self._let_pass = dict.fromkeys(chain.holders, (MIN_TIME, False))
        self._idle = dict.fromkeys(chain.holders, False)  # whether nothing is expected before them
        self.under_way: deque[Iterator[None]] = deque()

    def mark(self, channel: int, time: int, *, idle: bool = False) -> None:
        """A watermark has come by a channel: let it pass."""
        if self._valve.mark(self._timed[channel], time, idle=idle):
            self.under_way.append(self._let_time_pass(None, self._valve.time, self._valve.idle))
            self.go_on()

    def end(self, channel: int) -> None:
        """Nothing follows by a channel: the others are not to wait for it."""
        if channel in self._timed and self._valve.end(self._timed[channel]):
            self.under_way.append(self._let_time_pass(None, self._valve.time, self._valve.idle))

    def end_time(self) -> None:
        """All time is over: let go what was kept until then."""
        for operator in self._chain.operators:
            operator.end_time()
        for operator in self._chain.acting:
            self.fire(operator)

    def fire(self, operator: TimedOperator) -> None:
        """Let an operator put out what is due there."""
        self.under_way.append(self._fire(operator))

    def look(self) -> None:
        """After a slice: let time pass on from where it has moved, and do what has become due."""
        if not self._keeps_time:
            return
        for clock in self._chain.clocks:
            moved = clock.progress()
            if moved is not None:
                self.under_way.append(self._let_time_pass(clock, *moved))
        for holder, before in self._let_pass.items():
            time = max(before[0], holder.lets_pass(holder.watermark))
            idle = self._idle[holder] and holder.rests
            if (time, idle) != before:
                self._let_pass[holder] = time, idle
                self.under_way.append(self._let_time_pass(holder, time, idle))
        self.under_way.extend(self._fire(operator) for operator in self._chain.acting if operator.is_due)
        if self.under_way:
            self.go_on()

    def go_on(self) -> None:
        """Go on with what is under way: at most a slice of it."""
        under_way = self.under_way
        while under_way:
            if next(under_way[0], _PASSED) is not _PASSED:
                return
            under_way.popleft()
        self.look()  # what was put out may have moved it further

    def _let_time_pass(self, origin: RunningOperator | None, time: int, idle: bool) -> Iterator[None]:
        """Let ``time`` be the watermark behind ``origin``, or of the input for None."""
        for target in self._chain.path(origin):
            if isinstance(target, Output):
                target.mark(time, idle=idle)
            else:
                target.pass_time(time)
                if target in self._idle:
                    self._idle[target] = idle
                if isinstance(target, TimedOperator) and target.is_due:
                    yield from self._fire(target)

    def _fire(self, operator: TimedOperator) -> Iterator[None]:
        """Put out what is due at ``operator``, some in each slice."""
        fire, due = self._chain.fires[operator], operator.firing()
        while self._slices.call(fire, self._slices.ticks(), due) != ENDED:
            yield
