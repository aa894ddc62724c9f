"""Windows over two streams: ``co_group``, and ``join`` with a window. Records are kept together, with their sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.functions import LOOK_EVERY
from sage.core.engine.operators.base import Emit, Flow, RunningOperator
from sage.core.engine.operators.timed import Fired
from sage.core.engine.operators.windows.base import WindowedOperator
from sage.core.engine.operators.windows.folding import Collecting
from sage.core.engine.operators.windows.panes import PaneOperator
from sage.core.engine.operators.windows.sessions import SessionOperator
from sage.core.engine.recovery import GIVEN_UP
from sage.core.engine.window import Window
from sage.core.graph.joins import ALONE
from sage.core.graph.model import Operator

__all__ = ["CoGroupOperator", "WindowJoinOperator"]


class _TwoSided(WindowedOperator):
    """Windows that hold ``(side, record)``: of the left stream, 0, and of the right one, 1."""

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        sided = code.name("sided")
        code.line(f"{sided} = ({flow.input}, {flow.value})")
        super().generate(code, Flow(sided, flow.count, flow.key, flow.input, flow.time), emit)

    def drop_late(self, record: Any) -> None:
        super().drop_late(record[1])


def _apart(records: Sequence[tuple[int, Any]]) -> tuple[list[Any], list[Any]]:
    sides: tuple[list[Any], list[Any]] = ([], [])
    for side, record in records:
        sides[side].append(record)
    return sides


class CoGroupOperator(_TwoSided):
    """Calls the function with what both sides of a window hold."""

    @classmethod
    def class_for(cls, spec: Operator) -> type[RunningOperator]:
        return _CoGroupedSessions if spec.options["window"]["kind"] == "session" else _CoGroupedPanes

    def open(self) -> None:
        super().open()
        self.fold = Collecting(self._co_group, self.goes_on)

    def _co_group(self, key: Any, window: Window, records: list[tuple[int, Any]]) -> Any:
        return self.execute(key, window, *_apart(records))


class WindowJoinOperator(_TwoSided):
    """Calls the function for each pair of a window, and for what stays alone in it."""

    @classmethod
    def class_for(cls, spec: Operator) -> type[RunningOperator]:
        return _JoinedSessions if spec.options["window"]["kind"] == "session" else _JoinedPanes

    def put_out(self, key: Any, window: Window, value: Any, time: int | None) -> Fired:
        return self._joined(key, value, time), time

    def _joined(self, key: Any, value: Any, time: int | None) -> Iterator[Any]:
        """What comes of each pair, one after the other: of two large sides there are too many to hold them all."""
        aside: dict[str, list[Any]] = {tag: [] for tag in self.side}
        for number, pair in enumerate(self._pairs(value)):
            if number % LOOK_EVERY == 0 and not self.goes_on():
                break
            result = self.call_firing(key, time, self._join, pair)
            for tag, records in self.side.items():  # which the next call withholds, if it fails
                aside[tag] += records
                records.clear()
            if result is not GIVEN_UP:
                yield result
        for tag, records in aside.items():
            self.side[tag].extend(records)

    def _join(self, pair: tuple[Any, Any]) -> Any:
        return self.execute(*pair)

    def _pairs(self, records: Sequence[tuple[int, Any]]) -> Iterator[tuple[Any, Any]]:
        lefts, rights = _apart(records)
        puts_left, puts_right = ALONE[self.spec.options["how"]]
        if lefts and rights:
            yield from ((left, right) for left in lefts for right in rights)
        elif lefts and puts_left:
            yield from ((left, None) for left in lefts)
        elif rights and puts_right:
            yield from ((None, right) for right in rights)


class _CoGroupedPanes(CoGroupOperator, PaneOperator):
    pass


class _CoGroupedSessions(CoGroupOperator, SessionOperator):
    pass


class _JoinedPanes(WindowJoinOperator, PaneOperator):
    pass


class _JoinedSessions(WindowJoinOperator, SessionOperator):
    pass
