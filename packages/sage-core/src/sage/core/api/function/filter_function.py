"""FilterFunction: decides which records go on."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Generic

from sage.core.api._typevars import In
from sage.core.api.function.base_function import BaseFunction

__all__ = ["FilterFunction"]


class FilterFunction(BaseFunction, Generic[In]):
    """Keeps or drops each record."""

    __sage_function__: ClassVar[str] = "filter"

    @abstractmethod
    def execute(self, value: In, /) -> bool:
        """Whether ``value`` goes on."""
