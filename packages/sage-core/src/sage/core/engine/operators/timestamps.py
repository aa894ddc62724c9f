"""``timestamps``: gives records their event times, and tells how far event time has come."""

from __future__ import annotations

import math
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.event_time import MAX_TIME, MICROS, MIN_TIME, to_micros, to_seconds
from sage.core.engine.operators.base import Emit, Flow, RunningOperator
from sage.core.engine.operators.source import SourceOperator
from sage.core.graph.durations import LONGEST
from sage.core.graph.model import Operator

__all__ = ["TimestampsOperator"]


class _Mark:
    """How far event time has come in one partition."""

    __slots__ = ("idle", "seen", "time")

    def __init__(self, now: float) -> None:
        self.time = MIN_TIME
        self.seen = now
        self.idle = False


class TimestampsOperator(RunningOperator):
    """Watermarks follow the records of each step: the highest time so far, less what may be out of order.

    In the task of a source that is read in partitions each partition has a mark of its own, so that one that is read
    behind the others is not late; those that were not begun hold all back, and those that have ended do not. A
    function that has a method ``watermark(record, time)`` tells the watermarks itself.

    Attributes:
        high: the highest time in the step that is running.
        mark: what the function has told of event time at the record in hand, if it does that under an error policy.
        source: the source of this task, if it is read in partitions.
        told: the watermark that sources which wait for this one know of; all time, if it is idle.
    """

    keeps_keyed_state = False

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        idle_after = spec.options["idle_after"]
        self.high = MIN_TIME
        self.source: SourceOperator | None = None
        self._behind = round(spec.options["out_of_order"] * MICROS) + 1
        self._idle_after = math.inf if idle_after is None else float(idle_after)
        self._marks: dict[str, _Mark] = {}
        self._told = MIN_TIME
        self._came = 0  # records in, at the last look
        self._told_idle = False
        ahead = spec.options["max_ahead"]
        self._most_ahead = None if ahead is None else round(ahead * MICROS)
        self._limit = MIN_TIME  # what it may be ahead to
        self.told = MIN_TIME - 1
        self._punctuates = False
        self.mark = MIN_TIME

    @property
    def is_aligned(self) -> bool:
        """Whether it waits for slower sources."""
        return self._most_ahead is not None

    @property
    def is_ahead(self) -> bool:
        """Whether its source is to wait for slower ones."""
        return self._told > self._limit and not self._told_idle

    def align(self, time: int) -> None:
        """The slowest source has come to ``time``; any thread may tell."""
        assert self._most_ahead is not None
        self._limit = min(time + self._most_ahead, MAX_TIME)

    def has_news(self) -> bool:
        """Whether it has come so far that others are to be `told`."""
        assert self._most_ahead is not None
        time = MAX_TIME if self._told_idle else self._told
        if self.told <= time < self.told + max(1, self._most_ahead // 8):
            return False
        self.told = time
        return True

    @property
    def may_fall_idle(self) -> bool:
        """Whether it is not waited for where nothing comes for a while."""
        return self._idle_after < math.inf

    def open(self) -> None:
        super().open()
        self._punctuates = self.spec.function.form != "callable" and callable(getattr(self.function, "watermark", None))
        names = self.context.partitions if self.source is None else self.source.context.partitions
        self._marks = {name: _Mark(self.clock.now()) for name in names or ("",)}
        self._set_deadline()

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        high = code.kept("high", f"{code.bind('timestamps', self)}.high")
        # Under an error policy all that the function does for a record is one call, given up as a whole.
        wrap = None if self.recovery is None or self._punctuates else to_micros
        both = self._time_and_mark if self.recovery is not None and self._punctuates else None
        with self.calling(code, "timestamps", flow.value, flow.value, function=both, wrap=wrap) as time:
            if self.recovery is None:
                self._generate_micros(code, time, flow.value)
            if both is not None:
                code.line(f"{high} = max({high}, {code.bind('timestamps', self)}.mark)")
            elif self._punctuates:
                mark = f"{code.fast('punctuate', self._punctuate)}({flow.value}, {time})"
                code.call(f"{high} = max({high}, {mark})", self, flow.value)
            else:
                with code.block(f"if {time} > {high}:"):
                    code.line(f"{high} = {time}")
            emit(Flow(flow.value, self.passing(code, flow), flow.key, time=time))

    def _generate_micros(self, code: Code, time: str, record: str) -> None:
        """The usual numbers are turned into microseconds in place: a call for each would cost more than all else."""
        with code.block(f"if type({time}) is int and {-LONGEST} < {time} < {LONGEST}:"):
            code.line(f"{time} *= {MICROS}")
        with code.block(f"elif type({time}) is float and {-LONGEST} < {time} < {LONGEST}:"):
            code.line(f"{time} = {code.fast('round', round)}({time} * {MICROS})")
        with code.block("else:"):
            code.call(f"{time} = {code.bind('to_micros', to_micros)}({time})", self, record)

    def _punctuate(self, record: Any, time: int) -> int:
        """What the function tells of event time at a record, such that taking off `_behind` gives it."""
        told = self.function.watermark(record, to_seconds(time))
        return MIN_TIME if told is None else to_micros(told) + self._behind

    def _time_and_mark(self, record: Any) -> int:
        time = to_micros(self.execute(record))
        self.mark = self._punctuate(record, time)
        return time

    def progress(self) -> tuple[int, bool] | None:
        """The watermark, and whether nothing is expected, after a step; None if both are as they were."""
        source = self.source
        high, self.high = self.high, MIN_TIME
        came, self._came = self.records_in > self._came, self.records_in
        if came:
            mark = self._marks.get("" if source is None else source.partition)
            if mark is not None:
                mark.time = max(mark.time, high)
                if self.may_fall_idle:
                    mark.seen, mark.idle = self.clock.now(), False
                    self._set_deadline()
        if source is not None:
            for name in source.ended_partitions & self._marks.keys():
                del self._marks[name]
        elif not came and not self._told_idle and not self.may_fall_idle:
            return None
        if not self._marks:  # all have ended, and so will the input
            return None
        resting = frozenset[str]() if source is None else source.idle_partitions
        active = [mark.time for name, mark in self._marks.items() if not (mark.idle or name in resting)]
        times = active or [mark.time for mark in self._marks.values()]
        time = min(times) if active else max(times, default=MIN_TIME)
        time = max(self._told, time - self._behind if time > MIN_TIME else MIN_TIME)
        idle = not active
        if time == self._told and idle is self._told_idle:
            return None
        self._told, self._told_idle = time, idle
        return time, idle

    def fall_idle(self) -> None:
        """Do not wait for partitions in which nothing has come for too long. Called at the deadline."""
        now = self.clock.now()
        for mark in self._marks.values():
            mark.idle = mark.idle or mark.seen + self._idle_after <= now
        self._set_deadline()

    def _set_deadline(self) -> None:
        seen = (mark.seen for mark in self._marks.values() if not mark.idle)
        self.deadline = min(seen, default=math.inf) + self._idle_after

    def pass_time(self, watermark: int) -> None:
        """What came before it counts no more, but for its end."""
        if watermark == MAX_TIME:
            super().pass_time(watermark)
