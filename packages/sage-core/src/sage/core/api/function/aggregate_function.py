"""AggregateFunction: folds the records of a key into an accumulator of its own type."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from sage.core.api.function.base_function import BaseFunction

__all__ = ["AggregateFunction"]


class AggregateFunction(BaseFunction):
    """Makes an accumulator for each key, adds records to it, and says what comes out of it."""

    __sage_function__: ClassVar[str] = "aggregate"

    @abstractmethod
    def create(self) -> Any:
        """An accumulator that holds nothing yet."""

    @abstractmethod
    def add(self, accumulator: Any, value: Any) -> Any:
        """The accumulator with ``value`` in it: the same object, changed, or another."""

    def result(self, accumulator: Any) -> Any:
        """What to put out; the accumulator itself unless overridden."""
        return accumulator

    def execute(self, accumulator: Any, value: Any) -> Any:
        """Adds one record: what `add` does."""
        return self.add(accumulator, value)
