"""The code generated for a task compiles, and does the same, whatever options an operator has and who takes what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import (
    AggregateFunction,
    AsyncMapFunction,
    BaseFunction,
    CoMapFunction,
    DataStream,
    ErrorPolicy,
    JoinFunction,
    KeyByFunction,
    LocalEnvironment,
    ReduceFunction,
    dead_letter,
    fail,
    retry,
    skip,
)

Apply = Callable[..., DataStream[Any]]


class Same(BaseFunction):
    """Puts every record out on the side as well."""

    def execute(self, record: Any) -> Any:
        self.context.side_output("side", record)
        return record


class Listed(BaseFunction):
    def execute(self, record: Any) -> Any:
        self.context.side_output("side", record)
        return record if isinstance(record, list) else [record]


class Key(KeyByFunction):
    def execute(self, record: Any) -> Any:
        self.context.side_output("side", record)
        return record


class Later(ReduceFunction):
    def execute(self, accumulated: Any, value: Any) -> Any:
        self.context.side_output("side", value)
        return value


class Fold(AggregateFunction):
    def create(self) -> Any:
        return None

    def add(self, accumulator: Any, value: Any) -> Any:
        self.context.side_output("side", value)
        return value


class Both(CoMapFunction):
    def map0(self, record: Any) -> Any:
        self.context.side_output("side", record)
        return record

    map1 = map0


OPERATORS: dict[str, Apply] = {
    "map": lambda stream, **more: stream.map(Same, **more),
    "filter": lambda stream, **more: stream.filter(Same, **more),
    "filter_map": lambda stream, **more: stream.filter_map(Same, **more),
    "flatmap": lambda stream, **more: stream.flatmap(Listed, **more),
    "map_batches": lambda stream, **more: stream.map_batches(Listed, max_size=2, **more),
    "map_batches in time": lambda stream, **more: stream.map_batches(Listed, max_size=2, max_wait=60, **more),
    "map_async": lambda stream, **more: stream.map_async(Answer, **more),
    "join": lambda stream, **more: _joined(stream, **more),
    "left join": lambda stream, **more: _joined(stream.filter(bool), how="left", **more),
    "lookup": lambda stream, **more: stream.lookup(Found, on=lambda record: record, **more),
    "lookup with a cache": lambda stream, **more: stream.lookup(Found, on=lambda record: 1, cache_size=1, **more),
    "keyby": lambda stream, **more: stream.keyby(Key, **more),
    "reduce": lambda stream, **more: stream.reduce(Later, **more),
    "reduce at the end": lambda stream, **more: stream.reduce(Later, final=True, **more),
    "aggregate": lambda stream, **more: stream.aggregate(Fold, **more),
    "aggregate at the end": lambda stream, **more: stream.aggregate(Fold, final=True, **more),
    "comap": lambda stream, **more: stream.connect(stream).comap(Both, **more),
}


class Found(BaseFunction):
    def execute(self, asked: Any) -> Any:
        self.context.side_output("side", asked)
        return asked


class Joined(JoinFunction):
    def execute(self, left: Any, right: Any) -> Any:
        self.context.side_output("side", (left, right))
        return left, right


def _joined(stream: DataStream[Any], **more: Any) -> DataStream[Any]:
    stream = stream.map(lambda record: record)  # keys of its own
    return stream.connect(stream).keyby(lambda record: record % 2, lambda record: record % 2).join(Joined, **more)


class Answer(AsyncMapFunction):
    async def execute(self, record: Any) -> Any:
        return record


POLICIES: dict[str, Callable[[Path], ErrorPolicy]] = {
    "skip": lambda path: skip(),
    "at most": lambda path: skip(at_most=1),
    "ratio": lambda path: skip(ratio=0.5),
    "retry": lambda path: retry(1),
    "retry, then skip": lambda path: retry(1, then=skip()),
    "dead letter": lambda path: dead_letter(),
    "dead letter in a file": lambda path: dead_letter(path / "dead.jsonl"),
}
INPUTS: dict[str, Callable[[DataStream[Any]], DataStream[Any]]] = {
    "plain": lambda stream: stream,
    "keyed": lambda stream: stream.keyby(lambda record: record % 2),
    "from another task": lambda stream: stream.rebalance(),
}


def results(operator: str, given: str, policy: ErrorPolicy, taken: str) -> list[list[Any]]:
    env = LocalEnvironment("matrix", "inline")
    stream = OPERATORS[operator](INPUTS[given](env.from_batch([1, 2, 3, 4, 5])), on_error=policy)
    collected = []
    if "records" in taken:
        collected.append(stream.collect())
        collected.append(stream.map(lambda record: record).collect())
    if "side" in taken:
        collected.append(stream.side_output("side").collect())
    if policy.then == "dead_letter" and policy.file is None:
        stream.dead_letters.collect()
    env.submit(autostop=True, timeout=60)
    return collected


@pytest.mark.parametrize("taken", ["records", "side", "records and side"])
@pytest.mark.parametrize("given", INPUTS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_no_option_changes_what_comes_out(operator: str, given: str, taken: str, tmp_path: Path) -> None:
    """Where nothing fails, every policy gives what there is without one."""
    expected = results(operator, given, fail(), taken)
    for name, policy in POLICIES.items():
        assert results(operator, given, policy(tmp_path), taken) == expected, name


def _aside(stream: DataStream[Any]) -> DataStream[Any]:
    return stream.map(Same).side_output("side")


def _boom(record: Any) -> Any:
    raise ValueError(record)


def _give_up(stream: DataStream[Any]) -> DataStream[Any]:
    return stream.map(_boom, on_error=dead_letter()).dead_letters.map(lambda letter: letter.record)


def _batch(stream: DataStream[Any]) -> DataStream[Any]:
    return stream.map_batches(list, max_size=1, max_wait=60, on_error=skip())


def _sift(stream: DataStream[Any]) -> DataStream[Any]:
    return stream.filter(lambda record: True, on_error=skip()).filter_map(lambda record: record, on_error=skip())


def _spread(stream: DataStream[Any]) -> DataStream[Any]:
    return stream.flatmap(lambda record: [record], on_error=retry(1))


DEEP: dict[str, tuple[Callable[[DataStream[Any]], DataStream[Any]], ...]] = {
    "side outputs": (_aside,),
    "dead letters": (_give_up,),
    "flatmap and dead letters": (_spread, _give_up),
    "flatmap and side outputs": (_spread, _aside, _aside),
    "filters": (_sift, _sift),
    "batches and filters": (_batch, _sift, _sift),
    "all of them": (_batch, _sift, _aside, _spread, _sift, _give_up, _sift),
}


@pytest.mark.parametrize("way", DEEP)
def test_no_row_of_operators_is_too_deep(backend: str, way: str) -> None:
    """Python bounds how deeply code may be nested and indented; tasks are cut so that theirs never is too deep."""
    env = LocalEnvironment("deep", backend)
    stream = env.from_batch([1, 2, 3])
    for _ in range(24):
        for step in DEEP[way]:
            stream = step(stream)
    arrived = stream.collect()
    env.submit(autostop=True, timeout=60)
    assert arrived == [1, 2, 3]
