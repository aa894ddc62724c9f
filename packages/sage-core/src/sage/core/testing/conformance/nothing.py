"""None: where it is a value, and where it says something."""

from __future__ import annotations

from sage.core.api.function.batch_function import BatchFunction
from sage.core.testing.conformance._functions import itself
from sage.core.testing.conformance._promises import promise
from sage.core.testing.conformance.kit import Kit

__all__ = ["Three", "ends_a_batch", "is_a_value", "puts_out_nothing"]


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
