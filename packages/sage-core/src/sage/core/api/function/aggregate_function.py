"""AggregateFunction: folds the records of a key into an accumulator of its own type."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Generic

from sage.core.api._typevars import Accumulator, In, Out
from sage.core.api.function.base_function import BaseFunction

__all__ = ["AggregateFunction"]


class AggregateFunction(BaseFunction, Generic[In, Accumulator, Out]):
    """Makes an accumulator for each key, adds records to it, and says what comes out of it."""

    __sage_function__: ClassVar[str] = "aggregate"

    @abstractmethod
    def create(self) -> Accumulator:
        """An accumulator that holds nothing yet."""

    @abstractmethod
    def add(self, accumulator: Accumulator, value: In, /) -> Accumulator:
        """The accumulator with ``value`` in it: the same object, changed, or another."""

    def result(self, accumulator: Accumulator, /) -> Out:
        """What to put out; the accumulator itself unless overridden."""
        return accumulator  # type: ignore[return-value]

    def execute(self, accumulator: Accumulator, value: In, /) -> Accumulator:
        """Adds one record: what `add` does."""
        return self.add(accumulator, value)
