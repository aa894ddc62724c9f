"""Types of annotations against each other: what certainly does not go together, and all that perhaps does."""

# ruff: noqa: UP006, UP007, UP042, UP044, UP045
# Not `from __future__ import annotations`: here they are the objects that Python makes of them.
import abc
import array
import collections
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import fractions
import io
import numbers
import os
import pathlib
import queue
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NewType, Optional, Protocol, TypedDict, TypeVar, Union
from unittest import mock

import numpy
import numpy.typing
import pytest
import typing_extensions

from sage.core.api import LocalEnvironment
from sage.core.graph.matching import may_be, show


class Animal: ...


class Dog(Animal): ...


class Cat(Animal): ...


class Mule(Dog, Cat): ...


class Stone: ...


@dataclasses.dataclass
class Order:
    cents: int


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Tone(str, enum.Enum):
    A = "a"


class Point(typing.NamedTuple):
    x: int
    y: int


class Movie(TypedDict):
    title: str


class Film(TypedDict):
    title: str
    year: int


class Track(TypedDict):
    seconds: float


class Named(Protocol):
    name: str


class Walks(Protocol):
    def walk(self) -> None: ...


@typing.runtime_checkable
class Barks(Protocol):
    def bark(self) -> None: ...


@typing.runtime_checkable
class HasName(Protocol):
    name: str


class Beagle:
    def bark(self) -> None: ...


class Proxy:
    def __getattr__(self, name: str) -> Any:
        raise AssertionError("asked for an attribute")


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self) -> float: ...


class Drawn(abc.ABC):
    @abc.abstractmethod
    def draw(self) -> None: ...


class Registered: ...


Shape.register(Registered)


class Judge(type):
    def __instancecheck__(cls, value: object) -> bool:
        raise AssertionError("asked")

    def __subclasscheck__(cls, value: type) -> bool:
        raise AssertionError("asked")


class Judged(metaclass=Judge): ...


class Hooked:
    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        raise AssertionError("asked")


class Fake(mock.Mock): ...


T = TypeVar("T")
AnimalLike = TypeVar("AnimalLike", bound=Animal)
Text = TypeVar("Text", str, bytes)
Unknown = TypeVar("Unknown", bound="Missing")  # type: ignore[name-defined]  # noqa: F821
Contra = TypeVar("Contra", contravariant=True)


class Box(Generic[T]): ...


class Bin(Generic[Contra]): ...


class IntBox(Box[int]): ...


class Bag(list[int]): ...


class Rows(Sequence[int]):
    def __init__(self) -> None: ...
    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: Any) -> Any:
        raise IndexError


UserId = NewType("UserId", int)
AdminId = NewType("AdminId", UserId)
Name = NewType("Name", str)
Alias = dict[str, list[int]]
Late = typing_extensions.TypeAliasType("Late", list[int])
Json = typing_extensions.TypeAliasType("Json", "dict[str, Json] | list[Json] | int | str | None")


def again() -> type:
    """A class that is made anew at each call, as one of a notebook's cell is."""

    class Cell: ...

    return Cell


APART = [
    (int, str),
    (str, int),
    (str, bytes),
    (None, int),
    (type(None), str),
    (float, str),
    (bool, str),
    (int, list),
    (dict, list),
    (list, tuple),
    (set, list),
    (Order, Animal),
    (Animal, Stone),
    (Order, dict),
    (dict, Order),
    (Order, int),
    (Colour, int),
    (Colour, str),
    (Colour, Tone),
    (Point, str),
    (Point, list[int]),
    (Path := pathlib.Path, str),
    (datetime.date, str),
    (datetime.datetime, float),
    (decimal.Decimal, str),
    (array.array, str),
    (Optional[int], str),
    (Union[int, str], bytes),
    (int | str, Order | None),
    (Literal[1], str),
    (Literal["a"], int),
    (Literal["a", "b"], Literal["c"]),
    (int, Literal["a"]),
    (list[int], list[str]),
    (list[int], Sequence[str]),
    (Iterator[int], Iterable[str]),
    (list[Animal], list[Stone]),
    (list[list[int]], list[list[str]]),
    (dict[str, int], dict[str, str]),
    (dict[str, int], dict[int, int]),
    (dict[str, int], Mapping[str, bytes]),
    (dict[int, str], Iterable[str]),
    (collections.Counter[str], dict[int, int]),
    (collections.deque[int], collections.deque[str]),
    (set[int], frozenset[int]),
    (tuple[int, str], tuple[str, int]),
    (tuple[int, str], tuple[int, str, int]),
    (tuple[int, ...], tuple[str, ...]),
    (tuple[int, ...], tuple[int, str]),
    (tuple[int, str], tuple[int, ...]),
    (tuple[int, int], Sequence[str]),
    (typing.List[int], typing.List[str]),
    (typing.Dict[str, int], list),
    (typing.Tuple[int, str], str),
    (type[Order], type[Stone]),
    (Box[int], Box[str]),
    (Bag, dict),
    (Rows, str),
    (UserId, str),
    (AdminId, Name),
    (Annotated[int, "cents"], str),
    (Annotated[int, "cents"], Annotated[str, "name"]),
    (list[Annotated[int, 1]], list[str]),
    (Alias, list),
    (Alias, dict[str, list[str]]),
    (Late, list[str]),
    (Movie, Track),
    (Movie, list),
    (Movie, str),
    (int, collections.abc.Sized),
    (int, Iterable),
    (int, Sequence[int]),
    (Sequence[int], int),
    (Order, Barks),
    (int, typing.SupportsBytes),
    (AnimalLike, str),
    (int, AnimalLike),
    (Text, int),
    (int, Text),
    (list[Text], list[int]),  # type: ignore[valid-type]
    (Shape, int),
    (numpy.ndarray, str),
    (numpy.float64, str),
    (numpy.typing.NDArray[numpy.float64], dict),
    (numpy.int64, numpy.ndarray),
    (numpy.bool_, str),
    (re.Pattern, str),
    (types.ModuleType, str),
]

TOGETHER = [
    # nothing is known of one
    (Any, str),
    (int, Any),
    (object, str),
    (int, object),
    (T, str),
    (int, T),
    (Unknown, str),
    (int, Unknown),
    ("Order", str),
    (list["Order"], list[str]),
    (Optional["Order"], str),
    (Fake, Order),
    (Order, mock.Mock),
    (Order, mock.MagicMock),
    (typing.Self, str),
    (typing.Never, str),
    (typing.NoReturn, int),
    (typing.LiteralString, str),
    (Callable[[int], str], str),
    (Order, Callable[..., Any]),
    (type[Order], Callable[[int], Order]),
    (collections.abc.Callable, int),
    (typing.IO[str], io.StringIO),
    (io.StringIO, typing.TextIO),
    # numbers
    (int, float),
    (float, int),
    (int, complex),
    (bool, int),
    (int, bool),
    (float, decimal.Decimal),
    (fractions.Fraction, float),
    (int, numbers.Real),
    (numpy.int64, int),
    (int, numpy.float32),
    (numpy.float64, float),
    (numpy.bool_, bool),
    (float, typing.SupportsInt),
    # classes
    (Order, Order),
    (Dog, Animal),
    (Animal, Dog),
    (Dog, Cat),  # a Mule is both
    (again(), again()),
    (Registered, Shape),
    (Shape, Drawn),
    (Shape, Barks),
    (Beagle, Barks),
    (Level, int),
    (Tone, str),
    (str, Tone),
    (Point, tuple),
    (Point, tuple[int, int]),
    (Bag, list),
    (list[int], Bag),
    (bytes, bytearray),
    (memoryview, bytes),
    (datetime.date, datetime.datetime),
    (pathlib.PurePath, os.PathLike),
    (pathlib.Path, os.PathLike[str]),
    (IntBox, Box[int]),
    (Judged, str),
    (str, Judged),
    (Hooked, Order),
    (Order, Hooked),
    # unions
    (Optional[int], int),
    (Optional[int], Optional[str]),
    (int, Optional[int]),
    (int | str, str | bytes),
    (Union[int, str], float),
    (None, Optional[str]),
    # literals
    (Literal["a"], str),
    (str, Literal["a"]),
    (Literal["a", "b"], Literal["b", "c"]),
    (Literal[1, "a"], int),
    (Literal[Colour.RED], Colour),
    (Literal[None], Optional[int]),
    (Literal[1], float),
    # what they hold
    (list, list[int]),
    (list[int], list),
    (list[int], list[float]),
    (list[Dog], list[Animal]),
    (list[Any], list[str]),
    (list[int | None], list[int]),
    (list[int], Iterable[int]),
    (str, Iterable[str]),
    (str, Sequence[str]),
    (Iterable[int], list[int]),
    (dict[str, int], Mapping[str, float]),
    (dict[str, int], Iterable[str]),
    (dict[str, Any], dict[str, int]),
    (collections.Counter[str], dict[str, int]),
    (collections.defaultdict[str, int], dict[str, int]),
    (tuple[int, ...], tuple[int, int]),
    (tuple[()], tuple[int, ...]),
    (tuple[int, str], tuple),
    (tuple[int, str], Sequence[int | str]),
    (tuple[int, typing.Unpack[tuple[str, ...]]], tuple[int, str, str]),
    (tuple[int, *tuple[str, ...]], tuple[int]),
    (type[Dog], type[Animal]),
    (type, type[Animal]),
    (Box, Box[str]),
    (Box[int], Box[T]),  # type: ignore[valid-type]
    (Bin[Animal], Bin[Stone]),
    (queue.Queue[int], queue.Queue[str]),
    (re.Pattern[str], re.Pattern[bytes]),
    (Rows, Sequence[int]),
    (numpy.typing.NDArray[numpy.float64], numpy.ndarray),
    (numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.int8]),
    (numpy.ndarray, Sequence[float]),
    (numpy.ndarray, Iterable[float]),
    # other names for types
    (UserId, int),
    (int, UserId),
    (UserId, AdminId),
    (Annotated[int, "cents"], int),
    (Alias, dict[str, Any]),
    (Late, list[int]),
    (Json, bytes),
    (Json, Json),
    (AnimalLike, Dog),
    (Text, str),
    # typed dictionaries
    (Movie, dict),
    (Movie, dict[str, Any]),
    (dict[str, str], Movie),
    (Film, Movie),
    (Movie, Film),
    (Movie, Mapping[str, object]),
    # protocols
    (int, Named),
    (Order, Walks),
    (Walks, Order),
    (Named, Walks),
    (int, HasName),
    (Proxy, Barks),
    (int, collections.abc.Hashable),
    (collections.abc.Hashable, collections.abc.Sized),
    (Sequence[int], collections.abc.Hashable),
]


@pytest.mark.parametrize(("given", "wanted"), APART, ids=lambda each: show(each))
def test_what_does_not_go_together(given: Any, wanted: Any) -> None:
    """No value of the one type can be of the other, and so it is a problem, and is told in words."""
    assert not may_be(given, wanted)
    assert show(given)
    assert show(wanted)


@pytest.mark.parametrize(("given", "wanted"), TOGETHER, ids=lambda each: show(each))
def test_what_may_go_together(given: Any, wanted: Any) -> None:
    """In doubt, the program is right."""
    assert may_be(given, wanted)


@pytest.mark.parametrize("kind", sorted({show(each): each for pair in APART + TOGETHER for each in pair}.items()))
def test_a_type_goes_with_itself(kind: tuple[str, Any]) -> None:
    """Whatever it is."""
    assert may_be(kind[1], kind[1])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is new in Python 3.12")
def test_types_that_are_made_when_they_are_asked_for() -> None:
    """A type alias of a statement, a bound in brackets: evaluated late, and unknown if that fails."""
    names: dict[str, Any] = {}
    exec("type Good = list[int]\ntype Bad = list[missing]\ndef f[B: missing](x: B) -> B: ...", names)
    assert not may_be(names["Good"], list[str])
    for env_type in (names["Bad"], names["f"].__type_params__[0]):
        env = LocalEnvironment(backend="inline")

        def first(value: Any) -> Any: ...

        def second(value: str) -> str:
            return value

        first.__annotations__["return"] = env_type
        env.from_batch([1]).map(first).map(second).print()
        assert env.explain()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (None, "None"),
        (type(None), "None"),
        (int, "int"),
        (Order, "Order"),
        (Optional[int], "int | None"),
        (int | str, "int | str"),
        (list[int], "list[int]"),
        (dict[str, list[Order]], "dict[str, list[Order]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (typing.List[int], "list[int]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Iterable[int], "Iterable[int]"),
        (UserId, "UserId"),
        (Any, "Any"),
        (T, "T"),
        (Late, "Late"),
        (again(), "Cell"),
    ],
    ids=str,
)
def test_types_are_told_as_one_writes_them(kind: Any, text: str) -> None:
    """In words of the user's program."""
    assert show(kind) == text
