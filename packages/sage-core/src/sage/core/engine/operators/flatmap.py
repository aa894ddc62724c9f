"""``flatmap``: one record in, any number out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.functions import take_all
from sage.core.engine.operators.base import Emit, Flow, RunningOperator

__all__ = ["FlatMapOperator"]


class FlatMapOperator(RunningOperator):
    """The outputs of one call are released together, after it has succeeded: a generator is run to its end first."""

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        item, count = code.name("item"), code.counter("flattened")
        with self.calling(code, "flatmap", flow.value, flow.value, wrap=self._expand) as results:
            code.line(f"{count} += len({results})")
            with code.block(f"for {item} in {results}:"):
                emit(Flow(item, count, time=flow.time))
                self.leaving_if_cancelled(code)

    def _expand(self, result: Any) -> Sequence[Any]:
        if type(result) is list or type(result) is tuple:
            return result
        if result is None:
            return ()
        if isinstance(result, str | bytes | bytearray) or not isinstance(result, Iterable):
            raise TypeError(
                f"flatmap must return an iterable of records or None, not {type(result).__name__}:"
                " return a list, or yield the records"
            )
        return take_all(result, self.goes_on)
