"""What time it is for the keyed state of an operator, and the removal of what has expired by then."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sage.core.engine.code import Code
from sage.core.engine.event_time import MICROS

if TYPE_CHECKING:
    from sage.core.engine.operators.base import Flow, RunningOperator

__all__ = ["StateTimes"]

_SWEPT = 1000
"""How much of what has expired is removed between two slices, about: it takes less than a millisecond."""


class StateTimes:
    """Processing and event time, as the states of one operator see them.

    Args:
        operator: whose.
    """

    def __init__(self, operator: RunningOperator) -> None:
        self._operator = operator
        self._ahead = [0.0]  # how far the clock's time is ahead of its count, which is quicker to ask for

    def now(self) -> dict[str, int]:
        """Both, in microseconds."""
        return {"processing": self._operator.now(), "event": self._operator.watermark}

    def sweep(self) -> None:
        """Remove some of the state that has expired."""
        clock = self._operator.clock
        self._ahead[0] = clock.time() - clock.now()
        self._operator.states.sweep(self.now(), _SWEPT)

    def sweeps_in(self) -> float:
        """Seconds until there is state to be removed, if nothing else happens; infinite if there will be none."""
        now, states = self.now(), self._operator.states
        event = states.due("event")
        if event is not None and event <= now["event"]:
            return 0.0
        due = states.due("processing")
        return math.inf if due is None else max(0, due - now["processing"]) / MICROS

    def tell(self, code: Code, flow: Flow) -> None:
        """Write the lines that tell the states, in their way quicker than by `now`.

        For one record it is one time, so that what is seen stays.
        """
        operator = self._operator
        wanted, now = {item.time for item in operator.states.expiries.values()}, operator.states.times
        if "processing" in wanted:
            ahead, clock = code.fast("time_ahead", self._ahead), code.fast("clock", operator.clock.now)
            code.line(f"{code.fast('now', now['processing'])}[0] = round(({clock}() + {ahead}[0]) * {MICROS})")
        if "event" in wanted:
            time, own = code.name("event_time"), code.fast("operator", operator)
            code.line(f"{time} = {own}.watermark")
            if flow.time:
                code.line(f"{time} = {flow.time} if {flow.time} > {time} else {time}")
            code.line(f"{code.fast('now', now['event'])}[0] = {time}")
