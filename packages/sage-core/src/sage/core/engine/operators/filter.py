"""``filter``: a record goes on if the function says so."""

from __future__ import annotations

from sage.core.engine.code import Code
from sage.core.engine.operators.base import Emit, Flow, RunningOperator

__all__ = ["FilterOperator"]


class FilterOperator(RunningOperator):
    """Any truthy answer keeps the record, and its key with it."""

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        kept = code.counter("kept")
        # The truth of the answer may be code of the user's, too: under a policy it belongs to the call.
        wrap = None if self.recovery is None else bool
        with self.calling(code, "filter", flow.value, flow.value, wrap=wrap) as keep:
            code.call(f"if {keep}:", self, flow.value)
            with code.indented():
                code.line(f"{kept} += 1")
                emit(Flow(flow.value, kept, flow.key, time=flow.time))
