"""The end of input: a message that is counted, never a matter of time."""

from __future__ import annotations

from typing import Any

from sage.core.api.function.aggregate_function import AggregateFunction
from sage.core.testing.conformance._functions import Ring, itself, sum_of, tens_of
from sage.core.testing.conformance._promises import promise
from sage.core.testing.conformance.kit import Kit

__all__ = ["Count", "closed_in_order", "of_all_senders", "published", "unpublished", "what_was_held", "without_records"]

_PAGE = "reference/flow.md#the-end-of-the-input"


class Count(AggregateFunction[int, int, int]):
    """How many there were."""

    def create(self) -> int:
        return 0

    def add(self, accumulator: int, record: int) -> int:
        return accumulator + 1

    def result(self, accumulator: int) -> int:
        return accumulator


@promise("ends.all-senders", "An input has ended when all of its senders have said so.", _PAGE)
def of_all_senders(kit: Kit) -> None:
    env = kit.environment()
    short, long = env.from_batch([1], uid="short"), env.from_batch(range(3000), uid="long")
    empty = env.from_batch([], uid="empty")
    spread = short.union(long, empty).map(itself, parallelism=4)
    found = spread.reduce(sum_of, final=True).collect()
    counted = spread.keyby(tens_of).aggregate(Count, final=True, parallelism=3).collect()
    kit.run(env)
    assert found == [1 + sum(range(3000))], "the total comes once, when all have ended"
    assert sum(counted) == 3001


@promise("ends.empty", "A pipeline without any record ends as any other.", _PAGE)
def without_records(kit: Kit) -> None:
    env = kit.environment()
    nothing = env.from_batch([]).map(itself, parallelism=2).keyby(itself)
    found = nothing.reduce(sum_of, final=True, parallelism=2).collect()
    kit.run(env)
    assert found == []


@promise("ends.held", "What operators hold back comes out at the end, before the end is passed on.", _PAGE)
def what_was_held(kit: Kit) -> None:
    env = kit.environment()
    batches = env.from_batch(range(25)).rebalance().map_batches(_as_tuple, max_size=10)
    found = batches.rebalance().map_batches(_as_tuple, max_size=2).collect()
    kit.run(env)
    assert [[len(batch) for batch in batches] for batches in found] == [[10, 10], [5]]


def _as_tuple(batch: list[Any]) -> list[tuple[Any, ...]]:
    return [tuple(batch)]


@promise("ends.close", "Functions are closed upstream first, each once, after their last record.", _PAGE)
def closed_in_order(kit: Kit) -> None:
    env, bell = kit.environment(), kit.bell()
    stream = env.from_batch([1, 2]).map(Ring, bell, "first", records=True)
    stream.rebalance().map(Ring, bell, "second", records=True).rebalance().sink(Ring, bell, "third", records=True)
    kit.run(env)
    heard = [text for text in bell.heard(12, kit.limit) if not text.startswith("open")]
    for name in ("first", "second", "third"):
        assert [text for text in heard if name in text] == [f"{name} 1", f"{name} 2", f"close {name}"]
    assert [text for text in heard if text.startswith("close")] == ["close first", "close second", "close third"]


@promise("ends.published", "What sinks have prepared is published once all tasks are done.", _PAGE)
def published(kit: Kit) -> None:
    env, path = kit.environment(), kit.folder / "numbers.jsonl"
    env.from_batch(range(1000)).rebalance().map(itself, parallelism=2).rebalance().to_jsonl(path)
    kit.run(env)
    assert sorted(map(int, path.read_text().split())) == list(range(1000))


@promise("ends.unpublished", "A job that fails publishes nothing.", _PAGE)
def unpublished(kit: Kit) -> None:
    env, path = kit.environment(), kit.folder / "numbers.jsonl"
    numbers = env.from_batch(range(1000))
    numbers.rebalance().to_jsonl(path)
    numbers.rebalance().map(_fails_at_the_end).collect()
    kit.fail(env)
    left = [item.name for item in kit.folder.iterdir() if item.is_file()]
    assert left == [], f"nothing may be there of what was not published: {left}"


def _fails_at_the_end(number: int) -> int:
    if number == 999:
        raise ValueError("the last one")
    return number
