"""AsyncMapFunction: one record in, one record out, by a coroutine."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Generic

from sage.core.api._typevars import In, Out
from sage.core.api.function.base_function import BaseFunction

__all__ = ["AsyncMapFunction"]


class AsyncMapFunction(BaseFunction, Generic[In, Out]):
    """Turns each record into another while it waits for something outside: a web service, a database.

    Many coroutines of one instance are under way at once, all on one thread: attributes need no lock, but may change
    at every ``await``. ``open`` and ``close`` may be plain functions or coroutine functions, in which a session can be
    made that belongs to the event loop.
    """

    __sage_function__: ClassVar[str] = "map_async"

    @abstractmethod
    async def execute(self, value: In, /) -> Out:
        """The record to put out for ``value``. None is a value. ``self.context.key`` is the key of this record."""
