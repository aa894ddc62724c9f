"""BatchFunction: a source that ends."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Generic

from sage.core.api._typevars import Out
from sage.core.api.function.base_function import BaseFunction
from sage.core.engine.stop import StopType

__all__ = ["BatchFunction"]


class BatchFunction(BaseFunction, Generic[Out]):
    """Gives records one by one until it returns None."""

    __sage_function__: ClassVar[str] = "batch"

    @abstractmethod
    def execute(self) -> Out | StopType | None:
        """The next record; None, or `STOP`, at the end."""
