"""The contract between coordinator and backend: what it declares, checks, tells, and how it is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from sage.core.api.function.source_function import STOP
from sage.core.backends.api import Backend, Command
from sage.core.errors import CapabilityError, ConfigError
from sage.core.plan.planner import make_plan
from sage.core.testing.conformance._functions import Ring, Stuck, drop, itself
from sage.core.testing.conformance._probe import ENDS
from sage.core.testing.conformance._promises import PARALLEL, promise
from sage.core.testing.conformance.kit import Kit, ProbedEnvironment

__all__ = [
    "after_a_failure",
    "cancel_never_blocks",
    "check_starts_nothing",
    "counts_at_the_end",
    "declared",
    "events",
    "failed",
    "join",
    "nothing_before_start",
    "placement",
    "protocol",
    "refused",
    "send_after_the_end",
    "send_never_blocks",
    "soon",
    "stop",
    "two_jobs",
    "unknown_options",
]

_PAGE = "reference/backends.md"

_KNOWN = frozenset(
    {"threads", "processes", "hosts", "resources", "checkpoints", "feedback", "timers", "async", "tap", "unbounded"}
)


def stop() -> Any:
    return STOP


async def soon(value: Any) -> Any:
    return value


def _unbounded(env: ProbedEnvironment) -> None:
    env.from_source(stop).sink(drop)


def _feedback(env: ProbedEnvironment) -> None:
    future = env.from_future("again")
    env.from_batch([1]).union(future).filter(_never).fill_future(future).sink(drop)


def _async(env: ProbedEnvironment) -> None:
    env.from_batch([1]).map_async(soon).sink(drop)


def _never(value: object) -> bool:
    return False


_NEEDING: dict[str, Callable[[ProbedEnvironment], None]] = {
    "unbounded": _unbounded,
    "feedback": _feedback,
    "async": _async,
}
"""Pipelines that need a capability, and no other."""


@promise(
    "contract.protocol",
    "A backend has capabilities by known names, and the methods of the contract.",
    f"{_PAGE}#the-contract",
)
def protocol(kit: Kit) -> None:
    backend = kit.resolve()
    assert isinstance(backend, Backend)
    assert isinstance(backend.capabilities, frozenset)
    unknown = backend.capabilities - _KNOWN
    assert not unknown, f"capabilities have the names {sorted(_KNOWN)}, not {sorted(unknown)}"


@promise(
    "contract.refused",
    "What a backend does not declare is refused at submit, by name, before anything starts.",
    f"{_PAGE}#capabilities",
)
def refused(kit: Kit) -> None:
    for need in sorted(_NEEDING.keys() - kit.capabilities):
        env = kit.environment()
        _NEEDING[need](env)
        try:
            kit.end(env)
        except CapabilityError as error:
            assert list(error.missing) == [need]
            assert need in str(error)
        else:
            raise AssertionError(f"a pipeline that needs '{need}' must be refused")
        assert env.probe.deployed == 0, "nothing may be deployed of what is refused"


@promise(
    "contract.declared", "What it declares it can do: such pipelines are not refused, and run.", f"{_PAGE}#capabilities"
)
def declared(kit: Kit) -> None:
    for need in sorted(_NEEDING.keys() & kit.capabilities):
        env = kit.environment()
        _NEEDING[need](env)
        problems = kit.resolve().check(make_plan(env.graph()))
        assert not problems, f"it declares '{need}': {problems}"
        kit.run(env)


@promise("contract.check", "`check` starts nothing, and says the same when asked again.", f"{_PAGE}#the-contract")
def check_starts_nothing(kit: Kit) -> None:
    env = kit.environment()
    env.from_batch(range(10)).map(itself, parallelism=3).sink(drop)
    plan, backend = make_plan(env.graph()), kit.resolve()
    before = set(threading.enumerate())
    assert [list(backend.check(plan)) for _ in range(3)] == [[], [], []]
    started = sorted(thread.name for thread in set(threading.enumerate()) - before)
    assert not started, f"check() may start nothing: {started}"


@promise("contract.options", "An option that it does not know is refused at submit, by name.", f"{_PAGE}#options")
def unknown_options(kit: Kit) -> None:
    env = kit.environment(no_such_option=1)
    env.from_batch([1]).sink(drop)
    try:
        kit.end(env)
    except ConfigError as error:
        assert "no_such_option" in str(error)
    else:
        raise AssertionError("an option that it does not know must be refused")


@promise(
    "contract.events", "Each task tells 'running' once, and its end once, and nothing after it.", f"{_PAGE}#events"
)
def events(kit: Kit) -> None:
    env = kit.environment()
    env.from_batch(range(1000)).map(itself, parallelism=3).rebalance().sink(drop, parallelism=2)
    probe = kit.run(env).probe
    assert probe.plan is not None
    for task in probe.plan.tasks:
        kinds = [event.kind for event in probe.events() if event.task == task]
        assert kinds[0] == "running"
        assert kinds[-1] == "finished"
        assert kinds.count("running") == kinds.count("finished") == 1


@promise(
    "contract.failed", "A task that fails tells why, once; the others end as cancelled or finished.", f"{_PAGE}#events"
)
def failed(kit: Kit) -> None:
    env = kit.environment()
    env.from_batch(range(1000)).map(itself, parallelism=2).rebalance().map(_fails, uid="fails").sink(drop)
    ended = kit.end(env)
    assert ended.state == "failed"
    ends = [event for event in ended.probe.events() if event.kind in ENDS]
    (lost,) = [event for event in ends if event.kind == "failed"]
    assert lost.failure is not None
    assert lost.failure.uid == "fails"
    assert {event.kind for event in ends} <= {"failed", "cancelled", "finished"}


def _fails(number: int) -> int:
    raise ValueError(f"not {number}")


@promise("contract.counts", "With its end each task tells its counts.", f"{_PAGE}#events")
def counts_at_the_end(kit: Kit) -> None:
    env = kit.environment()
    env.from_batch(range(100)).rebalance().sink(drop, uid="end", parallelism=2)
    probe = kit.run(env).probe
    ends = [event for event in probe.events() if event.kind == "finished"]
    counts = [event.counts.operators for event in ends if event.counts is not None]
    assert len(counts) == len(ends)
    assert sum(operators["end"].records_in for operators in counts if "end" in operators) == 100


@promise("contract.start", "No record flows before the command 'start'.", f"{_PAGE}#events")
def nothing_before_start(kit: Kit) -> None:
    env, bell = kit.environment(hold=True), kit.bell()
    env.from_batch(range(3)).map(Ring, bell, "source", records=True).rebalance().sink(drop)
    running = kit.start(env)
    running.deployed()
    assert running.probe.held(kit.limit), "all tasks tell 'running' before any has its 'start'"
    assert bell.heard(2, 0.05) == ["open source"]
    bell.ring("start")
    running.probe.release()
    running.end()
    assert bell.heard(6, kit.limit)[:3] == ["open source", "start", "source 0"]


@promise(
    "contract.send",
    "`send` never blocks, also to a task whose function does not return.",
    f"{_PAGE}#the-contract",
    PARALLEL,
)
def send_never_blocks(kit: Kit) -> None:
    env, bell, gate = kit.environment(), kit.bell(), kit.gate()
    env.from_batch(range(10)).rebalance().map(Stuck, bell, gate).sink(drop)
    running = kit.start(env)
    assert bell.heard(1, kit.limit)
    running.started()
    deployment, plan = running.deployment, running.probe.plan
    assert plan is not None

    def send() -> None:
        for _ in range(200):
            for task in plan.tasks:
                deployment.send(task, Command("report"))

    _returns(kit, send, "send() must not wait for the task")
    gate.open()
    assert running.end().state == "completed"


@promise("contract.send-late", "A command to a task that has ended is ignored.", f"{_PAGE}#the-contract")
def send_after_the_end(kit: Kit) -> None:
    env = kit.environment()
    env.from_batch(range(10)).rebalance().sink(drop)
    probe = kit.run(env).probe
    assert probe.plan is not None and probe.deployment is not None
    for kind in ("report", "start"):
        for task in probe.plan.tasks:
            probe.deployment.send(task, Command(kind))
    probe.deployment.cancel(1.0)
    assert probe.deployment.join(kit.limit)
    assert not probe.faults()


@promise(
    "contract.placement",
    "`placement` names a host and its process for each task of the plan, and no other.",
    f"{_PAGE}#placement",
)
def placement(kit: Kit) -> None:
    env = kit.environment()
    env.from_batch(range(10)).map(itself, parallelism=3).rebalance().sink(drop, parallelism=2)
    probe = kit.run(env).probe
    assert probe.plan is not None
    assert set(probe.placement) == set(probe.plan.tasks)
    for info in probe.placement.values():
        assert info.name
        assert info.pid > 0


@promise("contract.cancel", "`cancel` never blocks, and may be called again.", f"{_PAGE}#the-contract", PARALLEL)
def cancel_never_blocks(kit: Kit) -> None:
    env, bell, gate = kit.environment(), kit.bell(), kit.gate()
    env.from_batch(range(10)).rebalance().map(Stuck, bell, gate).sink(drop)
    running = kit.start(env)
    assert bell.heard(1, kit.limit)
    running.started()
    deployment = running.deployment
    _returns(kit, lambda: deployment.cancel(3600.0), "cancel() must not wait for the tasks")
    _returns(kit, lambda: deployment.cancel(3600.0), "cancel() may be called again")
    gate.open()
    running.end()


@promise(
    "contract.join",
    "`join` waits no longer than it is told, and says whether all tasks have ended.",
    f"{_PAGE}#the-contract",
    PARALLEL,
)
def join(kit: Kit) -> None:
    env, bell, gate = kit.environment(), kit.bell(), kit.gate()
    env.from_batch(range(10)).rebalance().map(Stuck, bell, gate).sink(drop)
    running = kit.start(env)
    assert bell.heard(1, kit.limit)
    running.started()
    deployment, said = running.deployment, []
    _returns(kit, lambda: said.append(deployment.join(0.0)), "join(0) must return at once")
    _returns(kit, lambda: said.append(deployment.join(0.05)), "join(0.05) must return")
    gate.open()
    running.end()
    said.append(deployment.join(None))
    said.append(deployment.join(0.0))
    assert said == [False, False, True, True]


@promise("contract.two", "Two jobs at once do not touch each other.", f"{_PAGE}#the-contract")
def two_jobs(kit: Kit) -> None:
    envs = [kit.environment(f"job {number}") for number in range(2)]
    found = [env.from_batch(range(n, n + 500)).rebalance().map(itself).collect() for n, env in enumerate(envs)]
    running = [kit.start(env) for env in envs]
    assert [item.end().state for item in running] == ["completed"] * 2
    assert found == [list(range(500)), list(range(1, 501))]


@promise("contract.again", "After a failed job the next one runs as if nothing had been.", f"{_PAGE}#the-contract")
def after_a_failure(kit: Kit) -> None:
    env = kit.environment()
    env.from_batch(_numbers).rebalance().map(_fails).sink(drop)
    kit.fail(env)
    env = kit.environment()
    found = env.from_batch(range(100)).rebalance().map(itself).collect()
    kit.run(env)
    assert found == list(range(100))


def _numbers() -> Iterator[int]:
    yield from range(100)


def _returns(kit: Kit, call: Callable[[], object], promised: str) -> None:
    """Whether a call returns, on a thread of its own."""
    thread = threading.Thread(target=call, name="conformance-call", daemon=True)
    thread.start()
    thread.join(kit.limit)
    assert not thread.is_alive(), f"{promised}: it has not returned within {kit.limit:g} s"
