"""``aggregate``: folds the records of each key into an accumulator of its own type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.keyed_state import MISSING
from sage.core.engine.operators.base import Emit, Flow, RunningOperator
from sage.core.graph.model import Operator

__all__ = ["AggregateOperator"]


class AggregateOperator(RunningOperator):
    """Emits the result for every record, or, with ``final``, each key's result once at the end of input.

    Without ``keyby`` all records have one key.
    """

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self._accumulators = self.states.table("", "aggregate")  # a name that no function can declare
        self._final = bool(spec.options.get("final", False))

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        step = (_adding if self._final else _stepping)(self._accumulators, self.function)
        with self.calling(code, "aggregate", flow.value, flow.key or "None", flow.value, function=step) as result:
            if not self._final:
                emit(Flow(result, self.passing(code, flow), time=flow.time))

    def held_back(self) -> Iterator[Any] | None:
        return self._last_results() if self._final else None

    def _last_results(self) -> Iterator[Any]:
        for key, accumulator in self._accumulators.items():
            self.context.key = key
            yield self.function.result(accumulator)


def _adding(accumulators: dict[Any, Any], function: Any) -> Callable[[Any, Any], Any]:
    create, add = function.create, function.add

    def step(key: Any, record: Any) -> None:
        before = accumulators.get(key, MISSING)
        accumulators[key] = add(create() if before is MISSING else before, record)

    return step


def _stepping(accumulators: dict[Any, Any], function: Any) -> Callable[[Any, Any], Any]:
    create, add, result_of = function.create, function.add, function.result

    def step(key: Any, record: Any) -> Any:
        before = accumulators.get(key, MISSING)
        after = add(create() if before is MISSING else before, record)
        result = result_of(after)
        accumulators[key] = after  # not before: a failing call leaves what it found
        return result

    return step
