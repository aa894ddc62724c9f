"""``sink``: where records leave the pipeline."""

from __future__ import annotations

from sage.core.engine.code import Code
from sage.core.engine.operators.base import Emit, Flow, RunningOperator

__all__ = ["SinkOperator"]


class SinkOperator(RunningOperator):
    """What the function returns is not looked at."""

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        with self.calling(code, "sink", flow.value, flow.value):
            code.line("pass")
