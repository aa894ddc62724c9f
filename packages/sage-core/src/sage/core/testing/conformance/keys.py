"""Keys: which are one, where they go, and what is no key."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Any

from sage.core.api.function.base_function import BaseFunction
from sage.core.testing.conformance._functions import Place, first, itself, second, sum_of, tens_of
from sage.core.testing.conformance._promises import promise
from sage.core.testing.conformance.kit import Kit

__all__ = [
    "Key",
    "Size",
    "equal_keys",
    "hash_version_one",
    "key_in_context",
    "no_keys",
    "one_subtask",
    "reduce_each",
    "reduce_final",
]

_PAGE = "reference/order-and-keys.md"


class Size(enum.IntEnum):
    """Equal to a number, and so the same key."""

    ONE = 1


class Key(BaseFunction):
    """Puts out the key of the record in hand."""

    def execute(self, record: Any) -> Any:
        return self.context.key


def _add(left: tuple[Any, int], right: tuple[Any, int]) -> tuple[Any, int]:
    return left[0], left[1] + right[1]


@promise("keys.equal", "Keys that are equal in Python are one key at every parallelism.", f"{_PAGE}#which-keys-are-one")
def equal_keys(kit: Kit) -> None:
    for parallelism in (1, 3):
        env = kit.environment()
        keys: list[Any] = [1, 1.0, True, Size.ONE, "1", 0.0, -0.0, None, b"1"]
        counted = env.from_batch([(key, 1) for key in keys]).keyby(first)
        found = counted.reduce(_add, final=True, parallelism=parallelism).map(second).collect()
        kit.run(env)
        assert sorted(found) == [1, 1, 1, 2, 4], f"at parallelism {parallelism}"


@promise("keys.one-subtask", "All records of a key go to one subtask.", f"{_PAGE}#how-records-find-their-subtask")
def one_subtask(kit: Kit) -> None:
    env = kit.environment()
    spread = env.from_batch(range(600)).map(itself, parallelism=3)
    found = spread.keyby(tens_of).map(Place, parallelism=4).collect()
    kit.run(env)
    places = {(number % 10, subtask) for subtask, _, number in found}
    assert len(found) == 600
    assert len(places) == 10, f"each key has one subtask: {sorted(places)}"


@promise("keys.hash", "A key's subtask follows from the key and the parallelism alone.", f"{_PAGE}#key-groups")
def hash_version_one(kit: Kit) -> None:
    env = kit.environment()
    keys = ["a", "b", "sage", 7, 1.5, None, b"a", ("a", 1), datetime(2020, 1, 1, tzinfo=UTC)]
    found = env.from_batch(keys).keyby(itself).map(Place, parallelism=8).collect()
    kit.run(env)
    places = {repr(key): subtask for subtask, _, key in found}
    assert places == {repr(key): subtask for key, subtask in zip(keys, _PLACES, strict=True)}, (
        "hash v1: CRC-32 of the canonical form modulo 128, in ranges of groups"
    )


_PLACES = (4, 7, 2, 7, 4, 3, 7, 5, 6)
"""Where the keys above are at parallelism 8."""


@promise("keys.context", "Behind `keyby` a function is told the key of the record in hand.", f"{_PAGE}#keys")
def key_in_context(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(20)).keyby(tens_of).map(Key, parallelism=2).collect()
    kit.run(env)
    assert sorted(found) == sorted(number % 10 for number in range(20))


@promise("keys.refused", "A value that can be no key fails at its first record, by name.", f"{_PAGE}#what-may-be-a-key")
def no_keys(kit: Kit) -> None:
    for value in ([1], float("nan")):
        env = kit.environment()
        env.from_batch([value]).keyby(itself).map(itself, parallelism=2).collect()
        failure = kit.fail(env)
        assert failure.error_type == "sage.core.errors.UnsupportedKeyError"
        assert failure.record == repr(value)


@promise("keys.reduce", "`reduce` puts out the new value of the key for each record.", "reference/operators.md#reduce")
def reduce_each(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch([1, 11, 2, 21]).keyby(tens_of).reduce(sum_of, parallelism=2).map(itself).collect()
    kit.run(env)
    assert sorted(found) == [1, 2, 12, 33]


@promise(
    "keys.final", "With `final=True` it puts out the last value of each key, once.", "reference/operators.md#reduce"
)
def reduce_final(kit: Kit) -> None:
    env = kit.environment()
    totals = env.from_batch(range(1000)).map(itself, parallelism=3).keyby(tens_of)
    found = totals.reduce(sum_of, final=True, parallelism=2).collect()
    kit.run(env)
    assert sorted(found) == [sum(range(key, 1000, 10)) for key in range(10)]
