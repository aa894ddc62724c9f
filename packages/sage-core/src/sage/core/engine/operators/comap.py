"""``comap``: one function for each of several connected streams, with state in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.operators.base import Emit, Flow, RunningOperator

__all__ = ["CoMapOperator"]


class CoMapOperator(RunningOperator):
    """One record in, on any input, one record out."""

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        stem = f"map{flow.input}"
        with self.calling(code, stem, flow.value, flow.value, function=self._method(flow.input)) as result:
            emit(Flow(result, self.passing(code, flow), time=flow.time))

    def _method(self, input: int) -> Callable[[Any], Any]:
        if self.spec.function.form == "callable":  # one callable for each input
            method: Callable[[Any], Any] = self.function[input]
        else:
            method = getattr(self.function, f"map{input}")
        return method
