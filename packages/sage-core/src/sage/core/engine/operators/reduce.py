"""``reduce``: folds the records of each key into one value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.operators.base import Emit, Flow, RunningOperator
from sage.core.graph.model import Operator

__all__ = ["ReduceOperator"]

_MISSING: Final = object()


class ReduceOperator(RunningOperator):
    """Emits the new value for every record, or, with ``final``, each key's last value once at the end of input.

    The first record of a key is its first value; the function is called from the second on. Without ``keyby``
    all records have one key.
    """

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self.values = self.states.table("", "reduce")  # a name that no function can declare
        self._final = bool(spec.options.get("final", False))

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_key(code, flow)
        step = _stepping(self.values, self.execute)
        with self.calling(code, "reduce", flow.value, flow.key or "None", flow.value, function=step) as reduced:
            if not self._final:
                emit(Flow(reduced, self.passing(code, flow)))

    def held_back(self) -> Iterator[Any] | None:
        return self._last_values() if self._final else None

    def _last_values(self) -> Iterator[Any]:
        yield from self.values.values()


def _stepping(values: dict[Any, Any], reduce: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def step(key: Any, record: Any) -> Any:
        before = values.get(key, _MISSING)
        after = values[key] = record if before is _MISSING else reduce(before, record)
        return after

    return step
