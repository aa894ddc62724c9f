"""JoinFunction: makes a record of one from each of two streams."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Generic

from sage.core.api._typevars import Left, Out, Right
from sage.core.api.function.base_function import BaseFunction

__all__ = ["JoinFunction"]


class JoinFunction(BaseFunction, Generic[Left, Right, Out]):
    """Makes one record of each pair that a join finds."""

    __sage_function__: ClassVar[str] = "join"

    @abstractmethod
    def execute(self, left: Left, right: Right, /) -> Out:
        """The record to put out for a pair. In a left, right or outer join, a side that is missing is None."""
