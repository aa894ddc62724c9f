"""Broadcast state: the same on every subtask, written for what all of them see, saved once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sage.core.api import (
    BaseFunction,
    CoMapFunction,
    CoProcessFunction,
    LocalEnvironment,
    MapFunction,
    RuntimeContext,
    Timer,
    skip,
)
from sage.core.api.datastream import DataStream
from sage.core.errors import JobFailedError, StateError
from sage.core.testing import At, Harness, Input, Watermark, run_operator


class Rules(CoMapFunction):
    """Rules come to all subtasks, records by key; each record is told which rules there are."""

    def open(self, context: RuntimeContext) -> None:
        self.rules = context.broadcast_state("rules")
        self.count = context.value_state("count", 0)

    def map0(self, record: Any) -> Any:
        if record == "write":
            self.rules["x"] = 1
        self.count.set(self.count.get() + 1)
        return record, self.count.get(), dict(self.rules)

    def map1(self, rule: Any) -> Any:
        name, value = rule
        if value is None:
            del self.rules[name]
        elif name == "":
            self.rules.clear()
        else:
            self.rules[name] = value
        if value == "bad":
            raise ValueError(name)
        return None


Operator = Callable[[DataStream[Any], DataStream[Any]], DataStream[Any]]


def ruled(parallelism: int = 1, **options: Any) -> Operator:
    return lambda records, rules: (
        records.keyby(lambda record: record)
        .connect(rules.broadcast())
        .comap(Rules, uid="ruled", parallelism=parallelism, **options)
    )


def ask(harness: Harness, record: Any) -> Any:
    return harness.send(record)[0]


@pytest.mark.parametrize(("before", "after"), [(1, 1), (3, 3), (3, 2), (1, 4)])
def test_all_subtasks_see_the_same_and_it_is_saved_once(before: int, after: int) -> None:
    """Whatever subtask a key is at, and however many there were when it was saved."""
    with Harness(ruled(before), inputs=2) as harness:
        assert harness.send(("x", 1), input=1) == [None] * before
        harness.send(("y", 2), input=1)
        harness.send(("x", None), input=1)
        assert [ask(harness, key) for key in range(8)] == [(key, 1, {"y": 2}) for key in range(8)]
        saved = harness.snapshot()
    assert [part.broadcast is not None for part in saved["ruled"]] == [True] + [False] * (before - 1)
    assert saved["ruled"][0].states == {"rules": "broadcast", "count": "value"}
    with Harness(ruled(after), inputs=2, restored=saved) as harness:
        assert [ask(harness, key) for key in range(8)] == [(key, 2, {"y": 2}) for key in range(8)]
        harness.send(("", 0), input=1)
        assert [ask(harness, key)[2] for key in range(8)] == [{}] * 8


def test_it_is_written_for_broadcast_records_alone() -> None:
    """A write for a record that one subtask alone sees is refused, with what to do instead."""
    with Harness(ruled(2), inputs=2) as harness:
        harness.send(("x", 1), input=1)
        with pytest.raises(JobFailedError, match="broadcast state 'rules' was written for what not every") as caught:
            harness.send("write")
    cause = caught.value.__cause__
    assert isinstance(cause, StateError)
    assert cause.hint is not None
    assert "given by broadcast()" in cause.hint


def test_a_failing_call_leaves_no_trace() -> None:
    """What was written and taken out before the call failed is set back, in its old order."""
    with Harness(ruled(2, on_error=skip()), inputs=2) as harness:
        for name in "abc":
            harness.send((name, 1), input=1)
        harness.send(("b", "bad"), input=1)
        harness.send(("d", "bad"), input=1)
        harness.send(("", "bad"), input=1)
        assert list(ask(harness, 1)[2].items()) == [("a", 1), ("b", 1), ("c", 1)]
        assert harness.send("write") == []
        assert "x" not in ask(harness, 2)[2]


def test_a_single_input_given_by_broadcast_may_write(backend: str) -> None:
    """Every record is in the hands of all subtasks; nothing needs a key for that."""

    class Newest(MapFunction):
        def open(self, context: RuntimeContext) -> None:
            self.newest = context.broadcast_state("newest")

        def execute(self, record: int) -> Any:
            self.newest[record % 2] = record
            return sorted(self.newest.items())

    env = LocalEnvironment("newest", backend)
    results = env.from_collection([1, 2, 3]).broadcast().map(Newest, parallelism=2).collect()
    env.submit(autostop=True)
    assert sorted(map(str, results)) == sorted(2 * ["[(1, 1)]", "[(0, 2), (1, 1)]", "[(0, 2), (1, 3)]"])


class Declaring(BaseFunction):
    def __init__(self, *names: str) -> None:
        self.names = names

    def open(self, context: RuntimeContext) -> None:
        for name in self.names:
            context.broadcast_state(name)

    def execute(self, record: Any) -> Any:
        return record


@pytest.mark.parametrize(
    ("operator", "told"),
    [
        (lambda s: s.map(Declaring("x"), name="d"), "no input of map 'd' is given by broadcast()"),
        (lambda s: s.broadcast().map_batches(Declaring("x")), "map_batches works on many records at once"),
        (lambda s: s.broadcast().map(Declaring("x", "x")), "broadcast state 'x' is declared twice"),
        (lambda s: s.broadcast().map(Declaring("")), "must be text that is not empty"),
        (lambda s: s.union(s.broadcast()).map(Declaring("x"), name="d"), "no input of map 'd' is given by broadcast()"),
    ],
)
def test_where_it_cannot_be_declared(operator: Any, told: str) -> None:
    """Without any input that all subtasks see, twice under a name, or without one."""
    with Harness(operator, inputs=1) as harness, pytest.raises(JobFailedError) as caught:
        harness.open()
    assert isinstance(caught.value.__cause__, StateError)
    assert told in str(caught.value)


class WritesLater(CoProcessFunction):
    def open(self, context: RuntimeContext) -> None:
        self.rules = context.broadcast_state("rules")

    def process0(self, record: Any) -> None:
        self.context.set_timer(5)

    def process1(self, rule: Any) -> None:
        self.rules[rule] = 1

    def on_timer(self, timer: Timer) -> None:
        self.rules["timer"] = 1


def test_a_timer_writes_no_broadcast_state() -> None:
    """It fires on one subtask only, also right after a rule has come."""
    steps = [At(1, "a"), Input(1, At(1, "rule")), Watermark(9), Input(1, Watermark(9))]
    with pytest.raises(JobFailedError) as failed:
        run_operator(lambda records, rules: records.keyby(str).connect(rules.broadcast()).process(WritesLater), steps)
    assert isinstance(failed.value.__cause__, StateError)
