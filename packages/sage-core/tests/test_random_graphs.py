"""Random pipelines give on every backend what a plain evaluation gives.

The evaluation below knows nothing of graphs, plans or engines: it computes each stream as a list. What it promises
about order is what SAGE promises: exact along one path of single subtasks, per key across a hash exchange, none at
fan-in; where order is not promised, functions are chosen whose results do not depend on it.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from sage.core.api import LocalEnvironment
from sage.core.api.datastream import DataStream
from sage.core.backends.api import Attempt, Backend
from sage.core.backends.inline import InlineBackend
from sage.core.backends.local import LocalBackend
from sage.core.engine import host
from sage.core.engine.coordinator import Coordinator
from sage.core.engine.wiring import wire
from sage.core.graph.model import LogicalGraph
from sage.core.models import JobMetrics

LIMIT = 60.0
MANY = 1100
"""More than a full batch."""

Order = Literal["exact", "per key", "none"]
_T = TypeVar("_T")


def number(value: Any) -> int:
    """A whole number for any record."""
    if value is None:
        return 7
    if isinstance(value, tuple):
        return sum(number(item) * (place + 1) for place, item in enumerate(value)) % 1009
    return len(value) if isinstance(value, str) else int(value)


def tag(function: Callable[[Any], Any], value: Any) -> tuple[Any, Any]:
    return (function(value), value)


def first(pair: tuple[Any, Any]) -> Any:
    return pair[0]


def generate(value: Any) -> Iterator[Any]:
    yield value
    if number(value) % 2:
        yield None


MAPS: dict[str, Callable[[Any], Any]] = {
    "same": lambda value: value,
    "next": lambda value: number(value) + 1,
    "gone": lambda value: None if number(value) % 3 == 0 else value,
    "text": lambda value: "x" * (number(value) % 4),
    "pair": lambda value: (value, number(value) % 5),
}
FILTERS: dict[str, Callable[[Any], Any]] = {
    "truthy": lambda value: value,
    "nothing": lambda value: value is None,
    "odd": lambda value: number(value) % 2,
    "none": lambda value: False,
}
FLATMAPS: dict[str, Callable[[Any], Any]] = {
    "twice": lambda value: (value, value),
    "generator": generate,
    "sometimes": lambda value: None if number(value) % 2 else [value],
    "nothing": lambda value: {},
    "many": lambda value: [value] * MANY,
}
KEYS: dict[str, Callable[[Any], Any]] = {
    "rest": lambda value: number(value) % 3,
    "alike": lambda value: [1, True, 1.0, -0.0, 0, False][number(value) % 6],
    "text": lambda value: f"key{number(value) % 20}",
    "parts": lambda value: (number(value) % 2, ("a", None)),
    "same": lambda value: None,
}


def mix(left: tuple[Any, Any], right: tuple[Any, Any]) -> tuple[Any, Any]:
    """Depends on the order of its values."""
    return (left[0], (number(left[1]) * 31 + number(right[1])) % 1009)


def count(left: tuple[Any, Any], right: tuple[Any, Any]) -> tuple[Any, Any]:
    """The first value of a key counts as it is, so it is only used where all values are 1."""
    return (left[0], left[1] + right[1])


REDUCES: dict[str, Callable[[Any, Any], Any]] = {"mix": mix, "count": count}


@dataclass(frozen=True)
class Node:
    """One declaration: what, of which earlier nodes, with which function."""

    kind: Literal["source", "map", "filter", "flatmap", "keyed", "union", "sink"]
    inputs: tuple[int, ...]
    choice: str
    parallelism: int
    final: bool = False
    key_parallelism: int = 1
    reducing: str = "count"


@dataclass(frozen=True)
class Program:
    nodes: tuple[Node, ...]
    data: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Stream:
    """What is known of a stream: its records, how far their order is promised, and on how many subtasks it runs."""

    records: list[Any]
    order: Order
    parallelism: int


values = st.one_of(st.none(), st.integers(-3, 9), st.sampled_from(["", "a", "word"]), st.booleans())


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A random pipeline with its input. Every stream ends somewhere; streams stay small."""
    data = draw(st.lists(st.lists(values, max_size=12).map(tuple), min_size=1, max_size=3))
    nodes = [Node("source", (), str(place), 1) for place in range(len(data))]
    streams = [evaluate(node, [], data) for node in nodes]
    for _ in range(draw(st.integers(0, 9))):
        kind = draw(st.sampled_from(["map", "map", "filter", "flatmap", "keyed", "keyed", "union"]))
        inputs = tuple(draw(st.lists(st.integers(0, len(nodes) - 1), min_size=1, max_size=3 if kind == "union" else 1)))
        node = _node(draw, cast(Any, kind), inputs, [streams[place] for place in inputs])
        stream = evaluate(node, [streams[place] for place in inputs], data)
        if len(stream.records) > 3 * MANY:
            continue
        nodes.append(node)
        streams.append(stream)
    read = {place for node in nodes for place in node.inputs}
    ends = [place for place in range(len(nodes)) if place not in read or draw(st.booleans())]
    sinks = [Node("sink", (place,), "", draw(st.integers(1, 2))) for place in ends]
    return Program((*nodes, *sinks), tuple(data))


def _node(draw: st.DrawFn, kind: Any, inputs: tuple[int, ...], of: list[Stream]) -> Node:
    parallelism = draw(st.integers(1, 4))
    if kind == "union":
        return Node(kind, inputs, "", 1)
    if kind == "keyed":
        choice, final, reducing = draw(st.sampled_from(sorted(KEYS))), draw(st.booleans()), "count"
        before = draw(st.integers(1, 3))
        if of[0].order == "exact" and of[0].parallelism == before == 1:
            reducing = draw(st.sampled_from(sorted(REDUCES)))
        return Node(kind, inputs, choice, parallelism, final, before, reducing)
    choices = {"map": MAPS, "filter": FILTERS, "flatmap": FLATMAPS}[kind]
    return Node(kind, inputs, draw(st.sampled_from(sorted(choices))), parallelism)


def evaluate(node: Node, inputs: list[Stream], data: Any) -> Stream:
    """The stream of a node, by plain Python."""
    if node.kind == "source":
        return Stream(list(data[int(node.choice)]), "exact", 1)
    if node.kind == "union":
        if len(inputs) == 1:
            return inputs[0]
        most = max(stream.parallelism for stream in inputs)
        return Stream([record for stream in inputs for record in stream.records], "none", most)
    stream, parallelism = inputs[0], node.parallelism
    order: Order = "exact" if stream.order == "exact" and parallelism == stream.parallelism == 1 else "none"
    if node.kind == "map":
        return Stream([MAPS[node.choice](record) for record in stream.records], order, parallelism)
    if node.kind == "filter":
        return Stream([record for record in stream.records if FILTERS[node.choice](record)], order, parallelism)
    if node.kind == "flatmap":
        found = [item for record in stream.records for item in FLATMAPS[node.choice](record) or ()]
        return Stream(found, order, parallelism)
    assert node.kind == "keyed"
    if stream.order == "exact" and node.key_parallelism == stream.parallelism == 1:
        order = "exact" if parallelism == 1 else "per key"
    else:
        order = "none"
    states: dict[Any, Any] = {}
    running = []
    for record in stream.records:
        key = KEYS[node.choice](record)
        value = (key, record if node.reducing == "mix" else 1)
        states[key] = REDUCES[node.reducing](states[key], value) if key in states else value
        running.append(states[key])
    return Stream(list(states.values()) if node.final else running, order, parallelism)


def build(program: Program) -> tuple[LogicalGraph, dict[int, list[Any]]]:
    """The same program as a graph of SAGE, and the lists that its sinks fill."""
    env = LocalEnvironment("random")
    streams: list[DataStream] = []
    found: dict[int, list[Any]] = {}
    for place, node in enumerate(program.nodes):
        inputs = [streams[number] for number in node.inputs]
        if node.kind == "source":
            stream = env.from_collection(program.data[int(node.choice)])
        elif node.kind == "union":
            stream = inputs[0].union(*inputs[1:])
        elif node.kind == "sink":
            found[place] = []
            stream = inputs[0].sink(found[place].append, parallelism=node.parallelism)
        elif node.kind == "keyed":
            key = KEYS[node.choice]
            pairs = inputs[0].map(
                functools.partial(tag, key) if node.reducing == "mix" else lambda value, key=key: (key(value), 1),
                parallelism=node.key_parallelism,
            )
            stream = pairs.keyby(first).reduce(REDUCES[node.reducing], final=node.final, parallelism=node.parallelism)
        else:
            function = {"map": MAPS, "filter": FILTERS, "flatmap": FLATMAPS}[node.kind][node.choice]
            stream = getattr(inputs[0], node.kind)(function, parallelism=node.parallelism)
        streams.append(stream)
    return env._builder.build(), found


def run(graph: LogicalGraph, backend: Backend) -> JobMetrics:
    job = Coordinator(graph, backend, Attempt("random", "random"))
    job.start()
    assert job.join(LIMIT), "the job does not end"
    assert job.state == "completed", job.failure
    return job.metrics()


def check(program: Program, backend: Backend) -> None:
    graph, found = build(program)
    metrics = run(graph, backend)
    streams: list[Stream] = []
    for place, node in enumerate(program.nodes):
        if node.kind != "sink":
            streams.append(evaluate(node, [streams[number] for number in node.inputs], program.data))
            continue
        expected, got = streams[node.inputs[0]], found[place]
        streams.append(expected)
        assert Counter(map(exactly, got)) == Counter(map(exactly, expected.records))
        if node.parallelism == 1 and expected.order == "exact" and expected.parallelism == 1:
            assert got == expected.records
        if node.parallelism == 1 and expected.order == "per key":
            for key in {record[0] for record in expected.records}:
                assert [item for item in got if item[0] == key] == [item for item in expected.records if item[0] == key]
    records = sum(len(part) for part in program.data)
    assert sum(item.records_out for item in metrics.operators if item.kind == "collection") == records
    assert sum(item.records_in for item in metrics.operators if item.kind == "sink") == sum(map(len, found.values()))
    assert metrics.running_tasks == 0


def exactly(record: Any) -> str:
    """A record with its type; but of keys that are equal (1, True, 1.0) any may stand for all, so in tuples they do."""
    return repr(_alike(record) if isinstance(record, tuple) else record)


def _alike(part: Any) -> Any:
    if isinstance(part, tuple):
        return tuple(map(_alike, part))
    return float(part) + 0.0 if isinstance(part, int | float) else part


unhurried = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
many = settings(max_examples=60, deadline=None, suppress_health_check=unhurried)


@many
@given(program=programs())
def test_inline(program: Program) -> None:
    """One record at a time, in the caller's thread."""
    event(f"{sum(node.kind == 'keyed' for node in program.nodes)} keyed")
    check(program, InlineBackend())


@many
@given(program=programs())
def test_local(program: Program) -> None:
    """A thread per task."""
    check(program, LocalBackend())


@many
@given(program=programs(), batch=st.integers(1, 3), credits=st.integers(1, 2))
def test_local_with_hardly_any_room(program: Program, batch: int, credits: int) -> None:
    """Batches of a few records and channels that hold one or two of them: everything waits for credits all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "wire", functools.partial(wire, batch_size=batch, credits=credits))
        check(program, LocalBackend())


@many
@given(program=programs(), hosts=st.integers(2, 3))
def test_across_hosts(program: Program, hosts: int, split_backend: Callable[..., Backend]) -> None:
    """Tasks on several hosts whose channels carry encoded messages and give credits back late."""
    check(program, split_backend(hosts=hosts, credits=2))
