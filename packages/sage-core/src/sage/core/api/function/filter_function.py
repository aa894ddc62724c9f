"""FilterFunction: decides which records go on."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from sage.core.api.function.base_function import BaseFunction

__all__ = ["FilterFunction"]


class FilterFunction(BaseFunction):
    """Keeps or drops each record."""

    __sage_function__: ClassVar[str] = "filter"

    @abstractmethod
    def execute(self, value: Any) -> bool:
        """Whether ``value`` goes on."""
