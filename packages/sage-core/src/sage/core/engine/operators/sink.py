"""``sink``: where records leave the pipeline."""

from __future__ import annotations

from sage.core.engine.code import Code
from sage.core.engine.operators.base import Emit, Flow, RunningOperator
from sage.core.engine.output import Output
from sage.core.graph.model import Operator

__all__ = ["CollectOperator", "SinkOperator"]


class SinkOperator(RunningOperator):
    """What the function returns is not looked at."""

    @classmethod
    def class_for(cls, spec: Operator) -> type[RunningOperator]:
        return CollectOperator if spec.options.get("collect") else cls

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        with self.calling(code, "sink", flow.value, flow.value):
            code.line("pass")


class CollectOperator(RunningOperator):
    """What ``collect()`` declares: its records go to the coordinator, wherever the task runs.

    Attributes:
        output: the way there.
    """

    output: Output

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        append = code.local("append", f"{code.bind('output', self.output)}.records.append")
        code.line(f"{append}({flow.value})")
