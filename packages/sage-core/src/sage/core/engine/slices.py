"""How a task enters its chain, and the user's code in it: a bounded slice at a time, timed, its failures named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import length_hint
from typing import Any

from sage.core.engine.chain import Chain
from sage.core.engine.failures import OperatorError, count_failure, users_frames
from sage.core.engine.interrupt import Interrupt
from sage.core.engine.meter import TaskMeter
from sage.core.engine.operators.base import RunningOperator
from sage.core.engine.pace import Pace
from sage.core.engine.state_size import StateLimit

__all__ = ["Slices"]


class Slices:
    """The slices of one task.

    A slice is one call of a function of the chain. It is long enough for what surrounds it to cost next to nothing,
    and short enough for the task to hear of other things; where the task is cancelled meanwhile, it ends with the
    record in hand.

    Args:
        chain: what is entered.
        interrupt: tells the task to end.
        pace: how many records a slice may take.
        meter: told how long each takes.

    Attributes:
        is_slow: whether the newest took long: what it has put out is not to wait for company.
    """

    def __init__(self, chain: Chain, interrupt: Interrupt, pace: Pace, meter: TaskMeter) -> None:
        self._chain = chain
        self._has_budgets = chain.has_budgets
        self._limited: list[tuple[RunningOperator, StateLimit]] = []  # operators that keep something for keys
        self._interrupt = interrupt
        self._pace = pace
        self._meter = meter
        self._ticks: list[int] = []
        self._records: list[Any] = []  # of the slice that is running
        self._ahead = iter(self._records)
        self.is_slow = False
        interrupt.wakes(self._cut)

    def open(self) -> None:
        """The chain is open: known is which of its operators keep something."""
        self._limited = [(item, item.state_limit) for item in self._chain.operators if item.state_limit and item.keeps]

    @property
    def limit(self) -> int:
        """How many records the next may take."""
        return self._pace.limit

    def ticks(self) -> list[int]:
        """What counts the records of a slice that has none to begin with; empty once the task is to end."""
        if len(self._ticks) != self._pace.limit:
            self._ticks = list(range(self._pace.limit))
        return [] if self._interrupt.cancelled else self._ticks

    def over(self, records: list[Any]) -> Iterator[Any]:
        """An iterator of the records of the next slice, to be read by it alone. The list is the task's own."""
        self._records = records
        self._ahead = ahead = iter(records)
        return ahead

    def _cut(self) -> None:
        """Let the slice that is running end with the record in hand; any thread may call it."""
        records, ahead = self._records, self._ahead
        del records[len(records) - length_hint(ahead) :]
        self._ticks.clear()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of the chain, and learn from the time it takes how much to take the next time.

        Raises:
            OperatorError: names operator and record; an error that no user code raised stays what it is.
        """
        meter = self._meter
        meter.since = meter.began = meter.now()
        try:
            answer = function(*args)
        except BaseException as error:
            self._blame(error)
            raise
        finally:
            meter.since = None
        meter.ended = meter.now()
        elapsed = meter.ended - meter.began
        meter.busy += elapsed
        self.is_slow = self._pace.after(elapsed)
        if self._has_budgets:
            self._chain.check_budgets()
        for operator, limit in self._limited:
            if limit.is_due(meter.ended):
                _look(operator, limit)
        return answer

    def _blame(self, error: BaseException) -> None:
        """Raises `OperatorError` if it was code of the user's that raised ``error``."""
        site, record, trace = self._chain.code.locate(error)
        if site is not None:
            count_failure(site.operator, error)
            trace, has_record = users_frames(trace), site.record is not None
            raise OperatorError(site.operator, "execute", error, trace, record=record, has_record=has_record) from error


def _look(operator: RunningOperator, limit: StateLimit) -> None:
    """See that an operator does not keep too much. Raises `OperatorError`."""
    now, worked = operator.clock.now, operator.clock.worked
    began = worked()
    with OperatorError.boundary(operator, "state"):
        limit.look(now())
    limit.looked(now(), worked() - began)
