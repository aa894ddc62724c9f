"""Other processes: where tasks run, what becomes of a job whose process is lost, and what cannot travel."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from sage.core.testing.conformance._functions import Place, Ring, drop, itself
from sage.core.testing.conformance._promises import ELSEWHERE, PARALLEL, promise
from sage.core.testing.conformance.kit import Gate, Kit

__all__ = [
    "Meets",
    "beside_the_caller",
    "cannot_travel",
    "elsewhere",
    "exits",
    "killed",
    "lost",
    "together",
    "unpicklable",
    "where_it_says",
]

_PAGE = "reference/backends.md"


class Meets:
    """Returns once another task is in its function as well."""

    def __init__(self, mine: Gate, other: Gate, limit: float) -> None:
        self.mine = mine
        self.other = other
        self.limit = limit

    def execute(self, record: Any) -> Any:
        self.mine.open()
        return self.other.wait(self.limit)


@promise(
    "processes.together",
    "Tasks run beside each other: one that waits does not keep another from running.",
    f"{_PAGE}#capabilities",
    PARALLEL,
)
def together(kit: Kit) -> None:
    env, left, right = kit.environment(), kit.gate(), kit.gate()
    numbers = env.from_batch([1])
    one = numbers.rebalance().map(Meets, left, right, kit.limit / 2, uid="one").collect()
    two = numbers.rebalance().map(Meets, right, left, kit.limit / 2, uid="two").collect()
    kit.run(env)
    assert one == two == [True], "each of two tasks waits until the other has begun"


@promise(
    "processes.beside",
    "`submit` returns at once, and the job runs to its end though nobody waits for it.",
    f"{_PAGE}#capabilities",
    PARALLEL,
)
def beside_the_caller(kit: Kit) -> None:
    env, bell = kit.environment(), kit.bell()
    env.from_batch([1]).rebalance().sink(Ring, bell, "ring")
    running = kit.start(env, alone=True)
    assert bell.heard(2, kit.limit) == ["open ring", "close ring"], "a job runs though nobody waits for it"
    running.end()


@promise(
    "processes.placed", "Functions run in the process that `placement` names for their task.", f"{_PAGE}#placement"
)
def where_it_says(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(8)).rebalance().map(Place, name="place", parallelism=4).collect()
    ended = kit.run(env)
    places = {task.subtask: ended.probe.placement[task].pid for task in ended.probe.plan_tasks("place")}
    assert {(subtask, pid) for subtask, pid, _ in found} == set(places.items())


@promise("processes.elsewhere", "They run in other processes than the author's.", f"{_PAGE}#capabilities", ELSEWHERE)
def elsewhere(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(8)).rebalance().map(Place, parallelism=4).collect()
    kit.run(env)
    assert os.getpid() not in {pid for _, pid, _ in found}


def killed(number: int) -> int:
    if number == 100:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def exits(number: int) -> int:
    if number == 100:
        os._exit(3)
    return number


@promise(
    "processes.lost",
    "A process that is killed or exits fails its job, which says so and ends.",
    f"{_PAGE}#lost-hosts",
    ELSEWHERE,
)
def lost(kit: Kit) -> None:
    for function in (killed, exits):
        env = kit.environment()
        env.from_batch(range(1000)).rebalance().map(function).rebalance().map(itself, parallelism=2).collect()
        failure = kit.fail(env)
        assert failure.kind in ("process", "backend"), failure
        words = failure.message.lower()
        assert any(word in words for word in ("process", "worker", "host")), failure.message


def cannot_travel(number: int) -> Any:
    return threading.Lock() if number == 3 else number


@promise(
    "processes.unpicklable",
    "A record that cannot travel to another process fails the job by name.",
    f"{_PAGE}#records",
    ELSEWHERE,
)
def unpicklable(kit: Kit) -> None:
    env = kit.environment()
    stream = env.from_batch(range(10)).map(cannot_travel, uid="makes a lock")
    for number in range(4):  # on some way it has to leave its process
        stream = stream.rebalance().map(itself, uid=f"hop {number}", parallelism=4)
    stream.sink(drop)
    failure = kit.fail(env)
    assert "lock" in failure.message.lower()
    assert "pickle" in failure.message.lower()
