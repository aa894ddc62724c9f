"""Keyed state: what functions keep for each key, at any parallelism, and what of it a failing call leaves behind."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sage.core.api import (
    AggregateFunction,
    BaseFunction,
    CoMapFunction,
    LocalEnvironment,
    MapFunction,
    ReducingState,
    RuntimeContext,
    retry,
    skip,
)
from sage.core.errors import JobFailedError, StateError
from sage.core.plan.planner import make_plan

WORDS = ["a", "b", "a", "c", "a", "b", "", "b", "c", "a"]


class RunningCount(MapFunction):
    def open(self, context: RuntimeContext) -> None:
        self.count = context.value_state("count", 0)

    def execute(self, word: str) -> tuple[str, int]:
        count = self.count.get() + 1
        self.count.set(count)
        return word, count


class Everything(MapFunction):
    """Keeps each value in a list, each distinct one with its count in a map, and the largest."""

    def open(self, context: RuntimeContext) -> None:
        self.seen = context.list_state("seen")
        self.counts = context.map_state("counts")
        self.largest: ReducingState[int] = context.reducing_state("largest", max)

    def execute(self, record: tuple[Any, int]) -> tuple[Any, list[int], dict[int, int], int]:
        _, value = record
        self.seen.append(value)
        self.counts[value] = self.counts.get(value, 0) + 1
        return self.context.key, self.seen.get(), dict(self.counts), self.largest.add(value)


def expected(records: list[tuple[Any, int]]) -> list[Any]:
    """What `Everything` puts out, worked out with plain dictionaries."""
    seen: dict[Any, list[int]] = {}
    found = []
    for key, value in records:
        mine = seen.setdefault(key, [])
        mine.append(value)
        found.append((key, list(mine), {item: mine.count(item) for item in mine}, max(mine)))
    return found


def canonical(results: list[Any]) -> list[str]:
    return sorted(f"{key!r} {seen} {sorted(counts.items())} {largest}" for key, seen, counts, largest in results)


@pytest.mark.parametrize("parallelism", [1, 2, 5])
def test_a_running_count(backend: str, parallelism: int) -> None:
    """Each key has a value of its own, whichever subtask looks after it."""
    env = LocalEnvironment("count", backend)
    results = env.from_collection(WORDS).keyby(lambda word: word).map(RunningCount, parallelism=parallelism).collect()
    env.submit(autostop=True)
    assert sorted(results) == sorted((word, WORDS[: place + 1].count(word)) for place, word in enumerate(WORDS))


@given(st.lists(st.tuples(st.sampled_from(["x", "y", 1, None, ("t", 2)]), st.integers(0, 3))), st.integers(1, 3))
def test_all_kinds_against_plain_dictionaries(records: list[tuple[Any, int]], parallelism: int) -> None:
    """Lists, maps and reduced values are those of the key in hand; None is a key like any other."""
    env = LocalEnvironment("kinds", "inline")
    keyed = env.from_collection(records).keyby(operator.itemgetter(0))
    results = keyed.map(Everything, parallelism=parallelism).collect()
    env.submit(autostop=True)
    assert canonical(results) == canonical(expected(records))


def test_equal_keys_of_different_types_share_their_state(backend: str) -> None:
    """1, True and 1.0 are one key, at any parallelism."""
    env = LocalEnvironment("equal", backend)
    keys: list[Any] = [1, True, 1.0]
    results = env.from_collection(keys).keyby(lambda key: key).map(RunningCount, parallelism=3).collect()
    env.submit(autostop=True)
    assert [count for _, count in results] == [1, 2, 3]


class Step(NamedTuple):
    """One thing that a call does to its state."""

    what: str
    value: int


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            [
                "set",
                "clear value",
                "append",
                "set list",
                "clear list",
                "insert",
                "replace",
                "take",
                "cut",
                "put",
                "drop",
                "clear map",
                "add",
                "clear reduced",
            ]
        ),
        st.integers(0, 3),
    ),
    max_size=6,
)


class Scripted(MapFunction):
    """Does what the record says to all kinds of state, then fails as often as it says, and tells what is there."""

    failed: dict[int, int]

    def __init__(self) -> None:
        self.failed = {}

    def open(self, context: RuntimeContext) -> None:
        self.value = context.value_state("value")
        self.list = context.list_state("list")
        self.map = context.map_state("map")
        self.reduced = context.reducing_state("reduced", operator.add)

    def execute(self, record: tuple[int, str, list[Step], int]) -> Any:
        number, _, steps, failures = record
        for step in steps:
            self._do(step)
        if self.failed.get(number, 0) < failures:
            self.failed[number] = self.failed.get(number, 0) + 1
            raise ValueError(f"record {number}")
        return self.value.get(), self.list.get(), sorted(self.map.items()), self.reduced.get()

    def _do(self, step: Step) -> None:
        what, value = step
        doing: dict[str, Callable[[], object]] = {
            "set": lambda: self.value.set(value),
            "clear value": self.value.clear,
            "append": lambda: self.list.append(value),
            "set list": lambda: self.list.set([value] * value),
            "clear list": self.list.clear,
            "insert": lambda: self.list.insert(value - 1, value),
            "replace": lambda: self.list.__setitem__(-1, value) if self.list else None,
            "take": lambda: self.list.pop(value % len(self.list)) if self.list else None,
            "cut": lambda: self.list.__delitem__(slice(value, None)),
            "put": lambda: self.map.__setitem__(value, value),
            "drop": lambda: self.map.pop(value, None),
            "clear map": self.map.clear,
            "add": lambda: self.reduced.add(value),
            "clear reduced": self.reduced.clear,
        }
        doing[what]()


class Model:
    """What one key keeps, in plain Python."""

    def __init__(self) -> None:
        self.value: int | None = None
        self.list: list[int] = []
        self.map: dict[int, int] = {}
        self.reduced: int | None = None

    def do(self, step: Step) -> None:
        what, value = step
        if what == "set":
            self.value = value
        elif what == "clear value":
            self.value = None
        elif what == "append":
            self.list.append(value)
        elif what == "set list":
            self.list = [value] * value
        elif what == "clear list":
            self.list = []
        elif what == "insert":
            self.list.insert(value - 1, value)
        elif what == "replace":
            self.list[-1:] = [value] if self.list else []
        elif what == "take":
            if self.list:
                self.list.pop(value % len(self.list))
        elif what == "cut":
            del self.list[value:]
        elif what == "put":
            self.map[value] = value
        elif what == "drop":
            self.map.pop(value, None)
        elif what == "clear map":
            self.map = {}
        elif what == "add":
            self.reduced = value if self.reduced is None else self.reduced + value
        else:
            self.reduced = None

    def told(self) -> Any:
        return self.value, self.list[:], sorted(self.map.items()), self.reduced


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from("ab"), STEPS, st.sampled_from([0, 0, 1, 3])), max_size=12), st.booleans())
@example([("b", [Step("put", 1)], 0), ("b", [Step("put", 0), Step("drop", 1)], 3), ("b", [], 0)], True)
def test_a_failing_call_leaves_no_trace_in_keyed_state(calls: list[Any], retried: bool) -> None:
    """What a call wrote before it failed is set back, before the next try and where its record is given up."""
    records = [(number, *call) for number, call in enumerate(calls)]
    policy = retry(2, backoff=0.0, then=skip()) if retried else skip()
    env = LocalEnvironment("undo", "inline")
    keyed = env.from_collection(records).keyby(operator.itemgetter(1))
    results = keyed.map(Scripted, on_error=policy).collect()
    env.submit(autostop=True)
    models: dict[str, Model] = {}
    told = []
    for _, key, steps, failures in records:
        if failures <= (2 if retried else 0):
            model = models.setdefault(key, Model())
            for step in steps:
                model.do(step)
            told.append(model.told())
    assert results == told


@given(st.lists(st.tuples(st.sampled_from(["+", "-", "!", "r", "s", ":"]), st.integers(-4, 4)), max_size=10))
def test_a_list_state_is_used_like_any_list(steps: list[tuple[str, int]]) -> None:
    """What a mutable sequence offers does to it what it does to a list, errors included."""

    class Both(MapFunction):
        def open(self, context: RuntimeContext) -> None:
            self.kept = context.list_state("kept")

        def execute(self, value: int) -> bool:
            plain: list[int] = []
            for what, number in steps:
                told = []
                for values in (plain, self.kept):
                    try:
                        told.append(self._do(values, what, number))
                    except IndexError as error:
                        told.append(type(error))
                assert told[0] == told[1]
                assert self.kept == plain
                assert len(self.kept) == len(plain)
            return "0 keys" in repr(self.kept) or bool(plain)

        def _do(self, values: Any, what: str, number: int) -> object:
            if what == "+":
                values += [number, number + 1]
            elif what == "-":
                return values.pop(number)
            elif what == "!":
                values[number] = number
            elif what == "r":
                values.reverse()
            elif what == "s":
                values[number:] = [1, number]
            else:
                return values[:number], values[number]
            return None

    env = LocalEnvironment("list", "inline")
    results = env.from_collection([1]).keyby(lambda key: key).map(Both).collect()
    env.submit(autostop=True)
    assert results == [True]


def test_the_order_of_a_map_is_set_back_too() -> None:
    """What a failing call took out is at its old place again."""

    class Taking(MapFunction):
        def open(self, context: RuntimeContext) -> None:
            self.map = context.map_state("map")

        def execute(self, record: tuple[str, bool]) -> list[str]:
            name, fails = record
            self.map.pop(name, None)
            self.map[name] = fails
            if fails:
                raise ValueError(name)
            return list(self.map)

    env = LocalEnvironment("order", "inline")
    records = [("a", False), ("b", False), ("a", True), ("c", False)]
    results = env.from_collection(records).keyby(lambda _: "k").map(Taking, on_error=skip()).collect()
    env.submit(autostop=True)
    assert results == [["a"], ["a", "b"], ["a", "b", "c"]]


def test_what_the_fold_of_a_failing_call_has_kept_is_not_seen(backend: str) -> None:
    """An aggregate whose result() fails for a record does not keep that record."""

    class Odd(AggregateFunction):
        def create(self) -> int:
            return 0

        def add(self, accumulator: int, value: int) -> int:
            return accumulator + value

        def result(self, accumulator: int) -> int:
            if accumulator == 3:
                raise ValueError("three")
            return accumulator

    env = LocalEnvironment("fold", backend)
    results = env.from_collection([1, 2, 5]).keyby(lambda _: "k").aggregate(Odd, on_error=skip()).collect()
    env.submit(autostop=True)
    assert results == [1, 6]


def failure_of(env: LocalEnvironment) -> str:
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True)
    assert isinstance(caught.value.__cause__, StateError)
    return str(caught.value)


def test_without_keyby_there_is_no_keyed_state(backend: str) -> None:
    """The declaration is refused, and says what to call first."""
    env = LocalEnvironment("unkeyed", backend)
    env.from_collection(WORDS).map(RunningCount, name="counting").collect()
    told = failure_of(env)
    assert "keyed state 'count' cannot be declared: map 'counting' does not come directly behind keyby(…)" in told


def test_an_operator_of_batches_has_no_single_key(backend: str) -> None:
    """map_batches behind keyby is refused keyed state: a batch has records of many keys."""

    class Batches(BaseFunction):
        def open(self, context: RuntimeContext) -> None:
            context.value_state("count")

        def execute(self, batch: list[str]) -> list[str]:
            return batch

    env = LocalEnvironment("batches", backend)
    env.from_collection(WORDS).keyby(lambda word: word).map_batches(Batches).collect()
    assert "map_batches works on records of many keys at once" in failure_of(env)


def test_state_is_declared_in_open_and_once(backend: str) -> None:
    """Too late, twice under one name, without a name, or with a default that all keys would share: refused."""

    class Late(MapFunction):
        def execute(self, value: str) -> object:
            return self.context.value_state("late").get()

    class Twice(MapFunction):
        def open(self, context: RuntimeContext) -> None:
            context.value_state("one")
            context.list_state("one")

        def execute(self, value: str) -> str:
            return value

    class Nameless(Twice):
        def open(self, context: RuntimeContext) -> None:
            context.map_state("")

    class Shared(Twice):
        def open(self, context: RuntimeContext) -> None:
            context.value_state("shared", [])

    told = []
    for function in (Late, Twice, Nameless, Shared):
        env = LocalEnvironment("declared", backend)
        env.from_collection(WORDS).keyby(lambda word: word).map(function).collect()
        told.append(failure_of(env))
    assert "state is declared in open(context)" in told[0]
    assert "keyed state 'one' is declared twice" in told[1]
    assert "must be text that is not empty, not ''" in told[2]
    assert "can be changed, and all keys would share it: []" in told[3]
    assert all("\n  hint: " in text for text in told)


class Joined(CoMapFunction):
    """Counts the records of its first input by key; its second input asks for the count."""

    def open(self, context: RuntimeContext) -> None:
        self.count = context.value_state("count", 0)

    def map0(self, value: Any) -> Any:
        self.count.set(self.count.get() + 1)
        return self.count.get()

    def map1(self, value: Any) -> Any:
        return "asked", self.count.get()


def test_inputs_that_are_all_keyed_share_the_state_of_a_key(backend: str) -> None:
    """What one input has kept for a key, another finds."""
    env = LocalEnvironment("both", backend)
    left = env.from_collection(["a", None, "a"]).keyby(lambda key: key)
    right = env.from_collection(["a", None, "b"]).keyby(lambda key: key)
    results = left.connect(right).comap(Joined).collect()
    env.submit(autostop=True)
    assert [item for item in results if not isinstance(item, tuple)] == [1, 1, 2]
    asked = [item[1] for item in results if isinstance(item, tuple)]
    assert len(asked) == 3
    assert asked[2] == 0


def test_an_input_without_keys_has_no_keyed_state(backend: str) -> None:
    """A record of that input that reaches for it fails; None as a key on the other input does not."""
    env = LocalEnvironment("mixed", backend)
    left = env.from_collection([None, "a", None]).keyby(lambda key: key)
    right = env.from_collection(["unkeyed"])
    results = left.connect(right).comap(Joined, on_error=skip()).collect()
    job = env.submit(autostop=True)
    assert sorted(map(str, results)) == ["1", "1", "2"]
    assert str(job)


def test_outside_of_a_call_there_is_no_key(backend: str) -> None:
    """open() and close() have no record in hand, so no keyed state either."""

    class Early(MapFunction):
        def open(self, context: RuntimeContext) -> None:
            context.value_state("early", 0).get()

        def execute(self, value: str) -> str:
            return value

    class Closing(MapFunction):
        def open(self, context: RuntimeContext) -> None:
            self.count = context.value_state("count", 0)

        def execute(self, value: str) -> int:
            return self.count.get()

        def close(self) -> None:
            self.count.get()

    for function in (Early, Closing):
        env = LocalEnvironment("outside", backend)
        env.from_collection(WORDS).keyby(lambda word: word).map(function).collect()
        assert "was used where there is no key" in failure_of(env)


def test_a_door_is_no_value() -> None:
    """A value or a reduced value has no truth and equals nothing, lists and maps compare by what they hold."""

    class Asked(MapFunction):
        def open(self, context: RuntimeContext) -> None:
            self.value = context.value_state("value", 0)
            self.list = context.list_state("list")
            self.map = context.map_state("map")

        def execute(self, key: int) -> Any:
            told = r"keyed state 'value' is a door to a value: .*get\(\)"
            with pytest.raises(TypeError, match=told):
                bool(self.value)
            with pytest.raises(TypeError, match=told):
                assert self.value == 0
            before = bool(self.list), bool(self.map), self.list == [], self.map == {}
            self.list.append(key)
            self.map[key] = key
            return (
                *before,
                bool(self.list),
                bool(self.map),
                self.list == [key],
                self.map == {key: key},
                self.list == [],
            )

    env = LocalEnvironment("door", "inline")
    results = env.from_collection([7]).keyby(lambda key: key).map(Asked).collect()
    env.submit(autostop=True)
    assert results == [(False, False, True, True, True, True, True, True, False)]


@pytest.mark.parametrize("parallelism", [1, 3])
def test_a_filter_keeps_the_key(backend: str, parallelism: int) -> None:
    """What is kept is folded by the key it had, in the same task, at any parallelism."""
    env = LocalEnvironment("kept", backend)
    kept = env.from_collection(range(20)).keyby(lambda n: n % 3).filter(lambda n: n % 2, parallelism=parallelism)
    results = kept.filter(lambda n: n > 4, parallelism=parallelism).reduce(max, final=True, parallelism=parallelism)
    found = results.collect()
    assert len(make_plan(env._builder.build()).stages) == (1 if parallelism == 1 else 3)
    env.submit(autostop=True)
    assert sorted(found) == [15, 17, 19]


def test_what_nobody_takes_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A slip in the name of a side output shows in the log, with the names that are taken."""

    class Slip(MapFunction):
        def execute(self, value: int) -> int:
            self.context.side_output("wrods", value)
            return value

    env = LocalEnvironment("slip", "inline")
    stream = env.from_collection(range(3)).map(Slip)
    stream.side_output("words").union(stream).sink(lambda _: None)
    env.submit(autostop=True)
    assert [record.getMessage() for record in caplog.records] == [
        "'Slip' puts records out on 'wrods', which nobody takes; taken are: 'words'"
    ]


def test_what_is_empty_is_not_kept() -> None:
    """A key whose list, map or value was cleared takes no room any more."""
    sizes: list[str] = []

    class Clearing(MapFunction):
        def open(self, context: RuntimeContext) -> None:
            self.states = (context.value_state("v"), context.list_state("l"), context.map_state("m"))

        def execute(self, key: int) -> None:
            value, values, items = self.states
            value.set(key)
            values.extend([key, key])
            items["x"] = key
            sizes.append(repr(value) + repr(values) + repr(items))
            value.clear()
            values.set([])
            del items["x"]
            sizes.append(repr(value) + repr(values) + repr(items))

    env = LocalEnvironment("clear", "inline")
    env.from_collection(range(3)).keyby(lambda key: key).map(Clearing).sink(lambda _: None)
    env.submit(autostop=True)
    assert [text.count("1 keys") for text in sizes] == list(itertools.islice(itertools.cycle([3, 0]), 6))
