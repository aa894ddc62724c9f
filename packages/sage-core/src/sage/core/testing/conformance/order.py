"""Order: kept along one path, per key across an exchange by key; nothing lost, nothing doubled."""

from __future__ import annotations

from sage.core.testing.conformance._functions import add_one, first, itself, tens_of
from sage.core.testing.conformance._promises import promise
from sage.core.testing.conformance.kit import Kit

__all__ = ["along_a_path", "exactly_once", "per_key", "per_sender", "used_twice"]

_PAGE = "reference/order-and-keys.md#order"
_COUNT = 5000


@promise("order.path", "Records keep their order along one path, from task to task.", _PAGE)
def along_a_path(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(_COUNT)).map(add_one).rebalance().map(add_one).rebalance().filter(itself).collect()
    kit.run(env)
    assert found == list(range(2, _COUNT + 2)), "nothing may overtake on one path"


@promise("order.keys", "Records of one key keep their order across an exchange by key.", _PAGE)
def per_key(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(_COUNT)).keyby(tens_of).map(itself, parallelism=3).map(itself).collect()
    kit.run(env)
    for key in range(10):
        assert [item for item in found if item % 10 == key] == list(range(key, _COUNT, 10)), f"the order of key {key}"


@promise("order.senders", "What one sender sends to one receiver arrives in that order, whoever else sends.", _PAGE)
def per_sender(kit: Kit) -> None:
    env = kit.environment()
    streams = [
        env.from_batch([(number, count) for count in range(1000)], name=f"sender {number}") for number in range(3)
    ]
    found = streams[0].union(*streams[1:]).rebalance().map(itself).collect()
    kit.run(env)
    for sender in range(3):
        assert [count for number, count in found if number == sender] == list(range(1000))


@promise("order.once", "Each record arrives exactly once, over exchanges of many subtasks with many.", _PAGE)
def exactly_once(kit: Kit) -> None:
    env = kit.environment()
    mixed = env.from_batch(range(_COUNT)).map(itself, parallelism=3).map(itself, parallelism=4)
    found = mixed.keyby(tens_of).map(itself, parallelism=2).rebalance().map(itself, parallelism=2).collect()
    kit.run(env)
    assert len(found) == _COUNT, "no record may be lost or doubled"
    assert sorted(found) == list(range(_COUNT))


@promise("order.uses", "A stream that is used several times gives all of its records to each.", _PAGE)
def used_twice(kit: Kit) -> None:
    env = kit.environment()
    numbers = env.from_batch(range(1000)).map(itself, parallelism=2)
    ones, tens = numbers.map(add_one, parallelism=2).collect(), numbers.rebalance().map(itself).collect()
    paired = numbers.map(_pair, parallelism=2).keyby(first).map(first, parallelism=3).collect()
    kit.run(env)
    assert sorted(ones) == list(range(1, 1001))
    assert sorted(tens) == sorted(paired) == list(range(1000))


def _pair(number: int) -> tuple[int, int]:
    return number, number
