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
        keep = code.name("keep") if self.recovery is not None else None
        with code.block("try:"):
            code.line(f"{result} = {values}[{key}]")
        with code.block("except KeyError:"):
            code.line(f"{result} = {flow.value}")
            if keep:
                code.line(f"{keep} = True")
        with code.block("else:"):
            if keep:
                code.line(f"{keep} = False")
            with self.calling(code, "reduce", flow.value, result, flow.value) as reduced:
                code.line(f"{result} = {reduced}")
                if keep:
                    code.line(f"{keep} = True")
        if keep:
            with code.block(f"if {keep}:"):
                self._keep(code, flow, f"{values}[{key}]", result, emit)
        else:
            self._keep(code, flow, f"{values}[{key}]", result, emit)

    def _keep(self, code: Code, flow: Flow, where: str, result: str, emit: Emit) -> None:
        code.line(f"{where} = {result}")
        if not self._final:
            emit(Flow(result, self.passing(code, flow)))

    def held_back(self) -> Iterator[Any] | None:
        return self._last_values() if self._final else None

    def _last_values(self) -> Iterator[Any]:
        yield from self.values.values()
