"""Drives an operator as the suites of other systems do: step by step, and what comes of each step.

Their times are whole milliseconds, SAGE's are microseconds. A watermark of theirs says that all records up to and
including its millisecond have come: it is given as the last microsecond of that millisecond. Times of results are told
as the millisecond that they are in. So all numbers are as they are there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

from sage.core.api import DataStream, ProcessFunction, TimestampFunction
from sage.core.testing import Harness

__all__ = ["Out", "Play", "ms_of", "ordered", "seconds"]

Out = tuple[Any, int | None]
"""What was put out, and in which millisecond of event time."""


def seconds(ms: float) -> float:
    """Milliseconds as seconds."""
    return ms / 1000


def ms_of(time: float) -> int:
    """The millisecond that a point in time is in: of a watermark, the last that is over."""
    return round(time * 1_000_000) // 1000


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
        def whole(*streams: DataStream[Any]) -> DataStream[Any]:
            out = operator(*[_timed(stream) for stream in streams])
            told = out.process(_Told)
            return told.union(out.late_records.process(_Told, "late")) if late else told

        self._operator = whole
        self._shown = shown
        self._inputs = len(inspect.signature(operator).parameters)
        self._now = 0
        self.harness = self._opened()

    def record(self, record: Any, ms: int, *, input: int = 0) -> list[Out]:
        """A record with its event time."""
        return self._told(self.harness.send(_Step(seconds(ms), record), input=input))

    def records(self, *records: tuple[Any, int]) -> list[Out]:
        """Several of them, one after the other."""
        return [out for record, ms in records for out in self.record(record, ms)]

    def mark(self, ms: int, *, input: int = 0) -> list[Out]:
        """A watermark: all records up to and including this millisecond have come."""
        return self._told(self.harness.send(_Step(seconds(ms + 1) - 1e-6, None, is_mark=True), input=input))

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
        return [(self._shown(record), time) for record, time in self.harness.outputs]

    def _told(self, out: list[Out]) -> list[Out]:
        return ordered(*[(self._shown(record), time) for record, time in out])

    def _opened(self, **options: Any) -> Harness:
        return Harness(self._operator, inputs=self._inputs, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.harness.close()


class _Step(NamedTuple):
    """A record at a time, or a watermark."""

    time: float
    record: Any
    is_mark: bool = False


class _Times(TimestampFunction[_Step]):
    """Watermarks come by themselves, between the records."""

    def execute(self, step: _Step) -> float:
        return step.time

    def watermark(self, step: _Step, time: float) -> float | None:
        return time if step.is_mark else None


def _timed(stream: DataStream[Any]) -> DataStream[Any]:
    steps = stream.assign_timestamps(_Times)
    return steps.filter(lambda step: not step.is_mark).map(lambda step: step.record)


class _Told(ProcessFunction[Any, Out]):
    """Tells the time of each record, and by which way it came."""

    def __init__(self, tag: str | None = None) -> None:
        self.tag = tag

    def execute(self, record: Any) -> Iterable[Out]:
        time = self.context.timestamp
        yield record if self.tag is None else (self.tag, record), None if time is None else ms_of(time)
