"""Functions: their life, and what each subtask has of its own."""

from __future__ import annotations

from typing import Any

from sage.core.api.function.base_function import BaseFunction
from sage.core.engine.context import RuntimeContext
from sage.core.testing.conformance._functions import Ring, add_one, drop, itself, sum_of
from sage.core.testing.conformance._promises import promise
from sage.core.testing.conformance.kit import Kit

__all__ = ["Numbered", "Where", "batches", "context", "life", "many_operators", "many_subtasks", "of_its_own"]


class Numbered(BaseFunction):
    """How many records this very instance has had."""

    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        self.count = start
        self.step = step

    def execute(self, record: object) -> int:
        self.count += self.step
        return self.count


class Where(BaseFunction):
    """What the context tells."""

    def open(self, context: RuntimeContext) -> None:
        self.at = (context.job_name, context.operator, context.uid, context.parallelism, context.attempt, context.job)
        self.subtask = context.subtask

    def execute(self, record: Any) -> Any:
        return self.subtask, self.at


@promise(
    "functions.life",
    "A function is opened before its first record and closed after its last, in every subtask.",
    "reference/api.md#functions",
)
def life(kit: Kit) -> None:
    env, bell = kit.environment(), kit.bell()
    env.from_batch(range(6)).rebalance().sink(Ring, bell, "ring", True, parallelism=2)
    kit.run(env)
    heard = bell.heard(10, kit.limit)
    assert heard[:2] == ["open ring"] * 2, f"all functions are open before any record flows: {heard}"
    assert sorted(heard[2:]) == sorted(["close ring"] * 2 + [f"ring {number}" for number in range(6)])


@promise(
    "functions.own",
    "Each subtask has a function of its own, made as it was declared.",
    "reference/order-and-keys.md#subtasks-and-tasks",
)
def of_its_own(kit: Kit) -> None:
    env, instance = kit.environment(), Numbered(100)
    numbers = env.from_batch(range(12)).rebalance()
    made = numbers.map(Numbered, 10, step=10, parallelism=3).collect()
    copied = numbers.map(instance, parallelism=3).collect()
    kit.run(env)
    assert sorted(made) == sorted([20, 30, 40, 50] * 3)
    assert sorted(copied) == sorted([101, 102, 103, 104] * 3)
    assert instance.count == 100, "what was declared is never run itself"


@promise("functions.context", "The context tells where a function runs.", "reference/api.md#functions")
def context(kit: Kit) -> None:
    env = kit.environment("where")
    found = env.from_batch(range(8)).rebalance().map(Where, name="there", uid="place", parallelism=4).collect()
    kit.run(env)
    assert {at for _, at in found} == {("where", "there", "place", 4, 1, env.env_uuid)}
    assert sorted(subtask for subtask, _ in found) == [0, 0, 1, 1, 2, 2, 3, 3]


@promise(
    "functions.batches",
    "`map_batches` gets full batches, in order, and the rest at the end.",
    "reference/operators.md#map_batches",
)
def batches(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(1050)).rebalance().map_batches(_told, max_size=100).collect()
    kit.run(env)
    assert found == [(100 * n, 100) for n in range(10)] + [(1000, 50)]


def _told(batch: list[int]) -> list[tuple[int, int]]:
    return [(batch[0], len(batch))]


@promise("functions.deep", "A pipeline may be as long as it likes.", "reference/order-and-keys.md#subtasks-and-tasks")
def many_operators(kit: Kit) -> None:
    env = kit.environment()
    stream = env.from_batch(range(100))
    for number in range(70):
        stream = stream.map(add_one, uid=f"plus {number}")
    stream.sink(drop)
    found = stream.reduce(sum_of, final=True).collect()
    kit.run(env)
    assert found == [sum(range(100)) + 70 * 100]


@promise("functions.wide", "An operator may have many subtasks.", "reference/order-and-keys.md#subtasks-and-tasks")
def many_subtasks(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(1000)).rebalance().map(itself, parallelism=12).collect()
    kit.run(env)
    assert sorted(found) == list(range(1000))
