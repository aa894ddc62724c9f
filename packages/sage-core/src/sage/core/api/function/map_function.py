"""MapFunction: one record in, one record out."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Generic

from sage.core.api._typevars import In, Out
from sage.core.api.function.base_function import BaseFunction

__all__ = ["MapFunction"]


class MapFunction(BaseFunction, Generic[In, Out]):
    """Turns each record into another."""

    __sage_function__: ClassVar[str] = "map"

    @abstractmethod
    def execute(self, value: In, /) -> Out:
        """The record to put out for ``value``. None is a value."""
