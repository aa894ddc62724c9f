"""State: what belongs to a key, to a subtask, and what could not be saved."""

from __future__ import annotations

import threading
from typing import Any

from sage.core.api.function.base_function import BaseFunction
from sage.core.api.function.reduce_function import ReduceFunction
from sage.core.engine.context import RuntimeContext
from sage.core.engine.keyed_state import ReducingState
from sage.core.testing.conformance._functions import first, itself
from sage.core.testing.conformance._promises import promise
from sage.core.testing.conformance.kit import Kit

__all__ = [
    "Careless",
    "Largest",
    "MakesALock",
    "Once",
    "Visits",
    "attributes",
    "belongs_to_its_key",
    "cleared",
    "many_keys",
]

_PAGE = "reference/state.md"


class Visits(BaseFunction):
    """All kinds of keyed state at once."""

    def open(self, context: RuntimeContext) -> None:
        self.count = context.value_state("count", 0)
        self.all = context.list_state("all")
        self.seen = context.map_state("seen")
        self.longest: ReducingState[int] = context.reducing_state("longest", max)

    def execute(self, visit: tuple[str, int]) -> Any:
        user, seconds = visit
        self.count.set(self.count.get() + 1)
        self.all.append(seconds)
        self.seen[seconds] = True
        return user, self.count.get(), self.all.get(), sorted(self.seen), self.longest.add(seconds)


class Once(BaseFunction):
    """Whether a key is new; forgets it at a negative number."""

    def open(self, context: RuntimeContext) -> None:
        self.known = context.value_state("known", False)

    def execute(self, pair: tuple[str, int]) -> tuple[str, int, bool]:
        was = self.known.get()
        if pair[1] < 0:
            self.known.clear()
        else:
            self.known.set(True)
        return *pair, was


@promise(
    "state.keyed",
    "Keyed state belongs to its key, whatever the parallelism: values, lists, maps, reduced ones.",
    f"{_PAGE}#keyed-state",
)
def belongs_to_its_key(kit: Kit) -> None:
    env = kit.environment()
    users = [f"user {number}" for number in range(9)]
    visits = [(user, seconds) for seconds in (3, 9, 1) for user in users]
    found = env.from_batch(visits).keyby(first).map(Visits, parallelism=4).map(itself).collect()
    kit.run(env)
    for user in users:
        assert [rest for name, *rest in found if name == user] == [
            [1, [3], [3], 3],
            [2, [3, 9], [3, 9], 9],
            [3, [3, 9, 1], [1, 3, 9], 9],
        ]


@promise("state.cleared", "What is cleared is as if it had never been written.", f"{_PAGE}#keyed-state")
def cleared(kit: Kit) -> None:
    env = kit.environment()
    pairs = [("a", 1), ("b", 1), ("a", 2), ("a", -1), ("b", 2), ("a", 3)]
    found = env.from_batch(pairs).keyby(first).map(Once, parallelism=2).collect()
    kit.run(env)
    assert [known for name, _, known in found if name == "a"] == [False, True, True, False]
    assert [known for name, _, known in found if name == "b"] == [False, True]


class Careless(BaseFunction):
    """Has an attribute that cannot be saved."""

    def __init__(self) -> None:
        self.made: Any = None

    def execute(self, record: Any) -> Any:
        return record


class MakesALock(Careless):
    """Makes it where nobody looks for it."""

    def __init__(self) -> None:
        self.made = threading.Lock()


@promise(
    "state.refused",
    "An attribute that could never be saved fails the job by name, before the first record.",
    f"{_PAGE}#attributes",
)
def attributes(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch([1]).rebalance().map(MakesALock).collect()
    failure = kit.fail(env)
    assert failure.error_type == "sage.core.errors.StateError"
    assert "'made'" in failure.message
    assert found == []


class Largest(ReduceFunction[tuple[str, int]]):
    """Keeps the larger one, and counts its own calls."""

    def execute(self, accumulated: tuple[str, int], value: tuple[str, int]) -> tuple[str, int]:
        return max(accumulated, value)


@promise("state.many-keys", "Many keys are kept apart.", f"{_PAGE}#keyed-state")
def many_keys(kit: Kit) -> None:
    env = kit.environment()
    pairs = [(f"k{number % 2000}", number) for number in range(6_000)]
    spread = env.from_batch(pairs).rebalance().map(itself, parallelism=2).keyby(first)
    found = spread.reduce(Largest, final=True, parallelism=3).collect()
    kit.run(env)
    assert len(found) == 2000
    assert {number for _, number in found} == set(range(4_000, 6_000))
