"""None: where it is a value, and where it says something."""

from __future__ import annotations

from typing import Any

from sage.core.api.function.batch_function import BatchFunction
from sage.core.api.function.source_function import STOP, SourceFunction
from sage.core.testing.conformance._functions import itself
from sage.core.testing.conformance._promises import UNBOUNDED, promise
from sage.core.testing.conformance.kit import Kit

__all__ = ["Fetching", "Hesitant", "Three", "ends_a_batch", "is_a_value", "nothing_yet", "puts_out_nothing"]


class Three(BatchFunction[int]):
    """Three numbers; it must not be asked again after None."""

    def __init__(self) -> None:
        self.count = 0

    def execute(self) -> int | None:
        self.count += 1
        assert self.count < 5, "it has ended"
        return self.count if self.count < 4 else None


def _none_of(number: object) -> None:
    return None


def _few(number: int) -> list[int] | None:
    return None if number % 2 else [number, number]


def _even(number: int) -> int | None:
    return number if number % 2 == 0 else None


@promise(
    "nothing.value",
    "None is a record like any other: `map` hands it on, over exchanges too.",
    "reference/api.md#streams",
)
def is_a_value(kit: Kit) -> None:
    env = kit.environment()
    numbers = env.from_batch([1, None, 2])
    found, made = numbers.rebalance().map(itself, parallelism=2).collect(), numbers.map(_none_of).rebalance().collect()
    kit.run(env)
    assert sorted(found, key=str) == [1, 2, None]
    assert made == [None, None, None]


@promise("nothing.batch", "A `BatchFunction` ends with None.", "reference/sources.md")
def ends_a_batch(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(Three).collect()
    kit.run(env)
    assert found == [1, 2, 3]


@promise(
    "nothing.flatmap", "`flatmap` puts out nothing for None, `filter_map` leaves it out.", "reference/operators.md"
)
def puts_out_nothing(kit: Kit) -> None:
    env = kit.environment()
    numbers = env.from_batch(range(4))
    found, even = numbers.flatmap(_few).collect(), numbers.filter_map(_even).collect()
    kit.run(env)
    assert found == [0, 0, 2, 2]
    assert even == [0, 2]


class Hesitant(SourceFunction[str]):
    """Says "nothing yet" many times before it says anything."""

    def __init__(self) -> None:
        self.asked = 0

    def execute(self) -> Any:
        self.asked += 1
        if self.asked < 10:
            return None
        return "something" if self.asked == 10 else STOP


class Fetching(SourceFunction[str]):
    """Gets its records while it waits."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.count = 0

    def execute(self) -> Any:
        if self.fetched:
            return self.fetched.pop()
        return STOP if self.count == 2 else None

    def wait(self, timeout: float) -> None:
        self.count += 1
        self.fetched.append(f"fetched {self.count}")


@promise(
    "nothing.source",
    "For a source None is 'nothing yet': it is asked again, waits in its own way, and ends with STOP.",
    "reference/sources.md",
    UNBOUNDED,
)
def nothing_yet(kit: Kit) -> None:
    env = kit.environment()
    hesitant, fetching = env.from_source(Hesitant), env.from_source(Fetching)
    found = hesitant.union(fetching).rebalance().map(itself).collect()
    kit.run(env)
    assert sorted(found) == ["fetched 1", "fetched 2", "something"]
