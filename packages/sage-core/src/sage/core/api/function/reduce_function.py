"""ReduceFunction: folds the records of a key into one value."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Generic

from sage.core.api._typevars import Value
from sage.core.api.function.base_function import BaseFunction

__all__ = ["ReduceFunction"]


class ReduceFunction(BaseFunction, Generic[Value]):
    """Combines what was accumulated for a key with the next record. The first record starts it."""

    __sage_function__: ClassVar[str] = "reduce"

    @abstractmethod
    def execute(self, accumulated: Value, value: Value, /) -> Value:
        """The new accumulated value."""
