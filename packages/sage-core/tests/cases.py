"""Drives an operator as the suites of other systems do: step by step, and what comes of each step.

Their times are whole milliseconds, SAGE's are microseconds. A watermark of theirs says that all records up to and
including its millisecond have come: it is given as the last microsecond of that millisecond. Times of results are told
as the millisecond that they are in. So all numbers are as they are there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Self

from sage.core.api import DataStream, ProcessFunction, RuntimeContext, Timer
from sage.core.testing import At, Harness, Idle, Side, Watermark

__all__ = ["Looping", "Out", "Play", "ms_of", "ordered", "records_of", "seconds"]

Out = tuple[Any, int | None]
"""What was put out, and in which millisecond of event time."""


def seconds(ms: float) -> float:
    """Milliseconds as seconds."""
    return ms / 1000


def ms_of(time: float) -> int:
    """The millisecond that a point in time is in: of a watermark, the last that is over."""
    return round(time * 1_000_000) // 1000


def records_of(out: Iterable[Any]) -> list[Any]:
    """The records in what a harness tells, without their times."""
    told = [item for item in out if not isinstance(item, Watermark | Idle)]
    return [item.record if isinstance(item, At) else item for item in told]


def ordered(*out: Out) -> list[Out]:
    """As `Play` tells what it puts out: by time; the order of keys within one instant says nothing."""
    return sorted(out, key=lambda item: (item[1] is None, item[1] or 0, repr(item[0])))


class Play:
    """An operator that is given records, watermarks and processing time.

    Args:
        operator: makes the stream to look at of as many streams as it has parameters.
        late: whether to look at its late records as well: they come as ``("late", record)``.
        shown: what to make of a record that was put out before it is told.
    """

    def __init__(
        self,
        operator: Callable[..., DataStream[Any]],
        *,
        late: bool = False,
        shown: Callable[[Any], Any] = lambda record: record,
    ) -> None:
        self._operator = operator
        self._late = late
        self._shown = shown
        self._inputs = len(inspect.signature(operator).parameters)
        self._now = 0
        self.harness = self._opened()

    def record(self, record: Any, ms: int, *, input: int = 0) -> list[Out]:
        """A record with its event time."""
        return self._told(self.harness.send(record, time=seconds(ms), input=input))

    def records(self, *records: tuple[Any, int]) -> list[Out]:
        """Several of them, one after the other."""
        return [out for record, ms in records for out in self.record(record, ms)]

    def mark(self, ms: int, *, input: int = 0) -> list[Out]:
        """A watermark: all records up to and including this millisecond have come."""
        return self._told(self.harness.watermark(seconds(ms + 1) - 1e-6, input=input))

    def marks(self, ms: int) -> list[Out]:
        """The same watermark of all inputs."""
        return ordered(*[out for number in range(self._inputs) for out in self.mark(ms, input=number)])

    def clock(self, ms: int) -> list[Out]:
        """It is this processing time, since the beginning."""
        passed, self._now = ms - self._now, ms
        return self._told(self.harness.advance(seconds(passed)))

    def end(self) -> list[Out]:
        """The inputs end."""
        return self._told(self.harness.end())

    def reopen(self) -> None:
        """All is saved, closed, and goes on in a new job, whose clock goes on as well."""
        saved = self.harness.snapshot()
        self.harness.close()
        self.harness = self._opened(restored=saved)
        self.harness.advance(seconds(self._now))

    @property
    def outputs(self) -> list[Out]:
        """All that was put out by this job so far, as it came."""
        return [self._out(item) for item in self.harness.outputs if self._is_out(item)]

    def _told(self, out: list[Any]) -> list[Out]:
        return ordered(*[self._out(item) for item in out if self._is_out(item)])

    def _is_out(self, item: Any) -> bool:
        return not isinstance(item, Watermark | Idle) and (self._late or not isinstance(item, Side))

    def _out(self, item: Any) -> Out:
        tag, record = (item.tag, item.record) if isinstance(item, Side) else (None, item)
        time, record = (ms_of(record.time), record.record) if isinstance(record, At) else (None, record)
        return self._shown(record if tag is None else (tag, record)), time

    def _opened(self, **options: Any) -> Harness:
        return Harness(self._operator, inputs=self._inputs, timed=True, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.harness.close()


class Looping(ProcessFunction[int, int]):
    """Its timer sets itself again, five times."""

    def open(self, context: RuntimeContext) -> None:
        self.count = context.value_state("count", 0)

    def execute(self, value: int) -> None:
        self.context.set_timer(seconds(1))

    def on_timer(self, timer: Timer) -> Iterable[int]:
        count = self.count.get()
        if count < 5:
            self.count.set(count + 1)
            self.context.set_timer(timer.at + seconds(1))
        yield count
