"""``flatmap``: one record in, any number out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.functions import outputs_of
from sage.core.engine.operators.base import Emit, Flow, RunningOperator

__all__ = ["FlatMapOperator"]


class FlatMapOperator(RunningOperator):
    """The outputs of one call are released together, after it has succeeded: a generator is run to its end first."""

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        item, count = code.name("item"), code.counter("flattened")
        with self.calling(code, "flatmap", flow.value, flow.value, wrap=self._expand) as results:
            code.line(f"{count} += len({results})")
            with code.block(f"for {item} in {results}:"):
                emit(Flow(item, count, time=flow.time))
                self.leaving_if_cancelled(code)

    def _expand(self, result: Any) -> Sequence[Any]:
        return outputs_of(result, self.goes_on, "flatmap")
