"""``lookup``: beside each record, what is found for it elsewhere."""

from __future__ import annotations

from types import CoroutineType
from typing import Any, Final

from sage.core.engine.answers import Answers
from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.keyed_state import MISSING
from sage.core.engine.operators.base import Emit, Flow, RunningOperator
from sage.core.graph.model import Operator, ServiceMethod

__all__ = ["NOT_FOUND", "LookupOperator", "answers_of"]

NOT_FOUND: Final = object()
"""What comes of a record that is left out."""


def answers_of(operator: RunningOperator) -> Answers:
    """The cache of a lookup."""
    options = operator.spec.options
    return Answers(options["cache_size"], options["cache_ttl"], lambda: operator.clock.now())


class LookupOperator(RunningOperator):
    """One record in, at most one out: a pair of it and of what was found."""

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self._answers = answers_of(self)
        self._caches = spec.options["cache_size"] > 0
        self._inner = spec.options["how"] == "inner"
        self._on = spec.function.on

    def build(self) -> None:
        super().build()
        called = self.spec.function.target
        if isinstance(called, ServiceMethod):
            self.execute = getattr(self.context.call_service(called.service), called.method)

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        count = code.counter("found")
        with (
            self.calling(code, "lookup", flow.value, flow.value, function=self._look_up) as result,
            code.block(f"if {result} is not {code.fast('NOT_FOUND', NOT_FOUND)}:"),
        ):
            code.line(f"{count} += 1")
            emit(Flow(result, count, time=flow.time))

    def _look_up(self, record: Any) -> Any:
        asked = self._on(record)
        answer = self._answers.get(asked) if self._caches else MISSING
        if answer is MISSING:
            answer = self.execute(asked)
            if type(answer) is CoroutineType:
                answer.close()
                raise TypeError("the function of a lookup has returned a coroutine: give the coroutine function itself")
            if self._caches:
                self._answers.keep(asked, answer)
        return NOT_FOUND if answer is None and self._inner else (record, answer)
