"""The check of annotations refuses nothing that works: whatever a value may be called, all its names go together."""

# ruff: noqa: UP007, UP045
# Not `from __future__ import annotations`: types are made here, as Python makes them.
import collections
import collections.abc
import dataclasses
import decimal
import enum
import fractions
import numbers
import pathlib
import typing
from typing import Annotated, Any, Literal, NewType, Optional, Protocol, TypeVar, Union

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sage.core.api import LocalEnvironment
from sage.core.graph.matching import may_be, show


class Shape: ...


@dataclasses.dataclass(frozen=True)
class Circle(Shape):
    radius: float = 1.0

    def area(self) -> float:
        return self.radius


class Ring(Circle, collections.abc.Sized):
    def __len__(self) -> int:
        return 1


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Pair(typing.NamedTuple):
    one: int
    two: str


class Film(typing.TypedDict, total=False):
    title: str


@typing.runtime_checkable
class HasArea(Protocol):
    def area(self) -> float: ...


class Unchecked(Protocol):
    radius: float


Id = NewType("Id", int)
T = TypeVar("T")
Num = TypeVar("Num", bound=numbers.Number)
Str = TypeVar("Str", str, bytes)

TUPLE: Any = tuple
SEQUENCE: Any = typing.Sequence

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.floats(0, 1),
        st.sampled_from(["", "a", "title"]),
        st.binary(max_size=1),
        st.builds(decimal.Decimal, st.integers(0, 3)),
        st.builds(fractions.Fraction, st.integers(0, 3)),
        st.sampled_from([Shape(), Circle(), Ring(), Colour.RED, Level.LOW, Pair(1, "a"), pathlib.Path("a"), len, int]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(collections.deque),
        st.dictionaries(st.sampled_from(["a", "title"]), inner, max_size=2),
        st.dictionaries(st.integers(0, 2), inner, max_size=2).map(collections.OrderedDict),
    ),
    max_leaves=6,
)


def names(value: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Types that a value may be said to be of."""
    kinds: list[Any] = [Any, object, T]
    for base in type(value).__mro__:
        kinds += [base]
    for kind in (
        *(getattr(collections.abc, name) for name in collections.abc.__all__),
        *(numbers.Number, numbers.Complex, numbers.Real, numbers.Rational, numbers.Integral),
        *(typing.SupportsInt, typing.SupportsFloat, typing.SupportsIndex, typing.SupportsAbs, HasArea),
    ):
        if isinstance(value, kind):
            kinds.append(kind)
    if isinstance(value, numbers.Real):
        kinds += [float, complex, Num]
    if type(value) is int:
        kinds += [Id]
    if isinstance(value, str | bytes):
        kinds += [Str]
    if type(value) in (int, str, bytes, bool) or isinstance(value, enum.Enum | None):
        kinds += [Literal[value]]
    if isinstance(value, Circle):
        kinds += [Unchecked]
    if type(value) is dict and all(key == "title" and isinstance(it, str) for key, it in value.items()):
        kinds += [Film]
    plain = st.sampled_from(kinds)
    several = [plain]
    if depth < 3:
        if isinstance(value, list | collections.deque) and value:
            inner = either(list(value), depth)
            of = [type(value), typing.Iterable, typing.Sequence, typing.Collection, typing.MutableSequence]
            several.append(st.builds(lambda outer, held: outer[held], st.sampled_from(of), inner))
        if isinstance(value, tuple) and value:
            items = [names(item, depth + 1) for item in value]
            several.append(st.tuples(*items).map(lambda held: TUPLE[held]))
            several.append(either(list(value), depth).map(lambda held: TUPLE[held, ...]))
            several.append(either(list(value), depth).map(lambda held: SEQUENCE[held]))
        if isinstance(value, dict) and value:
            of = [dict, typing.Mapping, typing.MutableMapping]
            several.append(
                st.builds(
                    lambda outer, key, held: outer[key, held],
                    st.sampled_from(of),
                    either(list(value), depth),
                    either(list(value.values()), depth),
                )
            )
        several.append(
            st.builds(lambda one, other: Union[one, other], plain, st.sampled_from([int, str, None, bytes, Shape]))
        )
        several.append(plain.map(lambda kind: Optional[kind]))
        several.append(plain.map(lambda kind: Annotated[kind, "note"]))
    return st.one_of(several)


def either(values: list[Any], depth: int) -> st.SearchStrategy[Any]:
    """A type that all the values are of."""
    return st.tuples(*(names(value, depth + 1) for value in values)).map(lambda kinds: Union[kinds])


@st.composite
def values_with_two_names(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    value = draw(VALUES)
    return value, draw(names(value)), draw(names(value))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(values_with_two_names())
def test_two_names_of_one_value_go_together(case: tuple[Any, Any, Any]) -> None:
    """There is a value that is of both types, and so a function that makes one may stand before one that takes one."""
    value, one, other = case
    assert may_be(one, other), f"{value!r} is both {show(one)} and {show(other)}"
    assert may_be(other, one), f"{value!r} is both {show(one)} and {show(other)}"


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(values_with_two_names())
def test_such_a_pipeline_runs(case: tuple[Any, Any, Any]) -> None:
    """From end to end."""
    value, one, other = case

    def make(record: Any) -> Any:
        return value

    def take(record: Any) -> Any:
        return record

    make.__annotations__["return"] = one
    take.__annotations__["record"] = other
    env = LocalEnvironment(backend="inline")
    records = env.from_batch([1]).map(make).map(take).collect()
    env.submit(autostop=True)
    assert records == [value]
