"""Cases of loops, rewritten from Flink's public suite. See docs/reference/semantics-cases.md."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from sage.core.api import CoMapFunction, FlatMapFunction, LocalEnvironment, RuntimeContext
from sage.core.errors import GraphError

BACKENDS = ("inline", "local")


def once_more(value: int) -> list[int]:
    return [value - 1] if value > 0 else []


@pytest.mark.parametrize("backend", BACKENDS)
def test_records_go_round_until_there_are_none(backend: str) -> None:
    """Flink IterateITCase.testSimpleIteration: what is sent back comes again, on all subtasks, and then it ends.

    Ours differs: the loop ends when it is found empty; Flink's when nothing has come for some seconds.
    """
    env = LocalEnvironment("loop", backend)
    again = env.from_future("again")
    rounds = env.from_collection([3] * 8).union(again).flatmap(once_more, parallelism=4)
    rounds.fill_future(again)
    found = rounds.collect()
    env.submit(autostop=True)
    assert sorted(found) == [0] * 8 + [1] * 8 + [2] * 8


class Rounds(CoMapFunction):
    """Numbers by the one input, and what comes back by the other."""

    def map0(self, value: int) -> str:
        return str(value + 1)

    def map1(self, value: str) -> str:
        return str(int(value) + 1) if int(value) < 2 else "done"


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_comes_back_may_be_of_another_type(backend: str) -> None:
    """Flink IterateITCase.testCoIteration: the loop comes in by an input of its own."""
    env = LocalEnvironment("loop", backend)
    again = env.from_future("again")
    other = env.from_collection(["1000", "2000"])
    rounds = env.from_collection([0, 0]).connect(again.union(other)).comap(Rounds)
    rounds.filter(lambda value: value != "done").fill_future(again)
    found = rounds.collect()
    env.submit(autostop=True)
    assert sorted(value for value in found if value != "done") == ["1", "1", "2", "2"]
    assert found.count("done") == 4  # of 1000, 2000, and of both twos


class Counting(FlatMapFunction[int, tuple[int, int]]):
    """Counts the records of each key, and lets each go round with one less."""

    def open(self, context: RuntimeContext) -> None:
        self.count = context.value_state("count", 0)

    def execute(self, value: int) -> Iterable[tuple[int, int]]:
        self.count.set(self.count.get() + 1)
        yield value - 1, self.count.get()


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_comes_back_finds_its_key(backend: str) -> None:
    """Flink IterateITCase.testGroupByFeedback: behind a keyby, records go to the subtask and the state of their key."""
    env = LocalEnvironment("loop", backend)
    again = env.from_future("again")
    records = env.from_collection([1, 2, 3]).union(again)
    counted = records.keyby(lambda value: value % 3).flatmap(Counting, parallelism=3)
    counted.map(lambda item: item[0]).filter(lambda value: value >= 0).fill_future(again)
    found = counted.collect()
    env.submit(autostop=True)
    assert len(found) == 2 + 3 + 4
    # of key 0 come 3, then a 0 for each of the three records; of 1 and 2 what goes by on the way
    assert max(count for value, count in found if (value + 1) % 3 == 0) == 4


def test_a_loop_that_is_never_closed_is_refused() -> None:
    """Flink IterateITCase.testExecutionWithEmptyIteration: a future that nothing fills."""
    env = LocalEnvironment("loop", "inline")
    env.from_collection([1, 10]).union(env.from_future("again")).sink(print)
    with pytest.raises(GraphError, match="again"):
        env.submit()


def test_a_loop_is_closed_by_what_comes_from_it() -> None:
    """Flink IterateITCase.testClosingFromOutOfLoop: a stream that does not come from the future cannot fill it."""
    env = LocalEnvironment("loop", "inline")
    source = env.from_collection([1, 10])
    first, second = env.from_future("first"), env.from_future("second")
    source.union(first).flatmap(once_more).fill_future(first)
    source.union(second).flatmap(once_more).sink(print)
    source.flatmap(once_more).fill_future(second)
    with pytest.raises(GraphError, match="second"):
        env.submit()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_may_have_several_subtasks_in_it(backend: str) -> None:
    """Flink IterateITCase.testDifferingParallelism: operators of several parallelisms in one loop.

    Ours differs: it is allowed, since a loop has one head whatever its operators; Flink refuses it.
    """
    env = LocalEnvironment("loop", backend)
    again = env.from_future("again")
    rounds = env.from_collection([2, 2]).union(again).flatmap(once_more, parallelism=2).map(abs, parallelism=3)
    rounds.fill_future(again)
    found = rounds.collect()
    env.submit(autostop=True)
    assert sorted(found) == [0, 0, 1, 1]
