"""Loops that run: what they give, when they end, what they keep."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage.core.api import DataStream, FlatMapFunction, LocalEnvironment
from sage.core.errors import FeedbackError, JobFailedError, SimulationError, WaitTimeoutError
from sage.core.testing import simulate

LIMIT = 60.0

Record = tuple[int, int]
"""How often it may still go back, and a value."""


def run(env: LocalEnvironment, how: str | int) -> None:
    """Run a pipeline on a backend, or in a simulation of a seed."""
    if isinstance(how, int):
        simulate(env, seed=how)
    else:
        env._backend = how
        env.submit(autostop=True, timeout=LIMIT)


HOW: list[str | int] = ["inline", "local", 1, 2, 3, 4, 5, 6]


# ---- random loops against a plain evaluation -----------------------------------------------------------------------


def advance(record: Record) -> Record:
    return record[0], record[1] * 3 + 1


def split(record: Record) -> list[Record]:
    return [record, (record[0], record[1] + 5)] if record[1] % 4 == 0 else [record]


def keep(record: Record) -> bool:
    return record[1] % 5 != 0


def again(record: Record) -> list[Record]:
    """What of a record goes back: less and less."""
    fuel, value = record
    if fuel == 0:
        return []
    return [(fuel - 1, value + 1), (fuel // 2, value + 2)] if value % 7 == 0 and fuel > 1 else [(fuel - 1, value + 1)]


async def later(record: Record) -> Record:
    return record[0], record[1] - 1


def advance_all(records: list[Record]) -> list[Record]:
    return [advance(record) for record in records]


OPERATIONS: dict[str, Callable[[Record], Iterable[Record]]] = {
    "map": lambda record: [advance(record)],
    "flatmap": split,
    "filter": lambda record: [record] if keep(record) else [],
    "map_async": lambda record: [(record[0], record[1] - 1)],
    "map_batches": lambda record: [advance(record)],
    "comap": lambda record: [advance(record)],
}


@dataclass(frozen=True)
class Node:
    """An operator, the nodes that it takes from besides the one before it, and how their records travel."""

    kind: str
    parallelism: int
    exchange: str
    others: tuple[int, ...]
    collected: bool


@dataclass(frozen=True)
class Way:
    """A loop: what its future goes to, and what fills it."""

    into: int
    out_of: int
    parallelism: int


@dataclass(frozen=True)
class Program:
    """A pipeline with loops, some in others, some across others, some behind others."""

    records: tuple[Record, ...]
    nodes: tuple[Node, ...]
    ways: tuple[Way, ...]

    def declare(self, env: LocalEnvironment) -> dict[int, list[Record]]:
        futures = [env.from_future(f"loop{number}", in_memory=2) for number in range(len(self.ways))]
        streams: list[DataStream[Any]] = []
        found: dict[int, list[Record]] = {}
        source = env.from_batch(self.records)
        for place, node in enumerate(self.nodes):
            inputs = [streams[-1] if streams else source, *(streams[other] for other in node.others)]
            inputs += [future for future, way in zip(futures, self.ways, strict=True) if way.into == place]
            streams.append(_declare(node, inputs))
            if node.collected or place == len(self.nodes) - 1:
                found[place] = streams[-1].collect()
        for future, way in zip(futures, self.ways, strict=True):
            streams[way.out_of].flatmap(again, parallelism=way.parallelism).fill_future(future)
        return found

    def evaluate(self) -> dict[int, list[Record]]:
        """The same on one list of what is still to do."""
        targets: dict[int, list[int]] = {place: [] for place in range(len(self.nodes))}
        for place, node in enumerate(self.nodes):
            for other in (*node.others, *([place - 1] if place else [])):
                targets[other].append(place)
        found: dict[int, list[Record]] = {place: [] for place in range(len(self.nodes))}
        left = deque((0, record) for record in self.records)
        while left:
            place, record = left.popleft()
            for made in OPERATIONS[self.nodes[place].kind](record):
                found[place].append(made)
                left.extend((target, made) for target in targets[place])
                left.extend((way.into, back) for way in self.ways if way.out_of == place for back in again(made))
        return {place: found[place] for place, node in enumerate(self.nodes) if node.collected or place == max(found)}


def _declare(node: Node, inputs: list[DataStream[Any]]) -> DataStream[Any]:
    number = node.parallelism
    stream, *others = [_travels(item, node.exchange) for item in inputs]
    if node.kind == "comap" and others:
        return stream.connect(*others).comap(advance, *[advance] * len(others), parallelism=number)
    stream = stream.union(*others)
    if node.kind == "map_async":
        return stream.map_async(later, ordered=number % 2 == 0, parallelism=number)
    if node.kind == "map_batches":
        return stream.map_batches(advance_all, max_size=3, parallelism=number)
    if node.kind == "filter":
        return stream.filter(keep, parallelism=number)
    return (
        stream.flatmap(split, parallelism=number) if node.kind == "flatmap" else stream.map(advance, parallelism=number)
    )


def _travels(stream: DataStream[Any], exchange: str) -> DataStream[Any]:
    if exchange == "hash":
        return stream.keyby(lambda record: record[1] % 11)
    return stream.rebalance() if exchange == "rebalance" else stream


@st.composite
def programs(draw: st.DrawFn) -> Program:
    records = tuple(draw(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 40)), max_size=6)))
    nodes = tuple(
        Node(
            draw(st.sampled_from(sorted(OPERATIONS))),
            draw(st.integers(1, 4)),
            draw(st.sampled_from(["forward", "hash", "rebalance"])),
            tuple(draw(st.lists(st.integers(0, place - 2), max_size=1))) if place > 1 else (),
            draw(st.booleans()),
        )
        for place in range(draw(st.integers(1, 5)))
    )
    ways = []
    for _ in range(draw(st.integers(1, 3))):
        into = draw(st.integers(0, len(nodes) - 1))
        ways.append(Way(into, draw(st.integers(into, len(nodes) - 1)), draw(st.integers(1, 3))))
    program = Program(records, nodes, tuple(ways))
    if sum(map(len, program.evaluate().values())) > 3000:
        return Program(records[:1], nodes[:2], (Way(0, 0, 2),))
    return program


def agree(program: Program, how: str | int) -> None:
    env = LocalEnvironment("loops")
    found = program.declare(env)
    run(env, how)
    expected = program.evaluate()
    assert {place: Counter(records) for place, records in found.items()} == {
        place: Counter(records) for place, records in expected.items()
    }


@settings(max_examples=150, deadline=None)
@given(program=programs(), seed=st.integers(0, 2**32))
def test_random_loops_in_a_simulation(program: Program, seed: int) -> None:
    """Whatever the schedule, a loop gives what a list of things to do gives, and ends."""
    agree(program, seed)


@settings(max_examples=25, deadline=None)
@given(program=programs(), backend=st.sampled_from(["inline", "local"]))
def test_random_loops_on_backends(program: Program, backend: str) -> None:
    """The same on threads, and in the caller's."""
    agree(program, backend)


@settings(max_examples=50, deadline=None)
@given(program=programs(), seed=st.integers(0, 2**32))
def test_random_loops_that_are_cancelled(program: Program, seed: int) -> None:
    """At any moment a loop can be left, and gives no record that it would not have given."""
    env = LocalEnvironment("loops")
    found = program.declare(env)
    ended = simulate(env, seed=seed, cancel=True)
    assert ended.state in ("cancelled", "completed")
    expected = program.evaluate()
    for place, records in found.items():
        assert Counter(records) <= Counter(expected[place])


# ---- what loops are for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("parallelism", [1, 3])
def test_collatz(how: str | int, parallelism: int) -> None:
    """Each number goes round until it is 1, as often as it takes."""

    def step(state: tuple[int, int, int]) -> tuple[int, int, int]:
        first, number, steps = state
        return first, number // 2 if number % 2 == 0 else 3 * number + 1, steps + 1

    def plain(number: int) -> tuple[int, int, int]:
        state = number, number, 0
        while state[1] != 1:
            state = step(state)
        return state

    env = LocalEnvironment("collatz")
    again = env.from_future("again")
    numbers = env.from_batch([(number, number, 0) for number in range(2, 40)])
    stepped = numbers.union(again).map(step, parallelism=parallelism)
    stepped.filter(lambda state: state[1] != 1, parallelism=parallelism).fill_future(again)
    found = stepped.filter(lambda state: state[1] == 1).collect()
    run(env, how)
    assert sorted(found) == [plain(number) for number in range(2, 40)]


GRAPH = {0: [1, 2], 1: [3], 2: [3, 4], 3: [5], 4: [5, 6], 5: [6, 0], 6: [7], 7: [], 8: [0]}


class Nearest(FlatMapFunction[tuple[int, int], tuple[int, int]]):
    """Keeps the shortest way to each place, and tells of each that is shorter than those before."""

    def open(self, context: Any) -> None:
        self.best = context.value_state("best", None)

    def execute(self, value: tuple[int, int]) -> list[tuple[int, int]]:
        best = self.best.get()
        if best is not None and best <= value[1]:
            return []
        self.best.set(value[1])
        return [value]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("parallelism", [1, 4])
def test_shortest_paths(how: str | int, parallelism: int) -> None:
    """Breadth first, with state for each place on any number of subtasks: ways are told on until none is shorter."""
    env = LocalEnvironment("paths")
    found = env.from_future("found")
    shorter = env.from_batch([(0, 0)]).union(found).keyby(lambda way: way[0]).flatmap(Nearest, parallelism=parallelism)
    shorter.flatmap(lambda way: [(place, way[1] + 1) for place in GRAPH[way[0]]], parallelism=2).fill_future(found)
    ways = shorter.collect()
    run(env, how)
    best: dict[int, int] = {}
    for place, length in ways:
        best[place] = min(length, best.get(place, length))
    assert best == {0: 0, 1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 3, 7: 4}


@pytest.mark.parametrize("how", HOW)
def test_ranks(how: str | int) -> None:
    """Weight that is handed on, less each time, until there is too little of it: what PageRank does."""
    env = LocalEnvironment("ranks")
    flow = env.from_future("flow")
    arrived = env.from_batch([(place, 1.0) for place in GRAPH]).union(flow).map(lambda item: item, parallelism=2)
    handed = arrived.flatmap(
        lambda item: [(to, 0.5 * item[1] / len(GRAPH[item[0]])) for to in GRAPH[item[0]]], parallelism=3
    )
    handed.filter(lambda item: item[1] > 1e-3).fill_future(flow)
    sums = arrived.keyby(lambda item: item[0]).reduce(lambda a, b: (a[0], a[1] + b[1]), final=True).collect()
    run(env, how)
    expected = dict.fromkeys(GRAPH, 0.0)
    left = [(place, 1.0) for place in GRAPH]
    while left:
        place, weight = left.pop()
        expected[place] += weight
        left += [(to, part) for to in GRAPH[place] if (part := 0.5 * weight / len(GRAPH[place])) > 1e-3]
    assert {place: round(weight, 9) for place, weight in sums} == {
        place: round(weight, 9) for place, weight in expected.items()
    }


@pytest.mark.parametrize("how", HOW)
def test_a_loop_without_records(how: str | int) -> None:
    """It ends, and so does what comes behind it."""
    env = LocalEnvironment("empty")
    future = env.from_future("again")
    body = env.from_batch(list[int]()).union(future).map(abs, parallelism=2)
    body.fill_future(future)
    found = body.map_batches(lambda records: records).collect()
    run(env, how)
    assert found == []


@pytest.mark.parametrize("how", HOW)
def test_two_loops_in_a_row(how: str | int) -> None:
    """The second has drained once the first has, and what folds at the end of input folds all of it."""
    env = LocalEnvironment("row")
    stream = env.from_batch([5, 7, 9])
    for name in ("first", "second"):
        future = env.from_future(name)
        body = stream.union(future).map(lambda number: number - 1, parallelism=2)
        body.filter(lambda number: number > 0).fill_future(future)
        stream = body
    found = stream.reduce(lambda a, b: a + b, final=True).collect()
    run(env, how)
    once = [number - step for number in (5, 7, 9) for step in range(1, number + 1)]
    twice = [number - step for number in once for step in range(1, max(number, 1) + 1)]
    assert found == [sum(twice)]


def test_a_long_input_is_let_in_bit_by_bit() -> None:
    """Of what is far more than there is room for in memory, no more is in the loop at any time: disk is not needed.

    The input is held up from half of that on. What is under way by then, in batches of 1,024, fits into the other half.
    """
    env = LocalEnvironment("long")
    again = env.from_future("again", in_memory=200_000, on_disk=0)
    body = env.from_batch([6] * 600_000).union(again).map(lambda number: number - 1)
    body.filter(lambda number: number > 0).fill_future(again)
    count = body.filter(lambda number: number == 0).map(lambda number: 1).reduce(lambda a, b: a + b, final=True)
    found = count.collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert found == [600_000]


# ---- loops that do not end, or grow --------------------------------------------------------------------------------


def endless(backend: str, seen: threading.Event) -> LocalEnvironment:
    env = LocalEnvironment("endless", backend)
    future = env.from_future("round and round")

    def tell(number: int) -> int:
        seen.set()
        return number

    body = env.from_batch([1, 2, 3]).union(future).map(tell, parallelism=2)
    body.fill_future(future)
    body.filter(lambda number: False).print()
    return env


def test_stop_ends_a_loop_that_never_drains() -> None:
    """Until then the status names it."""
    seen = threading.Event()
    env = endless("local", seen)
    job = env.submit()
    try:
        assert seen.wait(LIMIT)
        with pytest.raises(WaitTimeoutError):
            job.wait(0.3)
        for _ in range(1000):
            blocked = env.get_job_status()["blocked"]
            if blocked:
                break
        assert "the loop 'round and round' has not drained: its input has ended" in blocked[0]
    finally:
        job.stop()
    assert job.wait(LIMIT)["status"] == "cancelled"
    assert env.get_job_status()["blocked"] == []


def test_waiting_inline_for_a_loop_that_never_drains() -> None:
    """The time to wait is kept though there is always something to do."""
    env = endless("inline", threading.Event())
    with pytest.raises(WaitTimeoutError):
        env.submit(autostop=True, timeout=0.2)
    env.stop()
    env.close()
    assert env.get_job_status()["status"] == "cancelled"


def test_a_simulation_says_what_never_drains() -> None:
    """It names the loop among what the job waits for."""
    with pytest.raises(JobFailedError) as failed:
        simulate(endless("inline", threading.Event()), seed=3, turns=3000)
    assert isinstance(failed.value.__cause__, SimulationError)
    assert "in the loop 'round and round', which has not drained" in str(failed.value)


@pytest.mark.parametrize("how", HOW)
def test_a_loop_that_grows(how: str | int) -> None:
    """What has no room in memory waits on disk; where that has none either, the job fails, and names the loop."""
    env = LocalEnvironment("growing")
    future = env.from_future("rabbits", in_memory=100, on_disk=20_000)
    body = env.from_batch([1]).union(future).flatmap(lambda number: [number, number + 1], parallelism=2)
    body.fill_future(future)
    body.filter(lambda number: False).print()
    with pytest.raises(JobFailedError, match="the loop 'rabbits' makes more of its records than can wait") as failed:
        run(env, how)
    assert isinstance(failed.value.__cause__, FeedbackError)
    assert failed.value.__cause__.loop == "rabbits"
    assert failed.value.failure is not None
    assert failed.value.failure.operator == "rabbits"


@pytest.mark.parametrize("how", HOW)
def test_what_cannot_be_written_to_disk(how: str | int) -> None:
    """A loop of such records runs in memory, and fails by name where that has no room."""
    for in_memory in (100, 1):
        env = LocalEnvironment("unpicklable")
        future = env.from_future("locks", in_memory=in_memory)
        records = [(5, threading.Lock()) for _ in range(6)]
        body = env.from_batch(lambda records=records: records).union(future).map(lambda item: (item[0] - 1, item[1]))
        body.filter(lambda item: item[0] > 0).fill_future(future)
        found = body.filter(lambda item: item[0] == 0).map(lambda item: item[0]).collect()
        try:
            run(env, how)
        except JobFailedError as error:
            assert in_memory == 1
            assert "cannot write them to disk" in str(error)
            assert isinstance(error.__cause__, FeedbackError)
        else:
            assert found == [0] * 6


@pytest.mark.parametrize("how", HOW)
def test_a_function_of_the_loop_that_fails(how: str | int) -> None:
    """The job fails with its exception, while records go round."""
    env = LocalEnvironment("failing")
    future = env.from_future("again")
    body = env.from_batch([3, 9, 5]).union(future).map(lambda number: number - 1 + 0 // number, parallelism=2)
    body.fill_future(future)
    body.filter(lambda number: False).print()
    with pytest.raises(JobFailedError, match="ZeroDivisionError"):
        run(env, how)
