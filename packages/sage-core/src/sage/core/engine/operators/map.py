"""``map``: one record in, one record out."""

from __future__ import annotations

from sage.core.engine.code import Code
from sage.core.engine.operators.base import Emit, Flow, RunningOperator

__all__ = ["FilterMapOperator", "MapOperator"]


class MapOperator(RunningOperator):
    """None is a value like any other here: the number of records never changes."""

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        with self.calling(code, "map", flow.value, flow.value) as result:
            emit(Flow(result, self.passing(code, flow), time=flow.time))


class FilterMapOperator(RunningOperator):
    """A map whose None means that there is nothing to put out."""

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        kept = code.counter("kept")
        with (
            self.calling(code, "filter_map", flow.value, flow.value) as result,
            code.block(f"if {result} is not None:"),
        ):
            code.line(f"{kept} += 1")
            emit(Flow(result, kept, time=flow.time))
