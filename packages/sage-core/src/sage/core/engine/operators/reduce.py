"""``reduce``: folds the records of each key into one value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
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
        self.values: dict[Any, Any] = {}
        self._final = bool(spec.options.get("final", False))

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_key(code, flow)
        values, result, key = code.fast("values", self.values), code.name("reduced"), flow.key or "None"
        with code.block("try:"):
            code.line(f"{result} = {values}[{key}]")
        with code.block("except KeyError:"):
            code.line(f"{result} = {flow.value}")
        with code.block("else:"):
            call = f"{code.bind('reduce', self.execute)}({result}, {flow.value})"
            code.call(f"{result} = {call}", self, flow.value)
        code.line(f"{values}[{key}] = {result}")
        if not self._final:
            emit(Flow(result, flow.count))

    def held_back(self) -> Iterator[Any] | None:
        return self._last_values() if self._final else None

    def _last_values(self) -> Iterator[Any]:
        yield from self.values.values()
