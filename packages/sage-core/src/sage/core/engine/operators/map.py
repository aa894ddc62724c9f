"""``map``: one record in, one record out."""

from __future__ import annotations

from sage.core.engine.code import Code
from sage.core.engine.operators.base import Emit, Flow, RunningOperator

__all__ = ["MapOperator"]


class MapOperator(RunningOperator):
    """None is a value like any other here: the number of records never changes."""

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_key(code, flow)
        result = code.name("mapped")
        code.call(f"{result} = {code.bind('map', self.execute)}({flow.value})", self, flow.value)
        emit(Flow(result, flow.count))
