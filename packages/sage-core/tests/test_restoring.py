"""Going on from what was saved: at any place, at another parallelism, as if nothing had been interrupted."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage.core.api import (
    STOP,
    AggregateFunction,
    BaseFunction,
    LocalEnvironment,
    MapFunction,
    RuntimeContext,
    SourceFunction,
)
from sage.core.api.datastream import DataStream
from sage.core.engine.events import Attempt
from sage.core.engine.failures import OperatorError
from sage.core.engine.partitions import list_partitions
from sage.core.engine.snapshot import OperatorSnapshot
from sage.core.engine.task import Task
from sage.core.engine.wiring import TaskSet, wire
from sage.core.errors import StateError
from sage.core.plan.planner import make_plan

Saved = Mapping[str, Sequence[OperatorSnapshot]]


@dataclass
class Part:
    """What a run put out before it was interrupted or ended, and what it has saved then."""

    out: list[Any]
    saved: Saved
    ended: bool


def run(
    build: Callable[[LocalEnvironment], DataStream[Any]], *, turns: int | None = None, restored: Saved | None = None
) -> Part:
    """Run a pipeline like the backend ``inline``, at most so many turns of its sources, then save everything."""
    env = LocalEnvironment("part", "inline")
    out = build(env).collect()
    plan = make_plan(env._builder.build())
    attempt = replace(Attempt("job"), partitions=list_partitions(plan, restored), restored=restored or {})
    wiring = wire(
        TaskSet(plan, plan.tasks), attempt, {}, lambda event: out.extend(event.records), batch_size=1, credits=None
    )
    tasks = wiring.tasks
    for task in tasks:
        task.open()
    sources = [task for task in tasks if task.chain.source is not None]
    others = [task for task in tasks if task.chain.source is None]
    done: set[Task] = set()

    def drain() -> None:
        moved = True
        while moved:
            moved = False
            for task in reversed(others):
                if task not in done and (step := task.step()) != "wait":
                    moved = True
                    if step == "done":
                        done.add(task)
            moved = moved or any(map(len, wiring.inboxes.values()))

    def ending() -> bool:
        return any(task._endings is not None for task in tasks)

    while (turns is None or turns > 0 or ending()) and len(done) < len(tasks):  # what began to end goes on to its end
        turns = None if turns is None else turns - 1
        for task in sources:
            if task not in done and task.step() == "done":
                done.add(task)
            drain()
    saved: dict[str, list[OperatorSnapshot]] = {}
    if not done:
        for task in tasks:
            for uid, snapshot in task.snapshot().items():
                saved.setdefault(uid, []).append(snapshot)
    for task in tasks:
        task.close()
    return Part(out, saved, bool(done))


class Numbers(SourceFunction):
    """Its position is its attribute."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.next = 0

    def execute(self) -> Any:
        if self.next >= self.limit:
            return STOP
        self.next += 1
        return self.next - 1


class Tell(MapFunction):
    """Numbers the records that it has seen, and the distinct ones of each key."""

    def __init__(self) -> None:
        self.seen = 0

    def open(self, context: RuntimeContext) -> None:
        self.opened = "anew"
        self.distinct = context.map_state("distinct")
        self.total = context.reducing_state("total", lambda a, b: a + b)
        self.latest = context.list_state("latest")

    def execute(self, value: int) -> tuple[int, int, int, list[int]]:
        self.seen += 1
        self.distinct[value % 5] = True
        self.latest.set([*self.latest.get()[-2:], value])
        return value, len(self.distinct), self.total.add(value), self.latest.get()


class Mean(AggregateFunction):
    def create(self) -> tuple[int, int]:
        return 0, 0

    def add(self, accumulator: tuple[int, int], value: int) -> tuple[int, int]:
        return accumulator[0] + value, accumulator[1] + 1

    def result(self, accumulator: tuple[int, int]) -> float:
        return accumulator[0] / accumulator[1]


def numbers(env: LocalEnvironment, limit: int = 23) -> DataStream[Any]:
    return env.from_source(Numbers, limit)


PIPELINES: dict[str, Callable[[LocalEnvironment, int], DataStream[Any]]] = {
    "keyed": lambda env, n: numbers(env).keyby(lambda v: v % 4).map(Keyed, parallelism=n),
    "reduce": lambda env, n: numbers(env).keyby(lambda v: v % 4).reduce(lambda a, b: a + b, parallelism=n),
    "reduce final": lambda env, n: (
        numbers(env).keyby(lambda v: v % 4).reduce(lambda a, b: a + b, final=True, parallelism=n)
    ),
    "aggregate": lambda env, n: numbers(env).keyby(lambda v: v % 4).aggregate(Mean, parallelism=n),
    "aggregate final": lambda env, n: numbers(env).keyby(str).aggregate(Mean, final=True, parallelism=n),
    "collection": lambda env, n: env.from_collection(range(23)).keyby(lambda v: v % 3).map(Keyed, parallelism=n),
    "generator": lambda env, n: env.from_batch(lambda: (v * v for v in range(23))).filter(lambda v: v % 2 == 0),
    "batches": lambda env, n: numbers(env).map_batches(lambda batch: [sum(batch)], max_size=4),
    "union": lambda env, n: (
        numbers(env, 9).union(env.from_collection(range(100, 114))).keyby(lambda v: v % 7).map(Keyed, parallelism=n)
    ),
}


class Keyed(Tell):
    """`Tell` without a state that belongs to the subtask."""

    def __init__(self) -> None:
        pass

    def execute(self, value: int) -> tuple[int, int, int, list[int]]:
        self.distinct[value % 5] = True
        self.latest.set([*self.latest.get()[-2:], value])
        return value, len(self.distinct), self.total.add(value), self.latest.get()


@given(
    st.sampled_from(sorted(PIPELINES)),
    st.lists(st.integers(0, 12), max_size=4),
    st.lists(st.integers(1, 5), min_size=5, max_size=5),
)
def test_interrupted_anywhere_and_moved_the_results_are_the_same(
    name: str, cuts: list[int], parallelisms: list[int]
) -> None:
    """Wherever it was cut, and however many subtasks go on from it, nothing is lost or doubled."""
    pipeline = PIPELINES[name]
    whole = run(lambda env: pipeline(env, 1)).out
    out: list[Any] = []
    saved: Saved = {}
    for turns, parallelism in zip([*cuts, None], parallelisms, strict=False):
        part = run(lambda env, n=parallelism: pipeline(env, n), turns=turns, restored=saved)  # type: ignore[misc]
        out += part.out
        saved = part.saved
        if part.ended:
            break
    assert Counter(map(repr, out)) == Counter(map(repr, whole))


def test_attributes_are_laid_over_what_open_has_made() -> None:
    """The count goes on, although the constructor and open() have run anew."""

    class Counting(BaseFunction):
        def __init__(self) -> None:
            self.count = 0

        def open(self, context: RuntimeContext) -> None:
            self.opened: list[str] = []

        def execute(self, value: int) -> int:
            self.count += 1
            self.opened.append("record")
            return self.count + 100 * len(self.opened)

    first = run(lambda env: numbers(env, 4).map(Counting), turns=2)
    second = run(lambda env: numbers(env, 4).map(Counting), restored=first.saved)
    assert first.out + second.out == [101, 202, 303, 404]


class Summing(BaseFunction):
    def __init__(self) -> None:
        self.sum = 0

    def execute(self, value: int) -> int:
        self.sum += value
        return self.sum


class Splitting(Summing):
    @staticmethod
    def split_state(states: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
        return [{"sum": sum(state["sum"] for state in states) if subtask == 0 else 0} for subtask in range(n)]


class WronglySplitting(Summing):
    @staticmethod
    def split_state(states: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
        return states


def spread(env: LocalEnvironment, function: type[Summing], parallelism: int) -> DataStream[Any]:
    return env.from_collection([1, 2, 3, 4, 5, 6]).rebalance().map(function, parallelism=parallelism, name="summing")


def restoring(function: type[Summing], before: int, after: int, turns: int = 4) -> Part:
    saved = run(lambda env: spread(env, function, before), turns=turns).saved
    return run(lambda env: spread(env, function, after), restored=saved)


def test_attributes_of_other_subtasks_are_refused_by_name() -> None:
    """Nobody can know how to share out a sum, so the error asks."""
    with pytest.raises(OperatorError) as caught:
        restoring(Summing, 2, 3)
    error = caught.value.cause
    assert isinstance(error, StateError)
    assert error.attribute == "sum"
    assert "was saved by 2 subtasks, and cannot be shared out among 3" in str(error)
    assert "split_state(states, n)" in str(error)


def test_attributes_that_never_changed_go_anywhere() -> None:
    """Before the first record all subtasks are alike."""
    assert sorted(restoring(Summing, 2, 3, turns=0).out) == sorted(run(lambda env: spread(env, Summing, 3)).out)


def test_split_state_shares_out() -> None:
    """The class says what each of the new subtasks gets."""
    assert sorted(restoring(Splitting, 2, 1).out) == [15, 21]


def test_what_split_state_gives_is_checked() -> None:
    """It must be a mapping for each new subtask."""
    with pytest.raises(OperatorError, match=r"split_state\(states, 3\) must return 3 mappings"):
        restoring(WronglySplitting, 2, 3)


def test_state_of_another_kind_is_refused() -> None:
    """A program that has changed what it keeps under a name is told so, as is one that has dropped it."""

    class Other(Keyed):
        def open(self, context: RuntimeContext) -> None:
            self.distinct = context.list_state("distinct")  # type: ignore[assignment]

    def build(function: type[Tell]) -> Callable[[LocalEnvironment], DataStream[Any]]:
        return lambda env: numbers(env).keyby(lambda v: v % 4).map(function, uid="told")

    saved = run(build(Keyed), turns=5).saved
    with pytest.raises(OperatorError, match="'distinct' was of kind map, it is list now"):
        run(build(Other), restored=saved)

    class Less(Keyed):
        def open(self, context: RuntimeContext) -> None:
            self.distinct = context.map_state("distinct")

    with pytest.raises(OperatorError, match=r"was of kind (list|reducing), it is not declared any more now"):
        run(build(Less), restored=saved)


def test_a_record_in_flight_that_cannot_be_saved_is_an_error() -> None:
    """It is said at the snapshot, with the operator."""
    with pytest.raises(OperatorError, match=r"snapshot of .*a record in flight cannot be saved"):
        run(lambda env: env.from_batch(lambda: (threading.Lock() for _ in "abc")).map_batches(list), turns=2)


def test_reading_files_goes_on_where_it_was(tmp_path: Path) -> None:
    """The positions of a connector's partitions are part of what is saved; another parallelism shares them anew."""
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("".join(f"{name}{line}\n" for line in range(7)))

    def build(parallelism: int) -> Callable[[LocalEnvironment], DataStream[Any]]:
        return lambda env: env.from_text(str(tmp_path / "*.txt"), parallelism=parallelism).map(str.upper)

    first = run(build(2), turns=5)
    second = run(build(3), turns=1, restored=first.saved)
    third = run(build(1), restored=second.saved)
    assert sorted(first.out + second.out + third.out) == sorted(f"{n}{line}" for n in "ABC" for line in range(7))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6)), min_size=1, max_size=4))
@settings(max_examples=30)
def test_a_file_is_read_once_however_it_was_cut(parts: list[tuple[int, int]]) -> None:
    """A job that goes on keeps the partitions that it had, at any parallelism, also when files were added or grew."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.txt"
        path.write_text("".join(f"{line}\n" for line in range(40)))
        saved: Saved | None = None
        out: list[Any] = []
        for parallelism, turns in [*parts, (2, None)]:

            def build(env: LocalEnvironment, parallelism: int = parallelism) -> DataStream[Any]:
                return env.from_text(Path(folder) / "*.txt", parallelism=parallelism).map(int)

            part = run(build, turns=turns, restored=saved)
            out += part.out
            if part.ended:
                break
            saved = part.saved
            (Path(folder) / "later.txt").write_text("nothing that is read\n")
            with path.open("a") as file:
                file.write("100\n")
    assert sorted(number for number in out if number < 100) == list(range(40))


class Endless:
    """A source of the contract that may get more partitions."""

    names = ("a", "b")
    bounded = False

    def partitions(self) -> Sequence[str]:
        return self.names

    def open(self, partition: str, position: Any) -> Any:
        return EndlessReader(partition, position or 0)


class EndlessReader:
    def __init__(self, name: str, next: int) -> None:
        self.name, self.next = name, next

    def read(self, n: int) -> list[str]:
        self.next += 1
        return [f"{self.name}{self.next}"]

    def position(self) -> int:
        return self.next

    def wait(self, timeout: float) -> None: ...

    def close(self) -> None: ...


def test_a_source_without_end_may_have_got_more_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that it had come first and go on where they were; new ones begin."""
    first = run(lambda env: env.from_connector(Endless).map(str), turns=3)
    assert first.out == ["a1", "b1", "a2"]
    monkeypatch.setattr(Endless, "names", ("b", "c"))
    second = run(lambda env: env.from_connector(Endless).map(str), turns=4, restored=first.saved)
    assert second.out == ["a3", "b2", "c1", "a4"]
