"""CoGroupFunction: works on what two streams hold of a key in one window."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Generic

from sage.core.api._typevars import Left, Out, Right
from sage.core.api.function.base_function import BaseFunction
from sage.core.engine.window import Window

__all__ = ["CoGroupFunction"]


class CoGroupFunction(BaseFunction, Generic[Left, Right, Out]):
    """Puts out any number of records for each window of each key that has a record of either stream."""

    __sage_function__: ClassVar[str] = "co_group"

    @abstractmethod
    def execute(self, key: Any, window: Window, lefts: list[Left], rights: list[Right], /) -> Iterable[Out] | None:
        """What to put out for ``window``: an iterable of records, or None for nothing. It may be a generator.

        Args:
            key: what ``keyby`` gave.
            window: from when to when, in seconds.
            lefts, rights: all that the window holds of each stream, of which one may be empty; the function's own.
        """
