"""FlatMapFunction: one record in, any number out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Generic

from sage.core.api._typevars import In, Out
from sage.core.api.function.base_function import BaseFunction

__all__ = ["FlatMapFunction"]


class FlatMapFunction(BaseFunction, Generic[In, Out]):
    """Turns each record into none, one or several."""

    __sage_function__: ClassVar[str] = "flatmap"

    @abstractmethod
    def execute(self, value: In, /) -> Iterable[Out] | None:
        """An iterable of the records to put out, a generator for example; None for none. A str is refused."""
