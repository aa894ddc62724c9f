"""``reduce``: folds the records of each key into one value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.keyed_state import MISSING
from sage.core.engine.operators.base import Emit, Flow, RunningOperator
from sage.core.graph.model import Operator

__all__ = ["ReduceOperator"]


class ReduceOperator(RunningOperator):
    """Emits the new value for every record, or, with ``final``, each key's last value once at the end of input.

    The first record of a key is its first value; the function is called from the second on. Without ``keyby``
    all records have one key.
    """

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self._values = self.states.table("", "reduce")  # a name that no function can declare
        self._final = bool(spec.options.get("final", False))

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        key, before, missing = flow.key or "None", code.name("before"), code.fast("MISSING", MISSING)
        code.line(f"{before} = {code.fast('kept', self._values.get)}({key}, {missing})")
        first = f"{flow.value} if {before} is {missing}"
        with self.calling(code, "reduce", flow.value, before, flow.value, otherwise=first) as reduced:
            code.line(f"{code.fast('values', self._values)}[{key}] = {reduced}")
            if not self._final:
                emit(Flow(reduced, self.passing(code, flow), time=flow.time))

    def held_back(self) -> Iterator[Any] | None:
        return self._last_values() if self._final else None

    def _last_values(self) -> Iterator[Any]:
        yield from self._values.values()
