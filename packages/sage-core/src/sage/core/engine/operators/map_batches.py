"""``map_batches``: a function of many records at once, as models and vector code want them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.event_time import MAX_TIME
from sage.core.engine.functions import outputs_of
from sage.core.engine.operators.base import Emit, Flow, RunningOperator
from sage.core.graph.model import Operator

__all__ = ["MapBatchesOperator"]


class MapBatchesOperator(RunningOperator):
    """Gathers records until there are ``max_size`` of them, or the first has waited ``max_wait`` seconds.

    Attributes:
        deadline: when the batch that is being gathered is to be processed, by `clock`.
    """

    gathers = True
    holds = True
    keeps_keyed_state = False

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self.deadline = math.inf
        self._gathered: list[Any] = []
        self._times: list[int | None] = []  # of what is gathered, and then of the batch that is being processed
        self._oldest = MAX_TIME
        self._max_size: int = spec.options["max_size"]
        self._max_wait: float | None = spec.options["max_wait"]

    def build(self) -> None:
        super().build()
        if self.spec.options["as_array"]:  # before the first record, so that a missing NumPy is told at once
            self.execute = _with_array(self.execute, importlib.import_module("numpy").asarray)

    def weight(self, record: Any) -> int:
        return len(record)

    def in_flight(self) -> list[tuple[Any, ...]]:
        if self.has_timed_input:
            return [(record, None, time) for record, time in zip(self._gathered, self._times, strict=True)]
        return [(record,) for record in self._gathered]

    def take_back(self, items: list[tuple[Any, ...]]) -> None:
        self._gathered += [item[0] for item in items]
        if self.has_timed_input:
            self._times += [item[2] for item in items]
            self._oldest = min((time for time in self._times if time is not None), default=MAX_TIME)
        if self._gathered and self._max_wait is not None:
            self._begin()

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        gathered = code.bind("gathered", self._gathered)
        code.line(f"{gathered}.append({flow.value})")
        if self.has_timed_input:
            code.line(f"{code.bind('gather_time', self._gather_time)}({flow.time})")
        if self._max_wait is not None:
            with code.block(f"if len({gathered}) == 1:"):
                code.line(f"{code.bind('begin', self._begin)}()")
        with code.block(f"if len({gathered}) >= {self._max_size}:"):
            self._generate_batch(code, emit)

    def generate_due(self, code: Code, emit: Emit) -> None:
        with code.block(f"if {code.bind('gathered', self._gathered)}:"):
            self._generate_batch(code, emit)

    def _generate_batch(self, code: Code, emit: Emit) -> None:
        """Write the lines that process what was gathered; the batch is the record that an error names."""
        batch, item, count = code.name("batch"), code.name("item"), code.counter("mapped")
        time = code.name("time") if self.has_timed_input else None
        code.line(f"{batch} = {code.bind('take', self._take)}()")
        with self.calling(code, "map_batches", batch, batch, wrap=self._outputs) as results:
            code.line(f"{count} += len({results})")
            if time is None:
                header = f"for {item} in {results}:"
            else:
                header = f"for {item}, {time} in zip({results}, {code.bind('times', self._times_of)}({results})):"
            with code.block(header):
                emit(Flow(item, count, time=time))
                self.leaving_if_cancelled(code)

    def side_time(self, code: Code) -> str | None:
        return f"{code.bind('newest', self._newest)}()" if self.has_timed_input else None

    def lets_pass(self, watermark: int) -> int:
        return min(watermark, self._oldest - 1) if self._gathered else watermark

    @property
    def rests(self) -> bool:
        return not self._gathered

    def _gather_time(self, time: int | None) -> None:
        if len(self._gathered) == 1:  # a new batch
            self._times, self._oldest = [], MAX_TIME
        self._times.append(time)
        if time is not None and time < self._oldest:
            self._oldest = time

    def _newest(self) -> int | None:
        return max((time for time in self._times if time is not None), default=None)

    def _times_of(self, results: Sequence[Any]) -> Iterable[int | None]:
        """That of its record for each result, if there are as many; else the newest for all: none is late by it."""
        return self._times if len(results) == len(self._times) else repeat(self._newest(), len(results))

    def _begin(self) -> None:
        assert self._max_wait is not None
        self.deadline = self.clock.now() + self._max_wait

    def _take(self) -> list[Any]:
        batch = self._gathered[:]
        self._gathered.clear()
        self.deadline = math.inf
        return batch

    def _outputs(self, result: Any) -> Sequence[Any]:
        return outputs_of(result, self.goes_on, "map_batches", or_none=False)


def _with_array(execute: Callable[[Any], Any], make: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    """Records of which no array can be made are the user's, so that making it is part of the call."""
    return lambda records: execute(make(records))
