"""Process functions: they see a record's key and time, keep state, set timers, and put out what they want."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Generic

from sage.core.api._typevars import In, Out
from sage.core.api.function.base_function import BaseFunction

if TYPE_CHECKING:
    from sage.core.engine.process_context import ProcessContext, Timer

__all__ = ["CoProcessFunction", "ProcessFunction"]


class ProcessFunction(BaseFunction, Generic[In, Out]):
    """The most general function: any number of records out, for a record or because it is time.

    ``self.context`` has, besides what every function's has: ``now``, ``set_timer(at, time="event")`` and
    ``delete_timer(at, time="event")``. State is declared in ``open(context)``.
    """

    __sage_function__: ClassVar[str] = "process"

    if TYPE_CHECKING:
        context: ProcessContext

    @abstractmethod
    def execute(self, value: In, /) -> Iterable[Out] | None:
        """What to put out for a record: an iterable, or None for nothing. `yield` will do."""

    def on_timer(self, timer: Timer) -> Iterable[Out] | None:
        """What to put out now that the time of a timer has come; ``self.context.key`` is the key that set it."""


class CoProcessFunction(BaseFunction):
    """A process function of several connected streams, with state and timers in common.

    It defines ``process0(record)``, ``process1(record)`` …, one for each stream, each like
    `ProcessFunction.execute`.
    """

    __sage_function__: ClassVar[str] = "coprocess"

    if TYPE_CHECKING:
        context: ProcessContext

    def execute(self, *args: object, **kwargs: object) -> None:
        """Not called: each input has its own method."""
        raise TypeError("a CoProcessFunction is called by process0, process1 …")

    def on_timer(self, timer: Timer) -> Iterable[object] | None:
        """What to put out now that the time of a timer has come."""
