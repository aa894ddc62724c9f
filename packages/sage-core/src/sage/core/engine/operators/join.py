"""``join`` without a limit in time: each record with all that came before it on the other side."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.functions import wants_context
from sage.core.engine.operators.base import Emit, Flow
from sage.core.engine.operators.timed import Fired, Firing, TimedOperator
from sage.core.engine.recovery import GIVEN_UP
from sage.core.graph.joins import ALONE
from sage.core.graph.model import Operator

__all__ = ["JoinOperator", "Pair", "PairingOperator"]

Pair = tuple[Any, Any]


class PairingOperator(TimedOperator):
    """Calls the function for each pair that a record makes with those that are kept, and for what stays alone.

    Attributes:
        alone: whether a left, and a right, record is put out that has no partner.
    """

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self.alone = ALONE[spec.options["how"]]

    @abstractmethod
    def pairs(self, side: int, key: Any, record: Any, time: int | None) -> Iterable[tuple[Pair, int | None]]:
        """Keep a record of the left side, 0, or the right one, and give its pairs, each with the time of the later."""

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        pair, time, count = code.name("pair"), code.name("time"), code.counter("joined")
        pairs = f"{code.fast('pairs', self.pairs)}({flow.input}, {flow.key}, {flow.value}, {flow.time})"
        code.call(f"for {pair}, {time} in {pairs}:", self, flow.value)
        with code.indented():
            if self.has_timed_input and wants_context(self.function, self.spec.function):
                code.line(f"{code.fast('context', self.context)}._time = {time}")
            with self.calling(code, "join", pair, f"*{pair}") as result:
                code.line(f"{count} += 1")
                emit(Flow(result, count, time=time))
            self.release(time)
            self.leaving_if_cancelled(code)

    def put_out_alone(self, key: Any, pair: Pair, time: int | None) -> Fired:
        """What comes of a record that has no partner."""
        result = self.call_firing(key, time, self._execute, pair)
        return () if result is GIVEN_UP else (result,), time

    def _execute(self, pair: Pair) -> Any:
        return self.execute(*pair)


class JoinOperator(PairingOperator):
    """A record of a pair for each record in and each one of its key that the other side has sent before.

    All records are kept. Those without any partner are put out at the end of input, if so asked: that is of a whole
    side of a key, since every record of a key is every other's partner.
    """

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        # By key, the left and the right records, each with its time; under a name that no function can declare.
        self._kept: dict[Any, tuple[list[Any], list[Any]]] = self.states.table("", "join")
        self._ended = False

    def pairs(self, side: int, key: Any, record: Any, time: int | None) -> Iterable[tuple[Pair, int | None]]:
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = ([], [])
        kept[side].append((record, time))
        if side == 0:
            return [((record, other), _later(time, its)) for other, its in kept[1]]
        return [((other, record), _later(time, its)) for other, its in kept[0]]

    def end_time(self) -> None:
        super().end_time()
        self._ended = True

    def firing(self) -> Firing:
        if not self._ended or not any(self.alone):
            return
        for key, (lefts, rights) in self._kept.items():
            if self.alone[0] and not rights:
                yield from (self.put_out_alone(key, (left, None), time) for left, time in lefts)
            if self.alone[1] and not lefts:
                yield from (self.put_out_alone(key, (None, right), time) for right, time in rights)


def _later(time: int | None, other: int | None) -> int | None:
    return other if time is None else time if other is None or time > other else other
