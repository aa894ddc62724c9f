"""The graph against the annotations of its functions, before anything runs: in every form a function is given."""

from __future__ import annotations

import functools
import math
import operator
import sys
import textwrap
import types
import typing as t  # noqa: F401 - named in text below, as Literal is
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeGuard, TypeVar, cast  # noqa: F401

import pytest
from typing_extensions import TypeIs

from sage.core.api import (
    STOP,
    AggregateFunction,
    AsyncMapFunction,
    BaseFunction,
    BatchFunction,
    CoMapFunction,
    DataStream,
    FilterFunction,
    FlatMapFunction,
    KeyByFunction,
    LocalEnvironment,
    MapFunction,
    ReduceFunction,
    SinkFunction,
    SourceFunction,
    StopType,
    dead_letter,
)
from sage.core.errors import GraphError, Problem

if TYPE_CHECKING:
    from decimal import Decimal

    from nowhere import Absent  # type: ignore[import-not-found]  # there is no such module

T = TypeVar("T")
In = TypeVar("In")


@dataclass(frozen=True)
class Order:
    item: str
    cents: int


class Point(NamedTuple):
    x: int
    y: int


def same(value: Any) -> Any:
    return value


def to_int(value: Any) -> int:
    return 1


def to_text(value: Any) -> str:
    return "1"


def to_order(value: Any) -> Order:
    return Order("tea", 1)


def want_text(value: str) -> str:
    return value


def want_int(value: int) -> int:
    return value


def here() -> str:
    return f"test_annotations.py:{sys._getframe(1).f_lineno}"


def of(make: Callable[[Any], Any], env: LocalEnvironment | None = None) -> DataStream[Any]:
    """A stream of what a function is annotated to return."""
    return (env or LocalEnvironment(backend="inline")).from_batch([1]).map(make)


def problems(stream: DataStream[Any]) -> list[Problem]:
    """What is wrong with the types, as `submit` and `explain` tell it."""
    stream.print()
    with pytest.raises(GraphError) as caught:
        stream._environment.explain()
    return list(caught.value.problems)


def message(stream: DataStream[Any]) -> str:
    (problem,) = problems(stream)
    return problem.message.partition(" from ")[0]


def run(stream: DataStream[Any]) -> list[Any]:
    """What comes out: the pipeline is accepted, and is right."""
    records = stream.collect()
    stream._environment.submit(autostop=True)
    return records


# What type checkers would say of the pipelines below is said by the engine here.
TEXT: Any = want_text
INT: Any = want_int


# What is told


def test_a_mismatch_names_both_operators_types_and_lines() -> None:
    """All of it in the problem, which stands at the operator that is given what it does not take."""
    env = LocalEnvironment()
    stream, first = env.from_batch([1]).map(to_int), here()
    stream, second = stream.map(TEXT, name="shout"), here()
    (problem,) = problems(stream)
    assert problem.message == f"map 'shout': takes str, but gets int from map 'to_int' ({first})"
    assert problem.where == second
    assert problem.operator == "map:shout"
    assert problem.hint == "convert the records between the two, or correct the annotation that is wrong"


def test_submit_refuses_it_before_anything_runs() -> None:
    """Nothing was read, and the environment can be put right."""

    def never() -> Iterator[int]:
        raise AssertionError("it was read")

    env = LocalEnvironment()
    env.from_batch(never).map(TEXT).print()
    with pytest.raises(GraphError, match="takes str, but gets int from collection 'never'"):
        env.submit()
    assert env.get_job_status()["status"] == "not_submitted"


def test_all_problems_are_told_at_once_in_the_order_of_their_lines() -> None:
    """Whatever kind they are of: a function's shape, a number, a stream that ends nowhere, a type, a service."""
    env = LocalEnvironment()
    first = sys._getframe().f_lineno
    numbers = env.from_batch([1]).map(to_int, parallelism=0)
    texts = numbers.map(TEXT).map(lambda: None)  # type: ignore[misc, arg-type]
    env.register_service("", dict)
    texts.map(to_order).map(INT)
    numbers.filter_map(TEXT).keyby(same)
    with pytest.raises(GraphError) as caught:
        env.submit()
    assert [(problem.where, problem.message.partition(":")[0]) for problem in caught.value.problems] == [
        (f"test_annotations.py:{first + 1}", "map 'to_int'"),
        (f"test_annotations.py:{first + 2}", "map 'want_text'"),
        (f"test_annotations.py:{first + 2}", "map '<lambda>'"),
        (f"test_annotations.py:{first + 3}", "a service's name must be text that is not empty, not ''"),
        (f"test_annotations.py:{first + 4}", "map 'want_int'"),
        (f"test_annotations.py:{first + 4}", "map 'want_int'"),
        (f"test_annotations.py:{first + 5}", "filter_map 'want_text'"),
        (f"test_annotations.py:{first + 5}", "keyby 'same'"),
        (None, "the pipeline has no sink"),
    ]


def test_two_types_of_one_name_are_told_in_full() -> None:
    """Otherwise the message would contradict itself."""
    other = type("Order", (), {"__module__": "shop.old"})

    def old(value: Any) -> Any: ...

    old.__annotations__["return"] = other

    def price(value: Order) -> int:
        return value.cents

    assert message(of(old).map(price)) == f"map 'price': takes {__name__}.Order, but gets shop.old.Order"


def test_a_stream_that_is_used_twice_has_a_problem_at_each_use() -> None:
    """And one only where it is connected twice with one operator."""
    numbers = of(to_int)
    numbers.map(TEXT).print()
    numbers.sink(TEXT)
    found = problems(numbers.union(numbers).map(TEXT, name="third"))
    assert [problem.message.split()[1] for problem in found] == ["'want_text':", "'want_text':", "'third':"]


# Forms of functions


class Shout(MapFunction):
    def __init__(self, mark: str = "!") -> None:
        self.mark = mark

    def execute(self, value: str) -> str:
        return value + self.mark


class Bracketed(MapFunction[str, int]):
    def execute(self, value):  # type: ignore[no-untyped-def]
        return len(value)


class Inherited(Bracketed): ...


class HalfBracketed(MapFunction[str, int]):
    def execute(self, value: str):  # type: ignore[no-untyped-def]
        return len(value)


class Bare:
    def execute(self, value: str) -> int:
        return len(value)


class Based(BaseFunction):
    def execute(self, value: str) -> int:
        return len(value)


class Static:
    @staticmethod
    def execute(value: str) -> int:
        return len(value)


class OfClass:
    @classmethod
    def execute(cls, value: str) -> int:
        return len(value)


class Called:
    def __call__(self, value: str) -> int:
        return len(value)

    def method(self, value: str) -> int:
        return len(value)

    @classmethod
    def of_class(cls, value: str) -> int:
        return len(value)

    @staticmethod
    def static(value: str) -> int:
        return len(value)


class Made:
    """Made of a record: the class is called as a function."""

    def __init__(self, value: str) -> None:
        self.value = value


class MadeAnew:
    def __new__(cls, value: str) -> MadeAnew:
        return super().__new__(cls)


def several(value: str, *more: int) -> int:
    return len(value)


def many(*values: str) -> int:
    return len(values)


def third(one: bytes, two: bytes, value: str) -> int:
    return len(value)


def text_and_options(value: str, *, width: int = 3) -> int:
    return width


@functools.cache
def cached(value: str) -> int:
    return len(value)


@pytest.mark.parametrize(
    "function",
    [
        Bracketed,
        Bracketed(),
        Inherited,
        HalfBracketed,
        Bare,
        Bare(),
        Based,
        Static,
        Static(),
        OfClass,
        OfClass(),
        Called(),
        Called().method,
        Called().of_class,
        Called.of_class,
        Called.static,
        several,
        many,
        text_and_options,
        functools.partial(text_and_options, width=4),
        functools.partial(third, b"1", b"2"),
        functools.partial(functools.partial(third, b"1"), b"2"),
        functools.partial(Called.method, Called()),
        cached,
    ],
    ids=lambda each: getattr(each, "__qualname__", repr(type(each).__qualname__)),
)
def test_every_form_takes_and_puts_out_what_it_says(function: Any) -> None:
    """Each takes str and puts out int: it is refused behind int and before str, and works between the right ones."""
    assert message(of(to_int).map(function)).endswith(": takes str, but gets int")
    assert message(of(to_text).map(function).map(TEXT)) == "map 'want_text': takes str, but gets int"
    assert run(of(to_text).map(function).map(INT)) != []


def test_function_classes_with_constructor_arguments() -> None:
    """It is the method that counts, not the constructor."""
    assert message(of(to_int).map(Shout, mark="?")) == "map 'Shout': takes str, but gets int"
    assert run(of(to_text).map(Shout, mark="?").map(TEXT)) == ["1?"]


@pytest.mark.parametrize("function", [Made, MadeAnew, functools.partial(Order, cents=3)])
def test_classes_that_are_called_with_a_record(function: Any) -> None:
    """They take what their constructor takes."""
    assert "takes str, but gets int" in message(of(to_int).map(function))


def test_classes_put_out_themselves() -> None:
    """As far as can be seen: not if something else may come out of calling them."""

    class Meta(type):
        def __call__(cls, *args: Any) -> Any:
            return 1

    class Odd(metaclass=Meta): ...

    class Other:
        def __new__(cls, value: Any) -> Any:
            return 1

    assert message(of(to_text).map(Made).map(INT)) == "map 'want_int': takes int, but gets Made"
    assert message(of(same).map(str).map(INT)) == "map 'want_int': takes int, but gets str"
    assert message(of(same).map(list).map(INT)) == "map 'want_int': takes int, but gets list"
    assert run(of(same).map(Odd).map(INT)) == [1]  # type: ignore[arg-type]
    assert run(of(same).map(Other).map(INT)) == [1]
    assert run(of(same).map(functools.partial(Point, 2)).map(operator.itemgetter(1)).map(INT)) == [1]


def test_methods_of_builtin_types_take_what_they_belong_to() -> None:
    """`str.upper` is certainly not called with a number."""
    assert message(of(to_int).map(str.upper)) == "map 'str.upper': takes str, but gets int"
    assert run(of(to_text).map(str.upper).map(TEXT)) == ["1"]
    assert message(of(to_order).map(str.format)) == "map 'str.format': takes str, but gets Order"


@pytest.mark.parametrize(
    "function",
    [
        lambda value: value,
        lambda *values: values[0],
        functools.partial(lambda one, two: two, None),
        abs,
        math.floor,
        operator.index,
        operator.attrgetter("real"),
        operator.methodcaller("conjugate"),
        functools.partial(operator.add, 0),
        functools.partial(max, 0),
        (0).__add__,
        int,
        {1: 1}.get,
        [0, 1].__getitem__,
        functools.wraps(want_text)(lambda value: value),
        functools.cache(lambda value: value),
        functools.singledispatch(lambda value: value),
    ],
    ids=str,
)
def test_what_says_nothing_is_not_judged(function: Any) -> None:
    """Lambdas, functions written in C, what is decorated: they run as they always did."""
    assert run(of(to_int).map(function).map(INT)) == [1]
    assert run(of(to_int).map(function).map(lambda value: value).map(TEXT)) == [1]


def test_a_decorator_that_changes_types() -> None:
    """The annotations that are seen are those of the function within; they are not those of what is called."""

    def reads_text(function: Callable[[int], int]) -> Callable[[str], str]:
        @functools.wraps(function)
        def wrapper(value: str) -> str:
            return str(function(int(value)))

        return wrapper

    @reads_text
    def increment(value: int) -> int:
        return value + 1

    assert run(of(to_text).map(increment).map(TEXT)) == ["2"]


def test_a_callable_that_answers_to_any_attribute() -> None:
    """It is not taken for what it pretends to be."""

    class Pretender:
        __annotations__ = {"return": str}

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(name)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return 1

    assert run(of(to_int).map(Pretender()).map(INT)) == [1]


# Annotations that are text


def test_names_that_only_type_checkers_see() -> None:
    """They are unknown, and what stands beside them is not."""

    def absent(value: Any) -> Absent:
        return 1

    def decimal(value: Decimal) -> Decimal | None:
        return value

    def listed(value: Any) -> list[Absent]:
        return [1]

    def numbered(value: dict[str, Any]) -> Any: ...

    assert run(of(absent).map(decimal).map(TEXT)) == [1]
    assert message(of(listed).map(numbered)) == "map 'numbered': takes dict[str, Any], but gets list[Any]"


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("int", False),
        ("'int'", False),
        ("Order", False),
        ("None", False),
        ("list[str]", False),
        ("t.Optional[Order]", False),
        ("t.Union[int, Order]", False),
        ("int | Order", False),
        ("Literal[1, 2]", False),
        ("types.ModuleType", False),
        ("Callable[[int], str]", True),
        ("str", True),
        ("Optional[str]", True),
        ("str | Missing", True),
        ("Missing", True),
        ("Missing.Inner", True),
        ("Missing[str]", True),
        ("types.Missing", True),
        ("Order.Missing", True),
        ("T", True),
        ("Literal['a']", True),
        ("Any", True),
        ("object", True),
        ("", True),
        ("not a type", True),
        ("1", True),
        ("f()", True),
        ("__import__('sys').exit()", True),
        ("[int]", True),
        ("int[int]", True),
        ("lambda: 1", True),
        ("{'a': 1}", True),
        ("str if True else int", True),
        ("x := int", True),
        ("\0", True),
        ("int" + "]" * 1000, True),
        ("(" * 1000 + "int" + ")" * 1000, True),
        ("list[" * 90 + "int" + "]" * 90, False),
        ("x" * 100_000, True),
    ],
    ids=lambda each: str(each)[:30],
)
def test_text_is_read_and_never_run(text: str, fits: bool) -> None:
    """What cannot be read says nothing."""

    def make(value: Any) -> Any:
        return "1"

    make.__annotations__["return"] = text
    if fits:
        assert run(of(make).map(TEXT)) == ["1"]
    else:
        assert "takes str, but gets" in message(of(make).map(TEXT))


class Outer:
    class Order:
        """Another than that of the module, as text in this class means it."""

    def make(self, value: Any) -> Order:
        return self.Order()


def test_a_name_of_a_nearer_place_is_not_taken_for_the_global_one() -> None:
    """`Order` may be the class of the function around, or of the class around, and then it is not the module's."""

    class Order:
        """A third one."""

    def make(value: Any) -> Order:
        return Order()

    def take(value: Order) -> int:
        return 1

    class Make(MapFunction):
        def execute(self, value: Any) -> Order:
            return Order()

    assert run(of(lambda value: Order()).map(lambda value: value).map(take)) == [1]
    assert run(of(make).map(take)) == [1]
    assert run(of(same).map(Make).map(take)) == [1]
    assert run(of(lambda value: value).map(lambda value: Order()).map(take)) == [1]
    assert run(of(Outer().make).map(lambda value: 1 if type(value) is Outer.Order else 0)) == [1]
    stream = of(Outer().make)
    stream.map(take).print()
    assert stream._environment.explain()


def test_functions_within_functions_see_the_globals() -> None:
    """As long as nothing nearer has that name."""

    def price(value: Order) -> int:
        return value.cents

    class Price(MapFunction):
        def execute(self, value: Order) -> int:
            return value.cents

    assert message(of(to_text).map(price)) == "map 'price': takes Order, but gets str"
    assert message(of(to_text).map(Price)) == "map 'Price': takes Order, but gets str"
    assert run(of(to_order).map(price).map(INT)) == [1]


def test_a_class_that_was_defined_again() -> None:
    """As in a notebook whose cell was run again: the new one is what the program makes, whoever names the old one."""
    source = textwrap.dedent("""
        class Order: ...
    """)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(source + "def make(value) -> Order: return Order()\n", names)
    exec(source + "def take(value: Order) -> int: return 1\n", names)
    assert run(of(names["make"]).map(names["take"])) == [1]


# Annotations that are anything


class Hostile:
    """Raises whatever one does with it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("==")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")


class HostileClass(type):
    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(name)


def numpy_array() -> Any:
    import numpy

    return numpy.zeros(3)


@pytest.mark.parametrize(
    "annotation",
    [
        Hostile,
        HostileClass,
        [int],
        {"a": int},
        (int, str),
        1,
        b"text",
        ...,
        NotImplemented,
        lambda value: value,
        numpy_array(),
        math,
        Generic,
    ],
    ids=lambda each: type.__repr__(type(each)),
)
def test_annotations_that_are_no_types(annotation: Any) -> None:
    """They say nothing, and are no error."""

    def odd(value: Any) -> Any:
        return value

    if annotation is Hostile:
        annotation = Hostile()
    elif annotation is HostileClass:
        annotation = HostileClass("Odd", (), {})
    odd.__annotations__.update(value=annotation, **{"return": annotation})
    stream = of(to_order).map(odd)
    assert len(run(stream.map(odd).filter(odd).keyby(odd).map(lambda value: value))) == 1


def test_annotations_that_raise_when_they_are_asked_for() -> None:
    """Whatever they raise, nothing is known then."""

    class Broken(dict[str, Any]):
        def __contains__(self, key: object) -> bool:
            raise RuntimeError("annotations")

    def odd(value: Any) -> Any:
        return value

    odd.__annotations__ = Broken()
    assert run(of(to_int).map(odd).map(INT)) == [1]


# Kinds of operators


class Three(BatchFunction):
    left = 3

    def execute(self) -> int | None:
        self.left -= 1
        return self.left if self.left >= 0 else None


class BracketedBatch(BatchFunction[int]):
    def execute(self):  # type: ignore[no-untyped-def]
        return None


class Stopping(BatchFunction):
    def execute(self) -> int | StopType:
        return STOP


class Ticks(SourceFunction):
    def execute(self) -> float | StopType | None:
        return STOP


class BracketedSource(SourceFunction[float]):
    def execute(self):  # type: ignore[no-untyped-def]
        return STOP


def numbers(limit: int = 3) -> Iterator[int]:
    yield from range(limit)


def generated() -> Generator[int, str, bytes]:
    yield 1
    return b""


def tick() -> float | StopType | None:
    return STOP


@pytest.mark.parametrize(
    ("declare", "kind"),
    [
        (lambda env: env.from_batch(Three), "int"),
        (lambda env: env.from_batch(Three()), "int"),
        (lambda env: env.from_batch(BracketedBatch), "int"),
        (lambda env: env.from_batch(Stopping), "int"),
        (lambda env: env.from_batch(numbers), "int"),
        (lambda env: env.from_batch(numbers, 5), "int"),
        (lambda env: env.from_batch(generated), "int"),
        (lambda env: env.from_collection(functools.partial(numbers, 2)), "int"),
        (lambda env: env.from_source(Ticks), "float"),
        (lambda env: env.from_source(BracketedSource()), "float"),
        (lambda env: env.from_source(tick), "float"),
    ],
)
def test_sources(declare: Callable[[LocalEnvironment], DataStream[Any]], kind: str) -> None:
    """Their records are what they return, without the None or `STOP` that is no record."""
    assert message(declare(LocalEnvironment()).map(TEXT)) == f"map 'want_text': takes str, but gets {kind}"
    declare(fits := LocalEnvironment()).map(INT).print()
    assert fits.explain()


@pytest.mark.parametrize("records", [[1, 2], (1, 2), range(2), {1: 2}, iter([1]), lambda: [1], list, [None]], ids=str)
def test_records_themselves_are_not_looked_at(records: Any) -> None:
    """A test may well give stand-ins to a function; and nothing is taken out of an iterator."""
    env = LocalEnvironment()
    env.from_batch(records).map(TEXT).print()
    assert env.explain()


class Words(FlatMapFunction):
    def execute(self, value: str) -> Iterator[str]:
        yield from value.split()


def words(value: str) -> list[str] | None:
    return value.split() or None


def pairs(value: str) -> Iterable[tuple[str, int]]:
    return [(value, 1)]


def mixed(value: str) -> tuple[int, str]:
    return 1, value


def many_numbers(value: str) -> tuple[int, ...]:
    return (1,)


def table(value: str) -> dict[str, int]:
    return {value: 1}


def unpacked(value: str) -> tuple[int, *tuple[str, ...]]:
    return 1, value


def test_flatmap_puts_out_items() -> None:
    """Of whatever holds them."""
    for function, item in ((Words, "str"), (words, "str"), (pairs, "tuple[str, int]"), (table, "str")):
        assert message(of(to_text).flatmap(function).map(INT)) == f"map 'want_int': takes int, but gets {item}"
    assert message(of(to_text).flatmap(many_numbers).map(TEXT)) == "map 'want_text': takes str, but gets int"
    assert run(of(to_text).flatmap(mixed).filter(lambda each: each == "1").map(TEXT)) == ["1"]
    assert run(of(to_text).flatmap(unpacked).filter(lambda each: each == "1").map(TEXT)) == ["1"]
    assert run(of(to_text).flatmap(str.split).map(TEXT)) == ["1"]
    assert run(of(to_text).flatmap(lambda value: [1]).map(INT)) == [1]


def test_what_has_no_items_is_refused() -> None:
    """A str is taken for one record by mistake, and a number has none: it would fail at the first record."""

    def text(value: Any) -> str:
        return "text"

    def number(value: Any) -> int | bytes | None:
        return 1

    def perhaps(value: Any) -> int | list[int]:
        return [1]

    def nothing(value: Any) -> None: ...

    (problem,) = problems(of(same).flatmap(text))
    assert problem.message == "flatmap 'text': puts out the items of what it returns, but returns str"
    assert problem.hint == "return a list of records, or call .map(…), which puts out what is returned"
    (problem,) = problems(of(same).map_batches(number))  # type: ignore[arg-type]
    assert problem.message == "map_batches 'number': puts out the items of what it returns, but returns int or bytes"
    assert run(of(same).flatmap(perhaps).map(INT)) == [1]  # type: ignore[arg-type]
    assert run(of(same).flatmap(nothing).map(INT)) == []
    assert run(of(lambda value: [1]).flatmap(list).map(INT)) == [1]


def half(value: int) -> str | None:
    return str(value)


def test_filter_map_leaves_out_none() -> None:
    """None never goes on; whatever else is returned does."""
    assert message(of(to_int).filter_map(half).map(INT)) == "map 'want_int': takes int, but gets str"
    assert run(of(to_int).filter_map(half).map(TEXT)) == ["1"]
    assert run(of(to_int).map(half).map(TEXT)) == ["1"]
    assert message(of(to_text).filter_map(half)) == "filter_map 'half': takes int, but gets str"


def test_map_batches_takes_lists_and_puts_out_items() -> None:
    """Of arrays nothing is known."""

    def lengths(texts: list[str]) -> Iterator[int]:
        yield from map(len, texts)

    def halves(values: Sequence[float]) -> list[float]:
        return [value / 2 for value in values]

    assert message(of(to_int).map_batches(lengths)) == "map_batches 'lengths': takes batches of str, but gets int"
    assert message(of(to_text).map_batches(lengths).map(TEXT)) == "map 'want_text': takes str, but gets int"
    assert run(of(to_text).map_batches(lengths).map_batches(halves).map(INT)) == [0.5]
    assert run(of(to_int).map_batches(lambda values: [1]).map(INT)) == [1]

    def anything(values: list[str]) -> list[int]:
        return [1]

    assert run(of(to_int).map_batches(anything, as_array=True).map(INT)) == [1]


class Later(AsyncMapFunction):
    async def execute(self, value: int) -> str:
        return str(value)


class BracketedLater(AsyncMapFunction[int, str]):
    async def execute(self, value):  # type: ignore[no-untyped-def]
        return str(value)


async def later(value: int) -> str:
    return str(value)


def test_map_async_puts_out_what_is_awaited() -> None:
    """A coroutine function is annotated with what comes in the end."""
    for function in (Later, Later(), BracketedLater, later, functools.partial(later)):
        assert message(of(to_text).map_async(function)).endswith("ater': takes int, but gets str")
        assert message(of(to_int).map_async(function).map(INT)) == "map 'want_int': takes int, but gets str"
        assert run(of(to_int).map_async(function).map(TEXT)) == ["1"]


class Cheap(FilterFunction):
    def execute(self, value: Order) -> bool:
        return True


def is_text(value: object) -> TypeIs[str]:
    return isinstance(value, str)


def is_order(value: object) -> TypeGuard[Order]:
    return isinstance(value, Order)


def test_filters_pass_on_what_they_take() -> None:
    """A filter behind several types may let only one through, and with `TypeGuard` and `TypeIs` it says which."""
    assert message(of(to_int).filter(Cheap)) == "filter 'Cheap': takes Order, but gets int"
    assert message(of(to_order).filter(Cheap).map(INT)) == "map 'want_int': takes int, but gets Order"
    env = LocalEnvironment(backend="inline")
    both = of(to_int, env).union(of(to_text, env))
    assert run(both.filter(lambda value: isinstance(value, str)).map(TEXT)) == ["1"]
    env = LocalEnvironment(backend="inline")
    assert run(of(to_int, env).union(of(to_text, env)).filter(is_text).map(TEXT)) == ["1"]
    assert message(of(same).filter(is_text).map(INT)) == "map 'want_int': takes int, but gets str"
    assert message(of(same).filter(is_order).map(INT)) == "map 'want_int': takes int, but gets Order"
    env = LocalEnvironment()
    (problem,) = problems(of(to_int, env).union(of(to_text, env)).filter(bool).map(Cheap().execute))
    assert "takes Order, but gets int from map 'to_int' (" in problem.message
    assert ") or str from map 'to_text' (" in problem.message


class ByItem(KeyByFunction):
    def execute(self, value: Order) -> str:
        return value.item


def test_keyby_passes_types_through() -> None:
    """It takes records, and leaves them as they are."""
    assert message(of(to_int).keyby(ByItem)) == "keyby 'ByItem': takes Order, but gets int"
    assert message(of(to_int).keyby(same).map(TEXT)) == "map 'want_text': takes str, but gets int"
    assert run(of(to_order).keyby(ByItem).map(lambda order: order.cents).map(INT)) == [1]
    assert message(of(to_int).broadcast().map(TEXT)) == "map 'want_text': takes str, but gets int"
    assert message(of(to_int).rebalance().map(TEXT)) == "map 'want_text': takes str, but gets int"
    stream = of(to_int)
    stream.sink(same)
    assert message(stream.map(TEXT)) == "map 'want_text': takes str, but gets int"


class Sum(ReduceFunction):
    def execute(self, accumulated: int, value: int) -> int:
        return accumulated + value


class BracketedSum(ReduceFunction[int]):
    def execute(self, accumulated, value):  # type: ignore[no-untyped-def]
        return accumulated + value


def append(accumulated: list[int], value: int) -> list[int]:
    return [*accumulated, value]


def total(accumulated: float, value: int) -> float:
    return accumulated + value


def test_reduce() -> None:
    """Takes records twice: as what is new, and the first of a key as what is accumulated."""
    for function in (Sum, Sum(), BracketedSum, BracketedSum()):
        assert message(of(to_text).reduce(function)).endswith("Sum': takes int, but gets str")
        assert message(of(to_int).reduce(function).map(TEXT)) == "map 'want_text': takes str, but gets int"
        assert run(of(to_int).reduce(function).map(INT)) == [1]
    assert message(of(to_int).keyby(same).reduce(append)) == (
        "reduce 'append': what it accumulates begins as a record: takes list[int], but gets int"
    )
    assert run(of(to_int).keyby(same).reduce(total).map(INT)) == [1]
    assert run(of(to_int).keyby(same).reduce(max).map(INT)) == [1]
    assert run(of(to_int).keyby(same).reduce(lambda one, other: one + other).map(TEXT)) == [1]


class Mean(AggregateFunction):
    def create(self) -> tuple[int, int]:
        return 0, 0

    def add(self, accumulator: tuple[int, int], value: int) -> tuple[int, int]:
        return accumulator[0] + value, accumulator[1] + 1

    def result(self, accumulator: tuple[int, int]) -> float:
        return accumulator[0] / accumulator[1]


class Collected(AggregateFunction):
    """Without a result of its own."""

    def create(self) -> list[int]:
        return []

    def add(self, accumulator: list[int], value: int) -> list[int]:
        return [*accumulator, value]


class BracketedMean(AggregateFunction[int, tuple[int, int], float]):
    def create(self):  # type: ignore[no-untyped-def]
        return 0, 0

    def add(self, accumulator, value):  # type: ignore[no-untyped-def]
        return accumulator[0] + value, accumulator[1] + 1

    def result(self, accumulator):  # type: ignore[no-untyped-def]
        return accumulator[0] / accumulator[1]


def test_aggregate() -> None:
    """Takes what `add` takes second, puts out its result, or what was accumulated."""
    for function in (Mean, Mean(), BracketedMean):
        assert message(of(to_text).aggregate(function)).endswith("Mean': its add takes int, but gets str")
        assert message(of(to_int).aggregate(function).map(TEXT)) == "map 'want_text': takes str, but gets float"
        assert run(of(to_int).aggregate(function).map(INT)) == [1.0]
    assert message(of(to_int).aggregate(Collected).map(INT)) == "map 'want_int': takes int, but gets list[int]"


class Pair(CoMapFunction):
    def map0(self, value: int) -> int:
        return value

    def map1(self, value: str) -> Order:
        return Order(value, 1)


def test_comap_has_a_type_for_each_input() -> None:
    """Taken and put out."""
    env = LocalEnvironment()
    (first, second) = problems(of(to_text, env).connect(of(to_int, env)).comap(Pair))
    assert "comap 'Pair': its map0 takes int, but gets str from map 'to_text'" in first.message
    assert "comap 'Pair': its map1 takes str, but gets int from map 'to_int'" in second.message
    env = LocalEnvironment()
    (problem,) = problems(of(to_int, env).connect(of(to_text, env)).comap(Pair()).map(INT))
    assert "takes int, but gets Order from comap 'Pair'" in problem.message
    env = LocalEnvironment()
    (problem,) = problems(of(to_int, env).connect(of(to_int, env)).comap(want_int, want_text))
    assert "comap 'want_int+want_text': its map1 takes str, but gets int from map 'to_int'" in problem.message
    env = LocalEnvironment(backend="inline")
    pair = of(to_int, env).connect(of(to_text, env)).keyby(same, same)
    assert run(pair.comap(want_int, lambda value: 2).map(INT)) == [1, 2]


class Tagged(MapFunction):
    def execute(self, value: int) -> int:
        self.context.side_output("text", "1")
        return value


def test_side_outputs_say_nothing() -> None:
    """What goes there is in no annotation; nor are dead letters records of the operator."""
    main = of(to_int).map(Tagged)
    main.map(INT).print()
    assert run(main.side_output("text").map(TEXT)) == ["1"]
    failing = of(to_int).map(INT, on_error=dead_letter())
    failing.print()
    assert run(failing.dead_letters.map(TEXT)) == []


def test_union_has_the_records_of_all() -> None:
    """One stream of a wrong type is enough."""
    env = LocalEnvironment()
    (problem,) = problems(of(to_text, env).union(of(to_int, env), of(same, env)).map(TEXT))
    assert "takes str, but gets int from map 'to_int'" in problem.message

    def either(value: int | str) -> int | str:
        return value

    env = LocalEnvironment(backend="inline")
    assert run(of(to_text, env).union(of(to_int, env)).map(either).map(INT)) == ["1", 1]


class Store(SinkFunction):
    def execute(self, value: Order) -> None: ...


def test_sinks() -> None:
    """They take, and put out nothing."""
    env = LocalEnvironment()
    of(to_int, env).sink(Store).sink(TEXT)
    with pytest.raises(GraphError) as caught:
        env.explain()
    assert [problem.message.partition(" from")[0] for problem in caught.value.problems] == [
        "sink 'Store': takes Order, but gets int",
        "sink 'want_text': takes str, but gets int",
    ]


# How to disagree


def test_what_to_do_if_one_knows_better() -> None:
    """`Any` in the annotation, or a lambda around what cannot be changed."""

    def loose(value: Any) -> str:
        return str(value)

    assert run(of(to_int).map(loose).map(TEXT)) == ["1"]
    assert run(of(to_int).map(lambda value: want_text(value))) == [1]
    assert run(of(to_int).map(cast("Callable[[Any], Any]", lambda value: want_text(value)))) == [1]


def test_generic_functions_are_judged_by_their_bounds() -> None:
    """A type variable stands for anything, or for what its bound allows."""
    Text = TypeVar("Text", bound=str)

    class Same(MapFunction[T, T]):
        def execute(self, value: T) -> T:
            return value

    def first(value: Text) -> Text:
        return value

    first.__annotations__.update(value=Text, **{"return": Text})
    assert run(of(to_int).map(Same).map(INT)) == [1]
    assert run(of(to_int).map(Same[int]).map(INT)) == [1]
    assert message(of(to_int).map(first)) == "map 'first': takes Text, but gets int"
    assert run(of(to_text).map(first).map(TEXT)) == ["1"]


def test_nothing_is_imported_for_it() -> None:
    """Names of modules that nobody has imported stay unknown."""
    heavy = types.ModuleType("heavy")

    def lazy(name: str) -> Any:
        raise AssertionError(f"{name} was asked for")

    heavy.__getattr__ = lazy  # type: ignore[method-assign]
    names: dict[str, Any] = {"heavy": heavy}
    exec("from __future__ import annotations\ndef f(x: heavy.Frame) -> heavy.Frame: return x", names)
    assert run(of(to_int).map(names["f"]).map(TEXT)) == [1]


def test_mappings_and_their_relatives() -> None:
    """A class may be given where one of its bases is named, with what it holds."""

    def ordered(value: Any) -> OrderedDict[str, int]:
        return OrderedDict(a=1)

    def mapping(value: Mapping[str, int]) -> int:
        return value["a"]

    def by_number(value: Mapping[int, int]) -> int:
        return 0

    assert run(of(ordered).map(mapping).map(INT)) == [1]
    assert "takes Mapping[int, int], but gets OrderedDict[str, int]" in message(of(ordered).map(by_number))


def test_unions_and_optionals() -> None:
    """It is enough that one of them fits."""

    def perhaps(value: Any) -> int | None:
        return 1

    def some(value: str | bytes) -> str:
        return str(value)

    def or_none(value: str | None) -> str:
        return str(value)

    assert run(of(perhaps).map(INT)) == [1]
    assert message(of(perhaps).map(some)) == "map 'some': takes str | bytes, but gets int | None"
    assert run(of(perhaps).map(or_none)) == ["1"]
