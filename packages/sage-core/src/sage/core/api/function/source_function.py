"""SourceFunction: a source that may go on for ever."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Generic

from sage.core.api._typevars import Out
from sage.core.api.function.base_function import BaseFunction
from sage.core.engine.stop import STOP, StopType

__all__ = ["STOP", "SourceFunction", "StopType"]


class SourceFunction(BaseFunction, Generic[Out]):
    """Gives records one by one: None is "nothing yet", `STOP` ends it.

    ``execute`` should return soon: while it blocks, the job cannot be stopped. After None it is called again
    after 0.1 ms, doubling to 10 ms, until there is a record; a class may define ``wait(timeout)``, with the
    time in seconds, to wait for its news in a better way.
    """

    __sage_function__: ClassVar[str] = "source"

    @abstractmethod
    def execute(self) -> Out | StopType | None:
        """The next record, None for nothing yet, or `STOP`."""
