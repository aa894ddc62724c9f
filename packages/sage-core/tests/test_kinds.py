"""The table of kinds says of operators what the engine makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import sage.core.api
from sage.core.api import DataStream, ErrorPolicy, LocalEnvironment, Tumbling, Window, fail, skip
from sage.core.engine import kinds as engine_kinds
from sage.core.engine.clock import WALL
from sage.core.engine.code import Code
from sage.core.engine.events import Attempt
from sage.core.engine.interrupt import Interrupt
from sage.core.engine.kinds import operator_class
from sage.core.engine.links import Signal
from sage.core.engine.operators.base import Flow
from sage.core.engine.operators.map_async import MapAsyncOperator
from sage.core.engine.operators.source import SourceOperator
from sage.core.engine.services import ServiceRegistry
from sage.core.graph.kinds import KINDS


def one(value: Any) -> Any:
    return value


def many(value: Any) -> list[Any]:
    return [value]


def two(left: Any, right: Any) -> Any:
    return right


class Folding(sage.core.api.AggregateFunction[Any, list[Any], Any]):
    def create(self) -> list[Any]:
        return []

    def add(self, accumulator: list[Any], value: Any) -> list[Any]:
        return accumulator


class Both(sage.core.api.CoProcessFunction):
    def process0(self, value: Any) -> list[Any]:
        return [value]

    def process1(self, value: Any) -> list[Any]:
        return [value]


def three(key: Any, window: Window, records: list[Any]) -> list[Any]:
    return records


MINUTES = Tumbling(60, time="processing")


def four(key: Any, window: Window, lefts: list[Any], rights: list[Any]) -> list[Any]:
    return [*lefts, *rights]


def _interval_join(stream: DataStream[Any], policy: ErrorPolicy) -> DataStream[Any]:
    return stream.connect(stream).keyby(one, one).join(two, within=(0, 1), on_error=policy)


DECLARED: dict[str, Callable[[DataStream[Any], ErrorPolicy], DataStream[Any]]] = {
    "map": lambda stream, policy: stream.map(one, on_error=policy),
    "filter_map": lambda stream, policy: stream.filter_map(one, on_error=policy),
    "map_batches": lambda stream, policy: stream.map_batches(many, max_size=1, max_wait=1.0, on_error=policy),
    "comap": lambda stream, policy: stream.connect(stream).comap(one, one, on_error=policy),
    "join": lambda stream, policy: stream.connect(stream).keyby(one, one).join(two, on_error=policy),
    "interval_join": lambda stream, policy: _interval_join(stream.assign_timestamps(one), policy),
    "window_join": lambda stream, policy: (
        stream.connect(stream).keyby(one, one).join(two, window=MINUTES, on_error=policy)
    ),
    "co_group": lambda stream, policy: (
        stream.connect(stream).keyby(one, one).co_group(four, window=MINUTES, on_error=policy)
    ),
    "lookup": lambda stream, policy: stream.lookup(one, on=one, on_error=policy),
    "filter": lambda stream, policy: stream.filter(one, on_error=policy),
    "flatmap": lambda stream, policy: stream.flatmap(many, on_error=policy),
    "keyby": lambda stream, policy: stream.keyby(one, on_error=policy),
    "reduce": lambda stream, policy: stream.reduce(two, on_error=policy),
    "aggregate": lambda stream, policy: stream.aggregate(Folding, on_error=policy),
    "timestamps": lambda stream, policy: stream.assign_timestamps(one, on_error=policy),
    "process": lambda stream, policy: stream.process(many, on_error=policy),
    "coprocess": lambda stream, policy: stream.connect(stream).process(Both, on_error=policy),
    "window_reduce": lambda stream, policy: stream.window(MINUTES).reduce(two, on_error=policy),
    "window_aggregate": lambda stream, policy: stream.window(MINUTES).aggregate(Folding, on_error=policy),
    "window_process": lambda stream, policy: stream.window(MINUTES).process(three, on_error=policy),
}
"""A use of each kind whose code has that of others inside."""


def test_the_engine_runs_the_kinds_of_the_table() -> None:
    """It knows all of them and no other, those that await and the sources by classes of their own."""
    assert engine_kinds.KINDS.keys() == KINDS.keys()
    assert [kind for kind in KINDS if KINDS[kind].awaits] == [
        kind for kind in engine_kinds.KINDS if issubclass(operator_class(kind), MapAsyncOperator)
    ]
    assert [kind for kind in KINDS if KINDS[kind].is_source] == [
        kind for kind in engine_kinds.KINDS if issubclass(operator_class(kind), SourceOperator)
    ]


MADE_FOR = {
    "filter_map": "map",
    "map_batches": "any",
    "interval_join": "join",
    "window_join": "join",
    "lookup": "any",
    "lookup_async": "any",
    "window_reduce": "reduce",
    "window_aggregate": "aggregate",
}
"""Kinds whose base was made for another one."""


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.base])
def test_bases_define_what_is_called(name: str) -> None:
    """The base class that a problem names is there to be derived from, and was made for this kind."""
    base = getattr(sage.core.api, KINDS[name].base)
    assert base.__sage_function__ == MADE_FOR.get(name, name)


def test_all_that_others_follow_in_one_task_are_measured() -> None:
    """No kind is forgotten below."""
    assert DECLARED.keys() == {
        name
        for name, kind in KINDS.items()
        if not (kind.is_source or kind.is_sink or kind.awaits or name == "feedback")
    }


@pytest.mark.parametrize("policy", [fail(), skip()], ids=["fail", "skip"])
@pytest.mark.parametrize("name", DECLARED)
def test_loops_and_levels_are_those_of_the_code(name: str, policy: ErrorPolicy) -> None:
    """What an operator writes around the code of what follows it is what the planner counts, a policy as one more."""
    env = LocalEnvironment()
    DECLARED[name](env.from_batch([1]), policy).sink(one)
    (spec,) = (operator for operator in env._builder.build().operators if operator.kind == name)
    attempt = Attempt("uuid", "test")
    context = operator_class(name).context_type(
        job=attempt.job,
        job_name=attempt.name,
        operator=spec.name,
        uid=spec.uid,
        subtask=0,
        parallelism=1,
        attempt=1,
        services=ServiceRegistry((), attempt, users=1),
    )
    operator = operator_class(name).class_for(spec)(spec, context)
    operator.run_under(Interrupt(Signal(), WALL))
    operator.build()
    operator.open()
    code, around = Code("test"), list[list[str]]()

    def emit(flow: Flow) -> None:
        around.append(headers(code))

    with code.function("def run(record, count):", lambda: None):
        before = len(headers(code))
        operator.generate(code, Flow("record", "count"), emit)
    operator.close()
    (written,) = (found[before:] for found in around)
    assert len(written) == KINDS[name].levels + (policy != fail())
    assert sum(header.startswith("for ") for header in written) == KINDS[name].loops


def headers(code: Code) -> list[str]:
    """The lines that begin the blocks in which the next line would stand."""
    found, depth = list[str](), code._depth
    for line in reversed(code._lines):
        if len(line) - len(line.lstrip()) < depth and line.strip():
            depth = len(line) - len(line.lstrip())
            found.insert(0, line.strip())
    return found
