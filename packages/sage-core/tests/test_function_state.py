"""Attributes as state: which of a function's are saved, which are made anew, and which are refused by name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import pytest

from sage.core.api import BaseFunction, BaseService, LocalEnvironment, MapFunction, RuntimeContext
from sage.core.engine.attributes import Attributes, lay_over, load_attributes
from sage.core.errors import JobFailedError, StateError


class Plain:
    """A function of no base class, as the engine takes it too."""

    def __init__(self) -> None:
        self.count = 0
        self.items: list[int] = []
        self.alias = self.items

    def execute(self, value: int) -> int:
        return value


def anew(function: Any, opening: Callable[[Any], None] = lambda _: None) -> tuple[Any, Attributes]:
    """A function that was opened, and its attributes."""
    attributes = Attributes(function)
    opening(function)
    attributes.check()
    return function, attributes


def test_attributes_come_back_with_what_they_share() -> None:
    """Two names for one object are that again."""
    function, attributes = anew(Plain())
    function.count, function.late = 3, "new"
    function.items.append(7)
    other = Plain()
    lay_over(other, load_attributes(attributes.save(), other))
    assert (other.count, other.items, other.late) == (3, [7], "new")  # type: ignore[attr-defined]
    assert other.alias is other.items


@dataclass(frozen=True)
class Frozen:
    factor: int
    seen: list[int] = field(default_factory=list)

    def execute(self, value: int) -> int:
        self.seen.append(value)
        return value * self.factor


class Slotted:
    __slots__ = ("__private", "count", "unset")

    def __init__(self) -> None:
        self.count = 0
        self.__private = "kept"

    def execute(self, value: int) -> int:
        return value

    def private(self) -> str:
        return self.__private

    def change(self) -> None:
        self.__private = "changed"


def test_frozen_and_slotted_functions() -> None:
    """Neither a frozen dataclass nor slots are in the way."""
    frozen, attributes = anew(Frozen(2))
    frozen.execute(5)
    other = Frozen(2)
    lay_over(other, load_attributes(attributes.save(), other))
    assert other == Frozen(2, [5])
    slotted, attributes = anew(Slotted())
    slotted.count = 9
    slotted.change()
    second = Slotted()
    lay_over(second, load_attributes(attributes.save(), second))
    assert (second.count, second.private()) == (9, "changed")


def test_references_to_the_function_itself_lead_to_the_new_one() -> None:
    """A table of bound methods works again, and belongs to the function it was laid over."""

    class Table(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.table = {"up": self.up}
            self.me = [self]

        def up(self) -> int:
            self.count += 1
            return self.count

    function, attributes = anew(Table())
    function.table["up"]()
    other = Table()
    lay_over(other, load_attributes(attributes.save(), other))
    assert other.table["up"]() == 2
    assert other.count == 2
    assert other.me == [other]


def test_what_open_has_bound_and_cannot_be_pickled_is_made_anew() -> None:
    """A lock of open() is left out, also after the first time; what else open() bound is state."""

    def opening(function: Any) -> None:
        function.lock = threading.Lock()
        function.opened = 1

    function, attributes = anew(Plain(), opening)
    function.opened = 2
    for _ in range(2):
        assert set(load_attributes(attributes.save(), Plain())) == {"count", "items", "alias", "opened"}


def test_transient_names_are_left_out() -> None:
    """They need not even be picklable."""

    class Careless(Plain):
        transient: ClassVar[tuple[str, ...]] = ("lock", "items")

        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    _, attributes = anew(Careless())
    assert set(load_attributes(attributes.save(), Careless())) == {"count", "alias"}


def test_code_is_no_state() -> None:
    """Functions and classes come with the program: a lambda as an attribute is in nobody's way."""

    class Apply(Plain):
        def __init__(self, function: Callable[[int], int]) -> None:
            super().__init__()
            self.function = function
            self.module = threading

    _, attributes = anew(Apply(lambda value: value + 1))
    assert "function" not in load_attributes(attributes.save(), Plain())


def test_too_much_state_is_refused_and_the_largest_attribute_named() -> None:
    """The message tells which attribute takes how much."""
    function, attributes = anew(Plain())
    function.blob = bytes(10_000)
    with pytest.raises(StateError, match=r"5,000 are allowed; the largest attribute is 'blob' with 10,0\d\d") as caught:
        attributes.save(most=5_000)
    assert caught.value.attribute == "blob"


def test_a_class_that_is_gone_is_named() -> None:
    """State meets the classes of the program that loads it; where there are none, the error says so."""

    class Local:
        pass

    Local.__qualname__ = "Vanishing"
    globals()["Vanishing"] = Local
    function, attributes = anew(Plain())
    function.value = Local()
    saved = attributes.save()
    del globals()["Vanishing"]
    with pytest.raises(StateError, match="its saved attributes cannot be loaded: AttributeError"):
        load_attributes(saved, Plain())


class Locked(MapFunction):
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def execute(self, value: int) -> int:
        return value


class Stepping(MapFunction):
    def __init__(self) -> None:
        self.steps = [lambda value: value + 1]

    def execute(self, value: int) -> int:
        return value


class Generating(MapFunction):
    def __init__(self) -> None:
        self.numbers: Iterator[int] = iter(partial(int), 1)
        self.later = (number for number in range(3))

    def execute(self, value: int) -> int:
        return value


class Named(MapFunction):
    """Its ``__dict__`` is asked for early, as copying an instance does, too."""

    def __init__(self) -> None:
        vars(self).update(lock=threading.Lock())

    def execute(self, value: int) -> int:
        return value


class Exits:
    def __reduce__(self) -> str:
        raise SystemExit(3)


class Exiting(MapFunction):
    def __init__(self) -> None:
        self.leaves = Exits()

    def execute(self, value: int) -> int:
        return value


CARELESS = [(Exiting, "leaves"), (Locked, "lock"), (Stepping, "steps"), (Generating, "later"), (Named, "lock")]


@pytest.mark.parametrize(("function", "name"), CARELESS)
def test_state_that_cannot_be_saved_is_refused_before_the_first_record(
    backend: str, function: type[MapFunction], name: str
) -> None:
    """On every backend alike: the operator, the attribute, and what to do about it."""
    env = LocalEnvironment("unsaved", backend)
    results = env.from_collection([1, 2]).map(function, name="careless").collect()
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True)
    told = str(caught.value)
    assert (
        f"map 'careless' failed as its state was looked at: StateError: its attribute '{name}' cannot be saved: "
        in told
    )
    assert "make it in open(), or name it in the class's `transient`" in told
    assert results == []


def test_a_transient_that_is_one_text_is_refused(backend: str) -> None:
    """A forgotten comma would make a collection of letters of it."""

    class Comma(BaseFunction):
        transient = "lock"

        def execute(self, value: int) -> int:
            return value

    env = LocalEnvironment("comma", backend)
    env.from_collection([1]).map(Comma).collect()
    with pytest.raises(JobFailedError, match="transient must be a collection of names, not the text 'lock'"):
        env.submit(autostop=True)


class Answering(BaseService):
    def answer(self) -> int:
        return 42


class Asking(MapFunction):
    """Keeps what is no state: context, logger and handles on services."""

    def open(self, context: RuntimeContext) -> None:
        self.service = context.call_service("answers")
        self.many = [self.service]
        self.log = self.logger

    def execute(self, value: int) -> int:
        return value + int(self.service.answer())


def test_context_logger_and_services_are_no_state(backend: str) -> None:
    """Whoever keeps them in attributes is not refused."""
    env = LocalEnvironment("services", backend)
    env.register_service("answers", Answering)
    results = env.from_collection([0]).map(Asking).collect()
    env.submit(autostop=True)
    assert results == [42]
