"""SinkFunction: where records leave the pipeline."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Generic

from sage.core.api._typevars import In
from sage.core.api.function.base_function import BaseFunction

__all__ = ["SinkFunction"]


class SinkFunction(BaseFunction, Generic[In]):
    """Takes each record out of the pipeline: prints, writes, sends."""

    __sage_function__: ClassVar[str] = "sink"

    @abstractmethod
    def execute(self, value: In, /) -> object:
        """Deal with ``value``. What is returned is not looked at."""
