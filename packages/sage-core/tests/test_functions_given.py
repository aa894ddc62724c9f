"""What may be given as a function, judged before anything runs: kinds, constructors, signatures."""

from __future__ import annotations

import abc
import functools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sage.core import api
from sage.core.api import (
    AggregateFunction,
    BaseFunction,
    BatchFunction,
    ConnectedStreams,
    FilterFunction,
    FlatMapFunction,
    KeyByFunction,
    LocalEnvironment,
    MapFunction,
    ReduceFunction,
    SinkFunction,
    SourceFunction,
    WindowedStream,
)
from sage.core.graph.functions import describe_data, describe_function, describe_functions, describe_service

LIMIT = 60.0
KINDS = {
    "batch": BatchFunction,
    "source": SourceFunction,
    "map": MapFunction,
    "filter": FilterFunction,
    "flatmap": FlatMapFunction,
    "keyby": KeyByFunction,
    "reduce": ReduceFunction,
    "sink": SinkFunction,
}


def slip(given: Any, kind: str, *args: Any, **kwargs: Any) -> str:
    """The one thing that is wrong with a function, with its hint."""
    slips = describe_function(given, args, kwargs, kind).slips
    assert len(slips) == 1, slips
    return f"{slips[0].message} | {slips[0].hint}"


def fine(given: Any, kind: str, *args: Any, **kwargs: Any) -> str:
    described = describe_function(given, args, kwargs, kind)
    assert described.slips == ()
    return f"{described.spec.form} {described.name}"


def define(kind: str) -> type:
    """A function class of a kind, with the right number of arguments."""
    body = {0: lambda self: None, 1: lambda self, value: value, 2: lambda self, left, right: left}
    count = {"batch": 0, "source": 0, "reduce": 2}.get(kind, 1)
    return type("Own", (KINDS[kind],), {"execute": body[count]})


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_takes_its_own_class_as_class_and_as_instance(kind: str) -> None:
    """The base class of a kind fits the kind."""
    own = define(kind)
    assert fine(own, kind) == "class Own"
    assert fine(own(), kind) == "instance Own"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_a_class_of_another_kind_is_refused_with_advice(kind: str, other: str) -> None:
    """The error names both kinds, the base class to use, and the method that takes this one."""
    if kind == other:
        return
    own = define(other)
    for given in (own, own()):
        text = slip(given, kind)
        assert text.startswith(f"is a {other} function, but this is a {kind} operator | derive it from ")
        assert KINDS[kind].__name__ in text
        assert f"call {'env.from_' if other in ('batch', 'source') else '.'}{other}(…)" in text


BASES = [each for each in map(vars(api).get, api.__all__) if "__sage_function__" in getattr(each, "__dict__", {})]


@pytest.mark.parametrize("base", BASES)
def test_the_advice_for_every_class_names_a_method_that_there_is(base: type) -> None:
    """Also for classes that belong to several streams, or to windows."""
    if base is BaseFunction:
        return
    kind = "sink" if base is not SinkFunction else "map"
    called = slip(type("Own", (base,), {}), kind).rpartition("call ")[2].removesuffix("(…)")
    stream: Any = LocalEnvironment("advice").from_batch([1])
    owner = {"env": LocalEnvironment, ".window(…)": WindowedStream, ".connect(…)": ConnectedStreams}
    before, _, method = called.rpartition(".")
    assert callable(getattr(owner.get(before, type(stream)), method)), called


class Any1(BaseFunction):
    def execute(self, value: Any) -> Any:
        return value


class Bare:
    def execute(self, value: Any) -> Any:
        return value


class Scale(MapFunction):
    def __init__(self, factor: int, *, offset: int = 0) -> None:
        self.factor = factor
        self.offset = offset

    def execute(self, value: Any) -> Any:
        return value * self.factor + self.offset


@dataclass(frozen=True)
class Frozen(MapFunction):
    factor: int

    def execute(self, value: Any) -> Any:
        return value * self.factor


@pytest.mark.parametrize("kind", ["map", "filter", "flatmap", "keyby", "sink"])
def test_base_functions_and_bare_classes_fit_every_operator_of_one_input(kind: str) -> None:
    """What has ``execute(value)`` is taken."""
    assert fine(Any1, kind) == "class Any1"
    assert fine(Bare, kind) == "class Bare"
    assert fine(Bare(), kind) == "instance Bare"


def test_constructor_arguments_are_checked_where_they_are_given() -> None:
    """Too few, too many and unknown ones are told with the signature."""
    assert fine(Scale, "map", 2) == "class Scale"
    assert fine(Scale, "map", 2, offset=1) == "class Scale"
    assert "missing a required argument: 'factor' (it takes (factor: " in slip(Scale, "map")
    assert "too many positional arguments" in slip(Scale, "map", 1, 2)
    assert "unexpected keyword argument 'offsett'" in slip(Scale, "map", 1, offsett=3)
    assert "constructor arguments only go with a function class" in slip(Scale(1), "map", 2)
    assert "constructor arguments only go with a function class" in slip(len, "map", 2)


class Nothing(MapFunction):
    pass


class TwoArguments:
    def execute(self, left: Any, right: Any) -> Any:
        return left


class Static:
    @staticmethod
    def execute(value: Any) -> Any:
        return value


class OfClass:
    @classmethod
    def execute(cls, value: Any) -> Any:
        return value


class Lazy:
    async def execute(self, value: Any) -> Any:
        return value


async def coroutine(value: Any) -> Any:
    return value


async def async_generator(value: Any) -> AsyncIterator[Any]:
    yield value


class AsyncCall:
    async def __call__(self, value: Any) -> Any:
        return value


def test_execute_is_looked_at() -> None:
    """Missing, abstract, of the wrong number of arguments, or a coroutine: found before anything runs."""
    assert "does not define execute" in slip(Nothing, "map")
    assert "its execute cannot be called with 1 argument, as map does" in slip(TwoArguments, "map")
    assert fine(TwoArguments, "reduce") == "class TwoArguments"
    assert "cannot be called with 2 arguments, as reduce does" in slip(Bare, "reduce")
    assert "cannot be called with 0 arguments, as batch does" in slip(Bare, "batch")
    for method in (Static, OfClass, Static(), OfClass()):
        fine(method, "map")
    for given in (Lazy, Lazy(), coroutine, functools.partial(coroutine), async_generator, AsyncCall()):
        assert "coroutine function, which map would call and never await" in slip(given, "map")


def test_abstract_classes_are_refused() -> None:
    """A class that its base keeps from being built is named with what is missing."""

    class Demanding(MapFunction):
        def execute(self, value: Any) -> Any:
            return value

        @abc.abstractmethod
        def table(self) -> str: ...

    assert slip(Demanding, "map") == "does not define table, which its base demands | None"


def test_callables_of_all_sorts() -> None:
    """Functions, lambdas, built-ins, classes that are called, partials and bound methods, each with a name."""
    assert fine(len, "map") == "callable len"
    assert fine(str, "map") == "callable str"
    assert fine(lambda value: value, "map") == "callable <lambda>"
    assert fine([].append, "sink") == "callable list.append"
    assert fine(functools.partial(pow, 2), "map") == "callable pow"
    assert fine(Scale(2).execute, "map") == "callable Scale.execute"
    assert fine(max, "reduce") == "callable max"
    assert "cannot be called with 1 argument, as map does" in slip(lambda: 1, "map")
    assert "cannot be called with 2 arguments, as reduce does" in slip(lambda value: value, "reduce")


@pytest.mark.parametrize("given", [None, 3, "name", [1], object()], ids=repr)
def test_what_is_no_function_at_all(given: Any) -> None:
    """The error says what is expected, with an example."""
    text = slip(given, "flatmap")
    assert f"not {type(given).__name__}" in text
    assert "FlatMapFunction" in text


def numbers(limit: int = 3) -> Iterator[int]:
    return iter(range(limit))


def data_slip(given: Any, *args: Any) -> str:
    slips = describe_data(given, args, {}).slips
    assert len(slips) == 1
    return slips[0].message


def test_records_may_be_given_as_iterables_or_as_callables_that_make_them() -> None:
    """What cannot be one is refused, strings above all: they would fall apart into letters."""
    for given in ([1], (1,), {1}, {"a": 1}, range(3), numbers(), numbers, lambda: [1]):
        assert describe_data(given, (), {}).slips == ()
    assert describe_data(numbers, (5,), {}).slips == ()
    for text in ("abc", b"abc", bytearray(b"abc")):
        assert "is one value, not a collection of records" in data_slip(text)
    assert data_slip(5).endswith("not int")
    assert describe_data(5, (6,), {}).slips[0].hint == "put the records into a list: env.from_batch([…])"
    assert slip([1], "source").endswith("not list | env.from_batch(…) reads records that are there")
    assert "too many positional arguments" in data_slip(numbers, 1, 2)
    assert "arguments only go with a class or a callable" in data_slip([1], 2)
    assert "is a function, not a collection of records" in data_slip(define("batch"))
    assert "is a function, not a collection of records" in data_slip(define("map")())


def test_all_forms_run(backend: str) -> None:
    """Classes with arguments, instances, frozen dataclasses, static methods and callables, one after the other."""
    out: list[int] = []
    env = LocalEnvironment(backend=backend)
    stream = env.from_batch(numbers, 4).map(Scale, 2, offset=1).map(Scale(3)).map(Frozen, 5).map(Frozen(1))
    stream.map(Static).map(OfClass()).map(int).map(functools.partial(pow, exp=1)).sink(out.append)
    env.submit(autostop=True, timeout=LIMIT)
    assert out == [(number * 2 + 1) * 15 for number in range(4)]


def test_the_context_is_only_there_while_running() -> None:
    """Asked too early, it says when it will be there, in a way that `hasattr` understands."""
    function = Scale(1)
    assert not hasattr(function, "context")
    with pytest.raises(AttributeError, match=r"Scale\.context is there from open\(\) on"):
        _ = function.context
    assert function.logger.name == "sage.function.Scale"


@pytest.mark.parametrize("kind", ["sink", "filter", "keyby", "reduce"])
def test_a_generator_function_where_nobody_would_run_it_is_refused(kind: str) -> None:
    """Called as a sink, a generator function does nothing at all; that is told before it can happen."""

    def lazy(*values: Any) -> Any:
        yield from values

    (slip,) = describe_function(lazy, (), {}, kind).slips
    assert "is a generator function" in slip.message
    assert describe_function(lazy, (), {}, "flatmap").slips == ()


@pytest.mark.parametrize("kind", ["map", "filter_map"])
def test_a_map_that_yields_is_refused(kind: str) -> None:
    """Its records would be generators, which print as no one wants them; the hint leads to `flatmap`."""

    def lazy(value: Any) -> Any:
        yield value

    class Lazily(Bare):
        def execute(self, value: Any) -> Any:
            yield value

    for given in (lazy, Lazily, Lazily()):
        (slip,) = describe_function(given, (), {}, kind).slips
        assert "a generator as a record" in slip.message
        assert ".flatmap(" in str(slip.hint)
        assert describe_function(given, (), {}, "flatmap").slips == ()
    (slip,) = describe_functions((lazy, str), "comap", 2).slips
    assert ".flatmap(" in str(slip.hint)


@pytest.mark.parametrize("kind", ["batch", "source"])
def test_a_source_that_yields_is_refused(kind: str) -> None:
    """Each call would give one more generator as a record, without end; the hint leads to `from_batch`."""

    def lazy() -> Any:
        yield 1

    class Lazily(Bare):
        def execute(self) -> Any:  # type: ignore[override]
            yield 1

    for given in (lazy, Lazily, Lazily()):
        (slip,) = describe_function(given, (), {}, kind).slips
        assert "is a generator function" in slip.message
        assert "env.from_batch" in str(slip.hint)
    assert describe_data(lazy, (), {}).slips == ()


def test_a_keyword_with_a_slip_of_the_pen_is_named() -> None:
    """What was given is named, and what was probably meant; far-off keywords leave the usual hint."""
    assert slip(len, "map", paralellism=2) == (
        "constructor arguments only go with a function class: paralellism=… | did you mean parallelism=?"
    )
    assert slip(Scale, "map", 1, onerror=2).endswith("| did you mean on_error=?")
    assert slip(len, "map", 3, factor=2) == (
        "constructor arguments only go with a function class: int, factor=…"
        " | bind them: a lambda, or functools.partial(len, …), which puts them before the record"
    )
    assert slip(Scale(1), "map", 3).endswith("| give them where it is made: Scale(…)")
    assert "call .aggregate(…), where create() gives it" in slip(max, "reduce", 0)


class OpensAlone(MapFunction):
    def open(self) -> None:  # type: ignore[override]
        """Takes no context."""

    def close(self, context: Any) -> None:  # type: ignore[override]
        """Takes too much."""

    def execute(self, value: Any) -> Any:
        return value


@pytest.mark.parametrize("given", [OpensAlone, OpensAlone()])
def test_open_and_close_are_looked_at(given: Any) -> None:
    """What they are called with is checked as it is for ``execute``, of functions and of services."""
    for described in (describe_function(given, (), {}, "map"), describe_service(given, (), {})):
        assert [slip.message.partition(": ")[0] for slip in described.slips] == [
            "its open cannot be called as SAGE does",
            "its close cannot be called as SAGE does",
        ]
        assert [slip.hint for slip in described.slips] == ["def open(self, context): …", "def close(self): …"]


class OpensLazily(BaseFunction):
    def open(self, context: Any) -> Iterator[None]:  # type: ignore[override]
        yield

    async def close(self) -> AsyncIterator[None]:  # type: ignore[override]
        yield

    async def execute(self, value: Any) -> Any:
        return value


class OpensLazilyInMap(OpensLazily):
    def execute(self, value: Any) -> Any:
        return value


def test_open_and_close_that_yield_are_refused() -> None:
    """Nothing of a generator runs when it is called."""
    given = [describe_function(OpensLazilyInMap, (), {}, "map"), describe_function(OpensLazily, (), {}, "map_async")]
    for described in (*given, describe_service(OpensLazily, (), {})):
        assert [slip.message for slip in described.slips] == [
            f"its {name} is a generator function: SAGE would call it, and nothing of it would ever run"
            for name in ("open", "close")
        ]


def test_a_class_that_is_neither_a_function_nor_called_with_a_record_lacks_execute() -> None:
    """It is not only told of arguments that its constructor does not take."""

    class Process:
        def process(self, value: Any) -> Any:
            return value

    assert slip(Process, "map").startswith("does not define execute, and it cannot be called with 1 argument")
    assert slip(Process, "map").endswith(" | what a map function has to define: execute")


def test_what_an_aggregate_has_to_define_leaves_out_what_it_inherits() -> None:
    """``result`` has a default."""

    class Total(AggregateFunction):
        def create(self) -> int:
            return 0

    assert slip(Total, "aggregate") == "does not define add | what an aggregate function has to define: create, add"
