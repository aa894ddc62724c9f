"""What windows make of their records: one value for each key and window, and what is put out of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any, Protocol

from sage.core.engine.functions import outputs_of
from sage.core.engine.keyed_state import MISSING
from sage.core.engine.window import Window

__all__ = ["Aggregating", "Collecting", "Folding", "Reducing", "is_fixed", "owned"]

_FIXED = frozenset({int, float, complex, bool, str, bytes, type(None), frozenset, date, datetime, timedelta})
"""Types of which a value can be shared, since nobody can change it."""


def is_fixed(values: Iterable[Any]) -> bool:
    """Whether none of the values can be changed."""
    return set(map(type, values)) <= _FIXED


def owned(value: Any) -> Any:
    """A value that a function may change, whatever is in it, with none of it held by any other window."""
    kind = type(value)
    if kind in _FIXED or (isinstance(value, tuple) and is_fixed(value)):
        return value
    if (kind is list or kind is set) and is_fixed(value):
        return value.copy()
    if kind is dict and is_fixed(value.values()):
        return value.copy()
    return copy.deepcopy(value)


class Folding(Protocol):
    """How one kind of operator folds.

    Attributes:
        merges: whether values of several windows, or pieces of them, can be put together.
        asks: whether `put_out` calls the user's function.
        merge_fixed: like `merge`, for a left value that cannot be changed.
    """

    merges: bool
    asks: bool
    merge_fixed: Callable[[Any, Any], Any]

    def add(self, before: Any, record: Any) -> Any:
        """The value with one record more; ``before`` is `MISSING` for the first one."""

    def merge(self, left: Any, right: Any) -> Any:
        """The value of both, which stay as they are."""

    def put_out(self, key: Any, window: Window, value: Any) -> Sequence[Any]:
        """What is put out of a value."""


class Reducing:
    """``reduce``: the value is a record, or what the function has made of some."""

    merges = True
    asks = False

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function = self.merge_fixed = function

    def add(self, before: Any, record: Any) -> Any:
        return record if before is MISSING else self.function(before, record)

    def merge(self, left: Any, right: Any) -> Any:
        # A function that changes what it is given shall not change a value that other windows hold, too.
        return self.function(owned(left), right)

    def put_out(self, key: Any, window: Window, value: Any) -> Sequence[Any]:
        return (value,)


class Aggregating:
    """``aggregate``: the value is an accumulator."""

    def __init__(self, function: Any) -> None:
        self.create, self.add_to = function.create, function.add
        merge = getattr(function, "merge", None)
        self.merges = merge is not None
        self.merge_fixed: Callable[[Any, Any], Any] = _cannot_merge if merge is None else merge
        self._result = function.result
        result = getattr(type(function), "result", None)
        self.asks = not str(getattr(result, "__module__", "")).startswith("sage.core.api.")

    def add(self, before: Any, record: Any) -> Any:
        return self.add_to(self.create() if before is MISSING else before, record)

    def merge(self, left: Any, right: Any) -> Any:
        # As with `add`, it may change its first argument: that has to be one that no other window holds. A new one,
        # into which the left were merged, might hold parts of it, or be it.
        return self.merge_fixed(owned(left), right)

    def put_out(self, key: Any, window: Window, value: Any) -> Sequence[Any]:
        return (self._result(value),)


class Collecting:
    """``process``: the value is the list of the records."""

    merges = True
    asks = True

    def __init__(self, function: Callable[[Any, Window, list[Any]], Any], goes_on: Callable[[], bool]) -> None:
        self._function = function
        self._goes_on = goes_on
        self.merge_fixed: Callable[[Any, Any], Any] = self.merge

    def add(self, before: Any, record: Any) -> Any:
        if before is MISSING:
            return [record]
        before.append(record)
        return before

    def merge(self, left: Any, right: Any) -> Any:
        return [*left, *right]

    def together(self, values: Iterable[Any]) -> Any:
        """The value of several: one list, copied once."""
        return list(chain.from_iterable(values))

    def put_out(self, key: Any, window: Window, value: Any) -> Sequence[Any]:
        result = self._function(key, window, list(value))  # a list of its own, to sort or to keep
        return outputs_of(result, self._goes_on, "process of a window")


def _cannot_merge(left: Any, right: Any) -> Any:
    raise TypeError("its accumulators cannot be put together: it has no merge")
