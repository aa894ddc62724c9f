"""What operators have in common that put records out because it is time."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.event_time import MICROS
from sage.core.engine.operators.base import ENDED, MORE, Emit, Flow, RunningOperator
from sage.core.errors import TimestampError
from sage.core.graph.windows import LATE

__all__ = ["Fired", "Firing", "TimedOperator"]

Fired = tuple[Iterable[Any], int | None]
"""What is put out at once because it is time, and its event time."""

Firing = Iterator[Fired]
"""All that is put out now."""


class TimedOperator(RunningOperator):
    """Puts records out when the watermark, or the clock, has come to a time."""

    _is_plain = False  # whether a call of its function takes nothing but the call

    def open(self) -> None:
        super().open()
        self._is_plain = self.recovery is None and not self.states

    @property
    def is_due(self) -> bool:
        """Whether `firing` has something to give because of the event time that it is; not once all time is over."""
        return False

    @abstractmethod
    def firing(self) -> Firing:
        """What is to be put out now, read bit by bit and not beyond.

        Called whenever the watermark has moved or the `deadline` has come; while it is read, no record comes in.
        """

    def generate_firing(
        self, code: Code, ticks: str, due: str, emit: Emit, drain: Callable[[str | None], None]
    ) -> None:
        """Write a loop that puts out what ``due``, an iterator that `firing` made, gives for each of ``ticks``."""
        tick, records, record = code.name("tick"), code.name("records"), code.name("record")
        time, count, taken = code.name("time"), code.counter("fired"), code.counter("taken")
        code.call(f"for {tick}, ({records}, {time}) in zip({ticks}, {due}):", self, None)
        with code.indented():
            code.line(f"{taken} = {tick} + 1")
            code.call(f"for {record} in {records}:", self, None)
            with code.indented():
                code.line(f"{count} += 1")
                emit(Flow(record, count, time=time))
                self.leaving_if_cancelled(code)
            drain(time)
        code.line(f"return {MORE} if {taken} == len({ticks}) else {ENDED}")

    def call_firing(self, key: Any, time: int | None, function: Callable[[Any], Any], why: Any) -> Any:
        """Call because it is time: again as often as the error policy says; then `GIVEN_UP`, where it says so.

        Args:
            key: that it is called for.
            time: the event time of what comes of it; it has none where the input has none.
            function: called with ``why``.
            why: what a failure names, where otherwise a record is.
        """
        context, states = self.context, self.states
        context.key = key
        context._time = time if self.has_timed_input else None
        states.has_key = True
        if self._is_plain:
            return function(why)
        states.writable = False
        if states.expiries:  # after all time it is still as late as it was
            states.times["processing"][0] = self.now()
            states.times["event"][0] = self._reached if time is None else time
        if self.recovery is None:
            return function(why)
        journal = states.keep_journal()
        try:
            result = function(why)
        except Exception as error:
            result = self.recovery(error, why, function, why)
        journal.clear()
        return result

    def wake_at(self, time: int | None) -> None:
        """Have `firing` called at a processing time, in microseconds; None for not at all."""
        if time is None:
            self.deadline = math.inf
        else:
            self.deadline = self.clock.now() + max(0.0, time / MICROS - self.clock.time())

    def need_time(self, time: int | None) -> int:
        """The time of a record. Raises `TimestampError` where it came by an input without times."""
        if time is None:
            raise TimestampError(
                "the record has no event time: it came by a stream that was not given any",
                hint=f"call .assign_timestamps(…) on every stream that is put together before {self.spec.title}",
            )
        return time

    def drop_late(self, record: Any) -> None:
        """Count a record that came too late to matter, and put it out on the side."""
        self.late += 1
        taken = self.side.get(LATE)
        if taken is not None:
            taken.append(record)
