"""Count windows: so many records of a key."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from sage.core.engine.context import RuntimeContext
from sage.core.engine.event_time import MAX_TIME, MIN_TIME
from sage.core.engine.keyed_state import MISSING
from sage.core.engine.operators.timed import Firing
from sage.core.engine.operators.windows.base import Due, WindowedOperator
from sage.core.engine.operators.windows.folding import owned
from sage.core.engine.operators.windows.spans import as_window
from sage.core.engine.recovery import GIVEN_UP
from sage.core.graph.model import Operator

__all__ = ["CountOperator"]

_ALWAYS = as_window(MIN_TIME, MAX_TIME)


class CountOperator(WindowedOperator):
    """Windows that are full after a number of records. What is not full at the end of input is not put out.

    Of windows that overlap, the records are kept, and folded each time.
    """

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self._size: int = self.window["size"]
        self._every: int | None = self.window["every"] if self.window["every"] != self._size else None
        self._reduces = spec.kind == "window_reduce"
        self._counted: dict[Any, tuple[int, Any]] = {}  # by key, how many records there are, and what they come to
        self._kept: dict[Any, tuple[int, deque[Any]]] = {}  # by key, how many came since it fired, and the newest

    def add(self, record: Any, key: Any, time: int | None) -> Due:
        if self._every is not None:
            count, records = self._kept.get(key) or (0, deque[Any](maxlen=self._size))
            records.append(record)
            is_full = count + 1 == self._every
            self._kept[key] = (0 if is_full else count + 1), records
            return ((key, (list(records), time)),) if is_full else ()
        count, value = self._counted.get(key, (0, MISSING))
        value = self.fold.add(value, record)
        if count + 1 < self._size:
            self._counted[key] = count + 1, value
            return ()
        self._counted.pop(key, None)
        return ((key, (value, time)),)

    def fire(self, due: Due) -> Firing:
        for key, (value, time) in due:
            if self._every is not None:
                value = self.call_firing(key, time, self._folded, value)
            if value is not GIVEN_UP:
                yield self.put_out(key, _ALWAYS, value, time)

    def _folded(self, records: list[Any]) -> Any:
        value: Any = MISSING
        for record in records:
            # What a reduce begins with is the record, which further windows will hold as it is.
            value = self.fold.add(value, owned(record) if value is MISSING and self._reduces else record)
        return value

    def held(self) -> tuple[Mapping[Any, Any], int]:
        table: Mapping[Any, Any] = self._counted if self._every is None else self._kept
        return table, len(table)

    def saved_by_key(self) -> dict[Any, Any]:
        if self._every is not None:
            return {key: (count, list(records)) for key, (count, records) in self._kept.items()}
        return dict(self._counted)

    def restore_by_key(self, items: Sequence[tuple[Any, Any]]) -> None:
        for key, (count, held) in items:
            if self._every is not None:
                self._kept[key] = count, deque(held, maxlen=self._size)
            else:
                self._counted[key] = count, held

    def firing(self) -> Firing:
        return iter(())
