"""``join`` without a limit in time: each record with all that came before it on the other side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.operators.base import Emit, Flow, RunningOperator
from sage.core.engine.recovery import GIVEN_UP
from sage.core.graph.model import Operator

__all__ = ["JoinOperator"]

_Kept = tuple[list[tuple[Any, int | None]], list[tuple[Any, int | None]]]
"""The left and the right records of a key, each with its time."""


class JoinOperator(RunningOperator):
    """A record of a pair for each record in and each one of its key that the other side has sent before.

    All records are kept. Those without any partner are put out at the end of input, if so asked: that is of a whole
    side of a key, since every record of a key is every other's partner.
    """

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self._kept: dict[Any, _Kept] = self.states.table("", "join")  # a name that no function can declare
        how = spec.options["how"]
        self._alone = (how in ("left", "outer"), how in ("right", "outer"))

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        pair, count = code.name("pair"), code.counter("joined")
        pairs = code.fast("pairs", self._pairs_of_right if flow.input else self._pairs_of_left)
        with code.block(f"for {pair} in {pairs}({flow.key}, {flow.value}):"):
            with self.calling(code, "join", pair, f"*{pair}") as result:
                code.line(f"{count} += 1")
                emit(Flow(result, count, time=flow.time))
            self.release()
            self.leaving_if_cancelled(code)

    def _pairs_of_left(self, key: Any, record: Any) -> list[tuple[Any, Any]]:
        lefts, rights = self._of(key)
        lefts.append((record, None))
        return [(record, right) for right, _ in rights]

    def _pairs_of_right(self, key: Any, record: Any) -> list[tuple[Any, Any]]:
        lefts, rights = self._of(key)
        rights.append((record, None))
        return [(left, record) for left, _ in lefts]

    def _of(self, key: Any) -> _Kept:
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = ([], [])
        return kept

    def held_back(self) -> Iterator[Any] | None:
        return self._unmatched() if any(self._alone) else None

    def _unmatched(self) -> Iterator[Any]:
        for key, (lefts, rights) in self._kept.items():
            if lefts and rights:
                continue
            self.context.key = key
            pairs = [(left, None) for left, _ in lefts] if self._alone[0] else []
            pairs += [(None, right) for right, _ in rights] if self._alone[1] else []
            for pair in pairs:
                result = self._call_alone(self.execute, pair)
                if result is not GIVEN_UP:
                    yield result

    def _call_alone(self, function: Callable[..., Any], pair: tuple[Any, Any]) -> Any:
        try:
            return function(*pair)
        except Exception as error:
            if self.recovery is None:
                raise
            return self.recovery(error, pair, function, *pair)
