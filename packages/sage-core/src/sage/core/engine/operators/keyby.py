"""``keyby``: gives each record the key by which the next operator groups it."""

from __future__ import annotations

from sage.core.engine.code import Code
from sage.core.engine.keys import PLAIN_KEY_TYPES, admit_key
from sage.core.engine.operators.base import Emit, Flow, RunningOperator

__all__ = ["KeyByOperator"]


class KeyByOperator(RunningOperator):
    """The record stays as it is; a value that cannot be a key is refused here, where it appears."""

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        if self.recovery is not None:
            with self.calling(code, "keyby", flow.value, flow.value, wrap=admit_key) as key:
                emit(Flow(flow.value, self.passing(code, flow), key, time=flow.time))
            return
        with self.calling(code, "keyby", flow.value, flow.value) as key:
            with code.block(f"if type({key}) not in {code.fast('plain', PLAIN_KEY_TYPES)}:"):  # the others take longer
                code.call(f"{key} = {code.bind('admit', admit_key)}({key})", self, flow.value)
            emit(Flow(flow.value, flow.count, key, time=flow.time))
