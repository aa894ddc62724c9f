"""``aggregate``: folds the records of each key into an accumulator of its own type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.operators.base import Emit, Flow, RunningOperator
from sage.core.graph.model import Operator

__all__ = ["AggregateOperator"]


class AggregateOperator(RunningOperator):
    """Emits the result for every record, or, with ``final``, each key's result once at the end of input.

    Without ``keyby`` all records have one key.
    """

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self.accumulators: dict[Any, Any] = {}
        self._final = bool(spec.options.get("final", False))

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_key(code, flow)
        accumulators, key = code.fast("accumulators", self.accumulators), flow.key or "None"
        before = code.name("before")
        with code.block("try:"):
            code.line(f"{before} = {accumulators}[{key}]")
        with code.block("except KeyError:"):
            code.call(f"{before} = {code.bind('create', self.function.create)}()", self, flow.value)
        with self.calling(code, "add", flow.value, before, flow.value, function=self.function.add) as after:
            code.line(f"{accumulators}[{key}] = {after}")
            if not self._final:
                result = code.name("result")
                call = f"{code.fast('result_of', self.function.result)}({after})"
                code.call(f"{result} = {call}", self, flow.value)
                emit(Flow(result, self.passing(code, flow)))

    def held_back(self) -> Iterator[Any] | None:
        return self._last_results() if self._final else None

    def _last_results(self) -> Iterator[Any]:
        for accumulator in self.accumulators.values():
            yield self.function.result(accumulator)
