"""MapFunction: one record in, one record out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from sage.core.api.function.base_function import BaseFunction

__all__ = ["MapFunction"]


class MapFunction(BaseFunction):
    """Turns each record into another."""

    __sage_function__: ClassVar[str] = "map"

    @abstractmethod
    def execute(self, value: Any) -> Any:
        """The record to put out for ``value``. None is a value."""
