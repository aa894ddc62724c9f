"""What each kind of operator takes, as type checkers see it. Imported by them alone: nothing here exists at run time.

Functions are known by their methods, not by their base class: a bare class with ``execute`` will do, and a class
derived from ``MapFunction`` without brackets is judged by what its ``execute`` is annotated with.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypedDict, TypeVar, TypeVarTuple

from sage.core.api._typevars import Accumulator, In, Out, Value
from sage.core.api.windows import Duration
from sage.core.engine.stop import StopType
from sage.core.engine.window import Window
from sage.core.graph.policy import ErrorPolicy

__all__ = [
    "Aggregates",
    "Awaits",
    "Batch",
    "CoGroups",
    "CoMaps2",
    "CoMaps3",
    "Executes",
    "Folds",
    "Found",
    "In0",
    "In1",
    "In2",
    "Items",
    "Joins",
    "Key",
    "Keywords",
    "Out0",
    "Out1",
    "Out2",
    "Processes",
    "Reduces",
    "Source",
    "Within",
]

In0 = TypeVar("In0", contravariant=True)
In1 = TypeVar("In1", contravariant=True)
In2 = TypeVar("In2", contravariant=True)
Found = TypeVar("Found")
One = TypeVar("One")
Other = TypeVar("Other")
Out0 = TypeVar("Out0", covariant=True)
Out1 = TypeVar("Out1", covariant=True)
Out2 = TypeVar("Out2", covariant=True)
Items = TypeVarTuple("Items")


class Keywords(TypedDict, total=False):
    """The keywords of every operator."""

    name: str | None
    uid: str | None
    parallelism: int
    on_error: ErrorPolicy | None


class Executes(Protocol[In, Out]):
    """A function of one record."""

    def execute(self, value: In, /) -> Out: ...


class Awaits(Protocol[In, Out]):
    """A coroutine function of one record."""

    def execute(self, value: In, /) -> Awaitable[Out]: ...


class Batch(Protocol[Out]):
    """A source that ends with None, or with `STOP`."""

    def execute(self) -> Out | StopType | None: ...


class Source(Protocol[Out]):
    """A source that ends with `STOP`."""

    def execute(self) -> Out | StopType | None: ...


class Reduces(Protocol[Value]):
    """A function of what was accumulated and one record."""

    def execute(self, accumulated: Value, value: Value, /) -> Value: ...


Folds = type[Reduces[Value]] | Reduces[Value] | Callable[[Value, Value], Value]
"""A reducing function in any form."""


class Aggregates(Protocol[In, Accumulator, Out]):
    """An accumulator's beginning, its steps, and what comes out of it."""

    def create(self) -> Accumulator: ...
    def add(self, accumulator: Accumulator, value: In, /) -> Accumulator: ...
    def result(self, accumulator: Accumulator, /) -> Out: ...


class Processes(Protocol[Value, Out]):
    """A function of a key, a window, and the records in it."""

    def execute(self, key: Any, window: Window, records: list[Value], /) -> Iterable[Out] | None: ...


class CoGroups(Protocol[One, Other, Out0]):
    """A function of a key, a window, and the records that each of two streams has in it."""

    def execute(self, key: Any, window: Window, lefts: list[One], rights: list[Other], /) -> Iterable[Out0] | None: ...


class CoMaps2(Protocol[In0, In1, Out0, Out1]):
    """A method for each of two streams."""

    def map0(self, value: In0, /) -> Out0: ...
    def map1(self, value: In1, /) -> Out1: ...


class CoMaps3(Protocol[In0, In1, In2, Out0, Out1, Out2]):
    """A method for each of three streams."""

    def map0(self, value: In0, /) -> Out0: ...
    def map1(self, value: In1, /) -> Out1: ...
    def map2(self, value: In2, /) -> Out2: ...


class Joins(Protocol[In0, In1, Out]):
    """A function of one record from each of two streams."""

    def execute(self, left: In0, right: In1, /) -> Out: ...


Within = tuple[Duration, Duration]
"""From when to when, in seconds or as timedeltas."""

Key = type[Executes[Value, object]] | Executes[Value, object] | Callable[[Value], object]
"""A key function in any form."""
