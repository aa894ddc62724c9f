"""ReduceFunction: folds the records of a key into one value."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from sage.core.api.function.base_function import BaseFunction

__all__ = ["ReduceFunction"]


class ReduceFunction(BaseFunction):
    """Combines what was accumulated for a key with the next record. The first record starts it."""

    __sage_function__: ClassVar[str] = "reduce"

    @abstractmethod
    def execute(self, accumulated: Any, value: Any) -> Any:
        """The new accumulated value."""
