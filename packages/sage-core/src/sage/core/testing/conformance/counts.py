"""Counts: what a job tells of itself while it runs and when it has ended."""

from __future__ import annotations

import time

from sage.core.api.error_policy import skip
from sage.core.testing.conformance._functions import Ring, Stuck, drop, itself, tens_of
from sage.core.testing.conformance._promises import PARALLEL, promise
from sage.core.testing.conformance.kit import Kit, operator

__all__ = ["in_the_status", "not_three", "of_edges", "of_operators", "of_what_is_stuck", "while_it_runs"]

_PAGE = "reference/metrics.md"


def not_three(number: int) -> int:
    if number % 10 == 3:
        raise ValueError("a three")
    return number


@promise(
    "counts.operators",
    "Each operator counts what it takes in and puts out, over all subtasks.",
    f"{_PAGE}#of-an-operator",
)
def of_operators(kit: Kit) -> None:
    env = kit.environment()
    passed = env.from_batch(range(1000)).rebalance().map(not_three, name="pass", on_error=skip(), parallelism=3)
    passed.keyby(tens_of).map(itself, name="keyed", parallelism=2).sink(drop, name="end")
    metrics = kit.run(env).metrics
    first, keyed, end = (operator(metrics, name) for name in ("pass", "keyed", "end"))
    assert (first.records_in, first.records_out, first.skipped, first.errors) == (1000, 900, 100, 100)
    assert (keyed.records_in, keyed.records_out, end.records_in) == (900, 900, 900)


@promise("counts.edges", "Each edge between tasks counts the records that went over it.", f"{_PAGE}#of-an-edge")
def of_edges(kit: Kit) -> None:
    env = kit.environment()
    spread = env.from_batch(range(1000)).rebalance().map(itself, uid="a", parallelism=2)
    spread.broadcast().map(itself, uid="b", parallelism=3).sink(drop, uid="end")
    metrics = kit.run(env).metrics
    edges = {edge.target: edge.records for edge in metrics.edges}
    assert edges == {"a": 1000, "b": 3000, "end": 3000}
    assert all(0 < edge.batches <= edge.records for edge in metrics.edges)


@promise(
    "counts.status", "The status tells the records of sources and sinks, and the number of tasks.", "reference/api.md"
)
def in_the_status(kit: Kit) -> None:
    env = kit.environment()
    env.from_batch(range(300)).rebalance().map(itself, parallelism=2).rebalance().sink(drop, parallelism=2)
    ended = kit.run(env)
    status = ended.status
    assert (status["status"], status["records_in"], status["records_out"]) == ("completed", 300, 300)


@promise(
    "counts.meanwhile",
    "A job that runs tells its counts when it is asked, also while a function does not return.",
    _PAGE,
    PARALLEL,
)
def while_it_runs(kit: Kit) -> None:
    env, bell, gate, rung = kit.environment(), kit.bell(), kit.gate(), kit.bell()
    numbers = env.from_batch(range(10)).rebalance()
    numbers.map(itself, name="quick").rebalance().sink(Ring, rung, "sink", records=True)
    numbers.map(Stuck, bell, gate, name="slow").rebalance().sink(drop)
    running = kit.start(env)
    assert bell.heard(1, kit.limit) and len(rung.heard(11, kit.limit)) >= 11
    probe = running.probe
    asked = len(probe.events())
    env.job.metrics()
    quick = next(task for task in probe.plan_tasks("quick"))
    assert probe.wait_for(
        lambda events: (
            any(event.task == quick and event.counts for event in events[asked:]) or quick not in probe.left()
        ),
        kit.limit,
    ), "a task that is asked to report tells its counts"
    gate.open()
    metrics = running.end().metrics
    assert operator(metrics, "quick").records_in == operator(metrics, "slow").records_in == 10


@promise(
    "counts.blocked",
    "A call that does not return is named in the job's status, with its task and its operator.",
    "reference/flow.md#stopping",
    PARALLEL,
)
def of_what_is_stuck(kit: Kit) -> None:
    env, bell, gate = kit.environment(), kit.bell(), kit.gate()
    env.from_batch([1]).rebalance().map(Stuck, bell, gate, name="stuck here").sink(drop)
    running = kit.start(env)
    assert bell.heard(1, kit.limit)
    running.started()
    (task,) = running.probe.plan_tasks("stuck here")
    blocked: tuple[str, ...] = ()
    seen = len(running.probe.events())
    deadline = time.monotonic() + kit.limit
    while not blocked and time.monotonic() < deadline:  # it is named once it has lasted for a second
        blocked = tuple(env.job.metrics().blocked)
        running.probe.wait_for(lambda events: len(events) > seen + 1, 0.1)
    gate.open()
    running.end()
    assert any(str(task) in line and "stuck here" in line for line in blocked), (
        f"what is stuck must be named: {blocked}"
    )
