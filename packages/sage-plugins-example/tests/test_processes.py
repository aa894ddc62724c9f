"""The backend `processes`: pipelines give what they give elsewhere, in several processes."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from sage.core.api import LocalEnvironment, MapFunction

LIMIT = 60.0

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def seventh(value: int) -> int:
    return value % 7


def add(left: int, right: int) -> int:
    return left + right


class WithPid(MapFunction[Any, tuple[int, Any]]):
    """Tells in which process it is called."""

    def execute(self, value: Any) -> tuple[int, Any]:
        return (os.getpid(), value)


def environment(**options: Any) -> LocalEnvironment:
    return LocalEnvironment("test", backend="processes", options=options)


def test_keyed_sums_over_two_workers() -> None:
    """Records are exchanged by key between processes, and what is collected comes back to this one."""
    env = environment(workers=2)
    numbers = env.from_batch(range(10_000)).map(WithPid, parallelism=2)
    pids = numbers.map(lambda pair: pair[0]).collect()
    sums = (
        numbers.map(lambda pair: pair[1], parallelism=2)
        .keyby(seventh, parallelism=2)
        .reduce(add, final=True, parallelism=2)
        .collect()
    )
    assert env.submit(autostop=True, timeout=LIMIT).status()["status"] == "completed"
    assert sorted(sums) == sorted(sum(range(rest, 10_000, 7)) for rest in range(7))
    assert len(pids) == 10_000
    assert len(set(pids)) == 2
    assert os.getpid() not in pids


def test_order_is_kept_along_one_path() -> None:
    """From one subtask to the next, across a process each, in the order in which they came."""
    env = environment(workers=3)
    result = env.from_batch(range(30_000)).rebalance().map(str).rebalance().map(int).rebalance().collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert result == list(range(30_000))


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers(workers: int) -> None:
    """More tasks than workers share them; a single worker has them all."""
    env = environment(workers=workers)
    stream = env.from_batch(["b", "a", "b"]).map(str.upper, parallelism=4)
    result = stream.map(WithPid, parallelism=2).collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert Counter(value for _, value in result) == {"B": 2, "A": 1}
    assert len({pid for pid, _ in result}) <= workers
