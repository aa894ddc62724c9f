"""Streams: what each method does with records, the same on every backend."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import (
    STOP,
    BatchFunction,
    DataStream,
    KeyByFunction,
    LocalEnvironment,
    MapFunction,
    SourceFunction,
)
from sage.core.errors import GraphError

LIMIT = 60.0


class Pipeline:
    """An environment, and a list that its only sink fills."""

    def __init__(self, backend: str) -> None:
        self.env = LocalEnvironment(backend=backend)

    def run(self, stream: DataStream) -> list[Any]:
        out: list[Any] = []
        stream.sink(out.append)
        self.env.submit(autostop=True, timeout=LIMIT)
        return out


@pytest.fixture
def pipeline(backend: str) -> Pipeline:
    return Pipeline(backend)


def add(left: Any, right: Any) -> Any:
    return left + right


class CountTo(BatchFunction):
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.number = 0

    def execute(self) -> Any:
        self.number += 1
        return self.number if self.number <= self.limit else None


def test_none_ends_a_batch_function_and_nothing_else(pipeline: Pipeline) -> None:
    """A BatchFunction's None is the end; a None in a list, or put out by a map, is a record like any other."""
    env = pipeline.env
    ends = env.from_batch(CountTo, 3)
    values = env.from_batch([None, 1, None]).map(lambda value: value).flatmap(lambda value: [value])
    kept = values.filter(lambda value: value is None).map(lambda value: None)
    assert Counter(pipeline.run(ends.union(kept))) == Counter([1, 2, 3, None, None])


class Stops(BatchFunction):
    def execute(self) -> Any:
        return STOP


def test_stop_ends_a_batch_function_as_well(pipeline: Pipeline) -> None:
    """Nobody means it as a record there; in a list it is one."""
    env = pipeline.env
    assert pipeline.run(env.from_batch(Stops).union(env.from_batch([STOP]))) == [STOP]


def test_flatmap_takes_any_iterable_and_none_for_nothing(pipeline: Pipeline) -> None:
    """Lists, tuples, sets, generators, dict views, None; items may be None."""
    answers: list[Any] = [[1, 2], (3,), {4}, iter([5]), {6: 0}.keys(), None, [], [None], range(7, 9), (x for x in [9])]
    out = pipeline.run(pipeline.env.from_batch(range(len(answers))).flatmap(lambda index: answers[index]))
    assert out == [1, 2, 3, 4, 5, 6, None, 7, 8, 9]


def test_filter_asks_for_truth(pipeline: Pipeline) -> None:
    """Any truthy answer keeps the record."""
    out = pipeline.run(pipeline.env.from_batch([0, 1, "", "a", None, [0]]).filter(lambda value: value))
    assert out == [1, "a", [0]]


def test_running_and_final_reduce(backend: str) -> None:
    """Running: a value for every record, the first included. Final: one for each key, in the order of first sight."""
    words = ["b", "a", "b", "c", "a", "b"]
    pairs = [(word, 1) for word in words]

    def count(left: tuple[str, int], right: tuple[str, int]) -> tuple[str, int]:
        return (left[0], left[1] + right[1])

    pipeline = Pipeline(backend)
    running = pipeline.run(pipeline.env.from_batch(pairs).keyby(lambda pair: pair[0]).reduce(count))
    assert running == [("b", 1), ("a", 1), ("b", 2), ("c", 1), ("a", 2), ("b", 3)]
    pipeline = Pipeline(backend)
    final = pipeline.run(pipeline.env.from_batch(pairs).keyby(lambda pair: pair[0]).reduce(count, final=True))
    assert final == [("b", 3), ("a", 2), ("c", 1)]
    pipeline = Pipeline(backend)
    assert pipeline.run(pipeline.env.from_batch(words).reduce(add, final=True)) == ["babcab"]


@pytest.mark.parametrize("final", [False, True])
def test_nothing_comes_of_nothing(pipeline: Pipeline, final: bool) -> None:
    """Empty inputs give empty outputs; a reduce of no record has no value."""
    stream = pipeline.env.from_batch([]).map(str).keyby(len).reduce(add, final=final, parallelism=3)
    assert pipeline.run(stream.reduce(add, final=final)) == []


def test_keys_that_are_falsy_or_equal_are_keys(pipeline: Pipeline) -> None:
    """None, 0, "" and () are keys of their own; 1, True and 1.0 are one, in whatever subtask."""
    values = [None, 0, "", (), False, 0.0, -0.0, 1, True, 1.0, None, "", ()]
    keyed = pipeline.env.from_batch(values).map(lambda value: (value, 1)).keyby(lambda pair: pair[0])
    counted = keyed.reduce(lambda left, right: (left[0], left[1] + right[1]), final=True, parallelism=4)
    assert Counter(pipeline.run(counted)) == Counter([(None, 2), (0, 4), ("", 2), ((), 2), (1, 3)])


def test_order_is_kept_along_one_path_and_per_key_across_an_exchange(backend: str) -> None:
    """Thousands of records, several tasks: one path keeps all in order, a key's records stay in order among others."""
    count = 20_000 if backend == "local" else 300
    pipeline = Pipeline(backend)
    first = pipeline.env.from_batch(range(count))
    path = first.map(lambda value: value).union().keyby(lambda value: 0).map(lambda value: value)
    assert pipeline.run(path) == list(range(count))
    pipeline = Pipeline(backend)
    keyed = pipeline.env.from_batch(range(count)).keyby(lambda value: value % 13)
    out = pipeline.run(keyed.map(lambda value: value, parallelism=4))
    assert sorted(out) == list(range(count))
    for key in range(13):
        assert [value for value in out if value % 13 == key] == list(range(key, count, 13))


def test_a_stream_may_be_used_any_number_of_times(backend: str) -> None:
    """Every use gets all records; a sink returns its stream."""
    outs: list[list[int]] = [[] for _ in range(5)]
    env = LocalEnvironment(backend=backend)
    stream = env.from_batch(range(50)).map(lambda value: value + 1)
    stream.sink(outs[0].append).sink(outs[1].append).map(lambda value: -value).sink(outs[2].append)
    stream.map(lambda value: value, parallelism=3).sink(outs[3].append)
    stream.sink(outs[4].append, parallelism=3)
    env.submit(autostop=True, timeout=LIMIT)
    plain = list(range(1, 51))
    assert outs[0] == outs[1] == plain
    assert outs[2] == [-value for value in plain]
    assert sorted(outs[3]) == sorted(outs[4]) == plain


def test_a_union_with_itself_gives_every_record_twice(pipeline: Pipeline) -> None:
    """Also of keyed streams."""
    stream = pipeline.env.from_batch(range(100))
    keyed = stream.union(stream).keyby(lambda value: value % 3)
    out = pipeline.run(keyed.union(keyed).map(lambda value: value, parallelism=2))
    assert Counter(out) == Counter([*range(100)] * 4)


def test_diamonds_meet_again(pipeline: Pipeline) -> None:
    """Branches of one stream, of different speed and width, unite without holding each other up."""
    stream = pipeline.env.from_batch(range(5000 if pipeline.env._backend == "local" else 200))
    left = stream.map(lambda value: ("left", value), parallelism=3)
    right = stream.flatmap(lambda value: [("right", value)] * 2).filter(lambda pair: pair[1] % 2 == 0)
    out = pipeline.run(left.union(right, stream.map(lambda value: ("top", value))))
    counts = Counter(side for side, _ in out)
    count = counts["left"]
    assert (counts["right"], counts["top"]) == (count, count)


def test_union_takes_streams_of_one_environment() -> None:
    """Others are refused at once, with the line."""
    one, two = LocalEnvironment(), LocalEnvironment()
    stream = one.from_batch([1])
    for other, told in (
        (two.from_batch([2]), "union takes streams of the same environment"),
        ([2], r"union takes streams, not list\n.*hint: env\.from_batch"),
        (None, "union takes streams, not NoneType"),
    ):
        with pytest.raises(GraphError, match=rf"test_datastream\.py:\d+: {told}"):
            stream.union(other)  # type: ignore[arg-type]


def test_keyby_runs_as_wide_as_what_is_before_it() -> None:
    """Its parallelism follows the stream unless given."""
    env = LocalEnvironment()
    stream = env.from_batch([1]).map(str, parallelism=3)
    stream.keyby(len).sink(print)
    stream.keyby(len, parallelism=2).sink(print)
    stream.union(env.from_batch(["1"])).keyby(len).sink(print)
    assert [item.parallelism for item in env._builder.build().operators if item.kind == "keyby"] == [3, 2, 3]


def test_print_writes_whole_lines(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each record, with its prefix; printing tasks do not tear each other's lines."""
    env = LocalEnvironment(backend=backend)
    for letter in "abc":
        env.from_batch(range(200)).map(str, parallelism=2).print(f"{letter} ").filter(lambda value: False).print()
    env.submit(autostop=True, timeout=LIMIT)
    lines = capsys.readouterr().out.splitlines()
    assert Counter(lines) == Counter(f"{letter} {number}" for letter in "abc" for number in range(200))


class Ticks(SourceFunction):
    """Three ticks, each after several times of "nothing yet"."""

    def __init__(self) -> None:
        self.asked = 0

    def execute(self) -> Any:
        self.asked += 1
        if self.asked > 12:
            return STOP
        return self.asked if self.asked % 4 == 0 else None


def test_sources_may_have_nothing_yet_and_end_by_stop(pipeline: Pipeline) -> None:
    """None is "nothing yet", `STOP` the end; a callable may be a source as well."""
    answers = iter(["x", None, None, "y", STOP])
    ticks = pipeline.env.from_source(Ticks)
    out = pipeline.run(ticks.union(pipeline.env.from_source(lambda: next(answers))))
    assert sorted(map(str, out)) == ["12", "4", "8", "x", "y"]


def test_what_a_callable_opened_is_closed(backend: str, tmp_path: Path) -> None:
    """Files and generators that a callable gave are closed at the end; what the user made stays as it is."""
    path = tmp_path / "lines"
    path.write_text("a\nb\n")
    files: list[Any] = []

    def lines() -> Any:
        files.append(path.open())
        return files[-1]

    with path.open() as own:
        pipeline = Pipeline(backend)
        out = pipeline.run(pipeline.env.from_batch(lines).union(pipeline.env.from_batch(own)).map(str.strip))
        assert sorted(out) == ["a", "a", "b", "b"]
        assert files[0].closed
        assert not own.closed


def test_a_generator_is_closed_where_the_job_ends_before_it(backend: str) -> None:
    """Its ``finally`` runs, in the thread that ran the rest of it."""
    threads: list[threading.Thread] = []

    def forever() -> Iterator[int]:
        threads.append(threading.current_thread())
        try:
            while True:
                yield 1
        finally:
            threads.append(threading.current_thread())

    def fail(value: int) -> None:
        raise ValueError(value)

    env = LocalEnvironment(backend=backend)
    env.from_batch(forever).sink(fail)
    with pytest.raises(Exception, match="ValueError: 1"):
        env.submit(autostop=True, timeout=LIMIT)
    assert len(threads) == 2
    assert threads[0] is threads[1]


class Keys(KeyByFunction):
    def execute(self, value: Any) -> Any:
        return (self.context.key, value % 2)


class KeyOf(MapFunction):
    def execute(self, value: Any) -> Any:
        return self.context.key


@pytest.mark.parametrize("parallelism", [1, 3])
def test_the_key_is_at_hand_directly_behind_keyby(pipeline: Pipeline, parallelism: int) -> None:
    """``self.context.key`` is the key of the record in hand, for whatever operator follows, a keyby included."""
    keyed = pipeline.env.from_batch(range(12)).keyby(lambda value: value % 3).keyby(Keys, parallelism=parallelism)
    out = pipeline.run(keyed.map(KeyOf, parallelism=parallelism))
    assert Counter(out) == Counter([(value % 3, value % 2) for value in range(12)])


def test_big_fan_out_keeps_its_order(pipeline: Pipeline) -> None:
    """One record becomes more than a batch, twice over."""
    stream = pipeline.env.from_batch([1, 2]).flatmap(lambda value: [value] * 3000)
    assert pipeline.run(stream.keyby(lambda value: 0).union().map(lambda value: value)) == [1] * 3000 + [2] * 3000


def test_records_are_counted_operator_by_operator(backend: str) -> None:
    """The status sums what sources gave and sinks took; all has been counted when the job has ended."""
    pipeline = Pipeline(backend)
    stream = pipeline.env.from_batch(range(100)).filter(lambda value: value % 4 == 0).flatmap(lambda value: [value] * 3)
    pipeline.run(stream.map(str, parallelism=2))
    status = pipeline.env.get_job_status()
    assert (status["records_in"], status["records_out"]) == (100, 75)
