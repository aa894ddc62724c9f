"""KeyByFunction: gives each record its key."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Generic

from sage.core.api._typevars import In
from sage.core.api.function.base_function import BaseFunction

__all__ = ["KeyByFunction"]


class KeyByFunction(BaseFunction, Generic[In]):
    """Computes the key by which the next operator groups records."""

    __sage_function__: ClassVar[str] = "keyby"

    @abstractmethod
    def execute(self, value: In, /) -> Any:
        """The key: str, bytes, a number, None, a tuple of those, an enum, a frozen dataclass, a UUID or a date."""
