"""WindowFunction: works on all records of a window at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Generic

from sage.core.api._typevars import In, Out
from sage.core.api.function.base_function import BaseFunction
from sage.core.engine.window import Window

__all__ = ["WindowFunction"]


class WindowFunction(BaseFunction, Generic[In, Out]):
    """Puts out any number of records for each window of each key."""

    __sage_function__: ClassVar[str] = "window_process"

    @abstractmethod
    def execute(self, key: Any, window: Window, records: list[In], /) -> Iterable[Out] | None:
        """What to put out for ``window``: an iterable of records, or None for nothing. It may be a generator.

        Args:
            key: what ``keyby`` gave; None without it.
            window: from when to when, in seconds.
            records: all that the window holds, the function's own list.
        """
