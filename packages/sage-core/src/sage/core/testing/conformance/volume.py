"""Volume: large records, many small ones, and records of many kinds."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

from sage.core.testing.conformance._functions import itself, sum_of
from sage.core.testing.conformance._promises import promise
from sage.core.testing.conformance.kit import Kit

__all__ = [
    "Color",
    "Order",
    "Point",
    "back_again",
    "changed_in_place",
    "digest",
    "large",
    "large_records",
    "many_records",
    "of_many_kinds",
]

_PAGE = "reference/flow.md#batches"
_LARGE = 8 << 20


class Color(enum.Enum):
    """A member is the same object wherever it arrives."""

    RED = 1


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int


@dataclass(frozen=True)
class Order:
    """A record as users have them."""

    item: str
    price: Decimal
    parts: tuple[Order, ...] = ()


def digest(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()


def large(number: int) -> bytes:
    return bytes([number]) * _LARGE


def back_again(array: bytearray) -> int:
    array[0] = 7  # what arrives may be changed
    return sum(array)


@promise("volume.large", "Records of megabytes arrive whole.", _PAGE)
def large_records(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(1, 5)).map(large).rebalance().map(itself).rebalance().map(digest).collect()
    kit.run(env)
    assert found == [digest(large(number)) for number in range(1, 5)]


@promise("volume.small", "Many small records arrive, over exchanges by key and in turn.", _PAGE)
def many_records(kit: Kit) -> None:
    env = kit.environment()
    spread = env.from_batch(range(40_000)).rebalance().map(itself, parallelism=2).keyby(_group)
    found = spread.map(itself, parallelism=2).reduce(sum_of, final=True).collect()
    kit.run(env)
    assert found == [sum(range(40_000))]


def _group(number: int) -> int:
    return number % 101


@promise("volume.kinds", "Any value that can be pickled is a record, and arrives as its equal.", _PAGE)
def of_many_kinds(kit: Kit) -> None:
    env = kit.environment()
    records: list[Any] = [
        *(None, True, -1, 1 << 200, 1.5, float("inf"), "é\ud7ff", b"\0\xff", Ellipsis, Color.RED, int),
        *(
            [1, [2]],
            {"a": {1, 2}},
            frozenset({1}),
            Point(1, 2),
            Order("tea", Decimal("1.50"), (Order("leaf", Decimal(1)),)),
        ),
        *(datetime(2020, 1, 1, tzinfo=UTC), timedelta(microseconds=1), Fraction(1, 3), UUID(int=7), range(3), 1j),
        *(bytearray(b"a" * 100_000), "x" * 1_000_000, [], (), ValueError("a value")),
    ]
    found = env.from_batch(records).rebalance().map(itself).rebalance().collect()
    kit.run(env)
    assert list(map(repr, found)) == list(map(repr, records))
    assert found[9] is Color.RED
    assert [type(item) for item in found] == [type(item) for item in records]


@promise("volume.mutable", "What arrives may be changed in place by the one who gets it.", _PAGE)
def changed_in_place(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch([bytearray(200_000), bytearray(3)]).rebalance().map(back_again).collect()
    kit.run(env)
    assert found == [7, 7]
