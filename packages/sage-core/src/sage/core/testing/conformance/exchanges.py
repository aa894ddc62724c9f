"""Exchanges: how records are dealt out among subtasks."""

from __future__ import annotations

from collections import Counter

from sage.core.api.function.batch_function import BatchFunction
from sage.core.engine.context import RuntimeContext
from sage.core.testing.conformance._functions import Place, itself
from sage.core.testing.conformance._promises import promise
from sage.core.testing.conformance.kit import Kit

__all__ = ["Shelves", "in_turn", "of_different_parallelism", "parallel_file", "parallel_source", "to_all"]

_PAGE = "reference/order-and-keys.md#how-records-find-their-subtask"


class Shelves(BatchFunction[str]):
    """Three partitions of two books each."""

    def partitions(self) -> list[str]:
        return ["a", "b", "c"]

    def open(self, context: RuntimeContext) -> None:
        self.books = [f"{shelf}{number} {context.subtask}" for shelf in context.partitions for number in (1, 2)]

    def execute(self) -> str | None:
        return self.books.pop(0) if self.books else None


@promise("exchanges.rebalance", "`rebalance` deals records out in turn, beginning with the first subtask.", _PAGE)
def in_turn(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(1000)).rebalance().map(Place, parallelism=4).collect()
    kit.run(env)
    assert sorted((number, subtask) for subtask, _, number in found) == [(n, n % 4) for n in range(1000)]


@promise("exchanges.parallelism", "Between operators of different parallelism records are dealt out in turn.", _PAGE)
def of_different_parallelism(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(900)).map(itself, parallelism=3).map(Place, parallelism=2).collect()
    kit.run(env)
    assert sorted(number for _, _, number in found) == list(range(900))
    assert Counter(subtask for subtask, _, _ in found) == {0: 450, 1: 450}


@promise("exchanges.broadcast", "`broadcast` gives every record to every subtask.", _PAGE)
def to_all(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(500)).map(itself, parallelism=2).broadcast().map(Place, parallelism=3).collect()
    kit.run(env)
    for subtask in range(3):
        assert sorted(number for place, _, number in found if place == subtask) == list(range(500))


@promise(
    "exchanges.partitions",
    "The partitions of a parallel source are dealt out, each to one subtask.",
    "reference/order-and-keys.md#parallel-sources",
)
def parallel_source(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(Shelves, parallelism=2).collect()
    kit.run(env)
    assert sorted(found) == ["a1 0", "a2 0", "b1 1", "b2 1", "c1 0", "c2 0"]


@promise(
    "exchanges.splits",
    "The splits of a file are dealt out among the subtasks that read it; each record is read once.",
    "reference/files.md",
)
def parallel_file(kit: Kit) -> None:
    path = kit.folder / "numbers.jsonl"
    path.write_text("".join(f"{number}\n" for number in range(3000)))
    env = kit.environment()
    found = env.from_jsonl(path, split_size=1000, parallelism=3).rebalance().map(itself, parallelism=2).collect()
    kit.run(env)
    assert sorted(found) == list(range(3000))
