"""The backends `inline` and `local`: what they offer, where they run things, and in which order."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sage.core.api import STOP, BatchFunction, LocalEnvironment, SourceFunction
from sage.core.backends.api import (
    API_VERSION,
    Attempt,
    Backend,
    BackendOptions,
    Deployment,
    TaskEvent,
    missing_capabilities,
)
from sage.core.backends.inline import InlineBackend
from sage.core.backends.local import LocalBackend
from sage.core.engine.coordinator import Coordinator
from sage.core.errors import CapabilityError, UnknownBackendError
from sage.core.plan.planner import make_plan
from sage.core.plugins import backend as resolve

LIMIT = 60.0


def same(value: Any) -> Any:
    return value


def test_backends_are_found_by_name_and_keep_the_contract(backend: str) -> None:
    """The plugin manager gives an object that is a `Backend`; what it deploys is a `Deployment`."""
    found = resolve(backend, BackendOptions())
    assert isinstance(found, Backend)
    assert "unbounded" in found.capabilities
    env = LocalEnvironment()
    env.from_batch([1]).sink(same)
    plan = make_plan(env._builder.build())
    assert found.check(plan) == []
    events: list[TaskEvent] = []
    told = threading.Event()

    def listen(event: TaskEvent) -> None:
        events.append(event)
        told.set()

    deployment = found.deploy(plan, Attempt("job"), listen)
    assert isinstance(deployment, Deployment)
    assert [info.pid > 0 for info in deployment.placement().values()] == [True]
    assert told.wait(LIMIT)
    deployment.cancel(1)
    assert deployment.join(LIMIT)
    assert [event.kind for event in events] == ["running", "cancelled"]
    assert API_VERSION == 1


def test_an_unknown_backend_names_those_installed() -> None:
    """The error of a typing mistake lists what there is."""
    env = LocalEnvironment(backend="lokal")
    env.from_batch([1]).sink(same)
    with pytest.raises(UnknownBackendError) as caught:
        env.submit()
    assert {"inline", "local"} <= set(caught.value.installed)
    assert "lokal" in str(caught.value)
    assert env.get_job_status()["status"] == "not_submitted"


def test_what_a_backend_does_not_offer_is_refused_by_name() -> None:
    """A plan that needs more than there is does not start."""

    class Bounded(LocalBackend):
        capabilities = frozenset({"threads"})

    env = LocalEnvironment()
    env.from_source(lambda: STOP).sink(same)
    job = Coordinator(env._builder.build(), Bounded(), Attempt("job"))
    with pytest.raises(CapabilityError, match="'local' does not offer 'unbounded'") as caught:
        job.start()
    assert (caught.value.missing, len(caught.value.problems)) == (["unbounded"], 1)
    assert job.state == "created"
    assert missing_capabilities(job.plan, "x", frozenset({"unbounded", "more"})) == []


def test_inline_runs_everything_in_the_callers_thread() -> None:
    """A debugger steps through it like through a plain loop."""
    threads: set[threading.Thread] = set()

    def note(value: Any) -> Any:
        threads.add(threading.current_thread())
        return value

    env = LocalEnvironment(backend="inline")
    env.from_batch([1, 2]).map(note, parallelism=3).keyby(note).reduce(lambda left, right: right).sink(note)
    before = threading.active_count()
    env.submit()
    assert threads == {threading.current_thread()}
    assert threading.active_count() == before
    assert env.get_job_status()["status"] == "completed"


def test_inline_pushes_every_record_to_the_end_and_lets_sources_take_turns() -> None:
    """The order of all calls is one and the same: sources in turn, in order of declaration, one record each."""
    calls: list[str] = []

    def note(name: str) -> Any:
        def call(value: Any) -> Any:
            calls.append(f"{name}{value}")
            return value

        return call

    def declare() -> None:
        env = LocalEnvironment(backend="inline")
        first = env.from_batch(["a", "b", "c"]).map(note("m"), parallelism=2)
        second = env.from_batch([1, 2])
        first.union(second).map(note("u"), parallelism=2).flatmap(lambda value: [value, value]).sink(note("s"))
        first.sink(note("t"))
        env.submit()

    declare()
    once = list(calls)
    assert [item for item in calls if item[0] in "mu"] == ["ma", "ua", "u1", "mb", "ub", "u2", "mc", "uc"]
    for value, following in ("ab", "bc"):
        assert calls.index(f"t{value}") < calls.index(f"m{following}")
        assert calls.index(f"s{value}") < calls.index(f"m{following}")
    calls.clear()
    declare()
    assert calls == once


def test_inline_waits_as_a_source_does(backend: str) -> None:
    """A source whose news come in by its own ``wait`` gets to wait, on every backend; others go on meanwhile."""
    out: list[Any] = []
    env = LocalEnvironment(backend=backend)
    env.from_source(Fetching).sink(out.append)
    env.from_source(Hesitant).sink(out.append)
    env.from_batch(Counting, 3).sink(out.append)
    env.submit(autostop=True, timeout=LIMIT)
    assert sorted(out, key=str) == [0, 1, 2, "fetched 1", "fetched 2", "hesitant"]


class Fetching(SourceFunction):
    """Gets its records while it waits."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.count = 0

    def execute(self) -> Any:
        if self.fetched:
            return self.fetched.pop()
        return STOP if self.count == 2 else None

    def wait(self, timeout: float) -> None:
        assert 0 < timeout <= 0.01
        self.count += 1
        self.fetched.append(f"fetched {self.count}")


class Hesitant(SourceFunction):
    """Says "nothing yet" many times before it says anything."""

    left = 20

    def execute(self) -> Any:
        self.left -= 1
        if self.left < 0:
            return STOP
        return "hesitant" if self.left == 0 else None


class Counting(BatchFunction):
    def __init__(self, limit: int) -> None:
        self.left = limit

    def execute(self) -> Any:
        self.left -= 1
        return self.left if self.left >= 0 else None


def test_inline_can_be_driven_in_pieces() -> None:
    """A wait that ends too soon leaves the job where it is; the next one goes on from there."""
    out: list[int] = []
    env = LocalEnvironment()
    env.from_batch(range(1000)).sink(out.append)
    job = Coordinator(env._builder.build(), InlineBackend(), Attempt("job"))
    job.start()
    assert job.state == "running"
    assert not job.join(0)
    assert out == []
    assert job.join(LIMIT)
    assert out == list(range(1000))


def test_inline_stops_from_within() -> None:
    """User code may stop its own job: nothing more is read, everything is closed."""
    out: list[int] = []
    env = LocalEnvironment(backend="inline")

    def stop(value: int) -> None:
        out.append(value)
        if value == 3:
            env_stop()

    env.from_batch(range(1000)).map(same, parallelism=2).sink(stop)
    job = Coordinator(env._builder.build(), InlineBackend(), Attempt("job"))
    env_stop = job.cancel
    job.start()
    assert job.join(LIMIT)
    assert job.state == "cancelled"
    assert out == [0, 1, 2, 3]


def test_each_subtask_has_an_instance_of_its_own(backend: str) -> None:
    """Classes are built and instances copied per subtask; plain callables are shared; templates are never run."""
    instance = Collecting()
    out: list[Any] = []
    env = LocalEnvironment(backend=backend)
    env.from_batch(range(12)).map(instance, parallelism=3).map(Collecting, parallelism=3).sink(out.append)
    env.submit(autostop=True, timeout=LIMIT)
    assert instance.seen == []
    assert sorted(out) == sorted([1, 2, 3, 4] * 3)


class Collecting:
    """Emits how many records this instance has seen."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def execute(self, value: Any) -> Any:
        self.seen.append(value)
        return len(self.seen)


def test_the_context_tells_where_a_function_runs(backend: str) -> None:
    """Job, operator, subtask, parallelism and, behind keyby, the key of the record in hand."""
    out: list[Any] = []
    env = LocalEnvironment("shop", backend=backend)
    keyed = env.from_batch([3, 4, 5]).keyby(lambda value: value % 2, parallelism=1)
    keyed.map(Where, name="where", parallelism=2).sink(out.append)
    keyed.map(Where, name="single").map(Where, name="behind").sink(out.append)
    env.submit(autostop=True, timeout=LIMIT)
    contexts = [item for item in out if isinstance(item, tuple) and item[0] == "where"]
    assert sorted(item[-1] for item in contexts) == [(0, 4), (1, 3), (1, 5)]
    assert {item[1] for item in contexts} <= {0, 1}
    assert {item[2:-1] for item in contexts} == {(2, "map:where", env.env_uuid, "shop", 1)}
    behind = [item for item in out if isinstance(item, tuple) and item[0] == "behind"]
    assert [item[-1][0] for item in behind] == [None] * 3
    assert [item[-1][1][-1] for item in behind] == [(1, 3), (0, 4), (1, 5)]


class Where:
    def open(self, context: Any) -> None:
        self.context = context

    def execute(self, value: Any) -> Any:
        at = self.context
        return (at.operator, at.subtask, at.parallelism, at.uid, at.job, at.job_name, at.attempt, (at.key, value))
