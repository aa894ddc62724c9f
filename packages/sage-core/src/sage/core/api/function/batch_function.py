"""BatchFunction: a source that ends."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from sage.core.api.function.base_function import BaseFunction

__all__ = ["BatchFunction"]


class BatchFunction(BaseFunction):
    """Gives records one by one until it returns None."""

    __sage_function__: ClassVar[str] = "batch"

    @abstractmethod
    def execute(self) -> Any:
        """The next record, or None at the end."""
