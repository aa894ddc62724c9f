"""The conformance kit: backends that break a promise are found. That SAGE's own keep all is tried from the wheels."""

from __future__ import annotations

import copy
import importlib
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sage.core.backends.api import (
    Attempt,
    Backend,
    BackendOptions,
    Command,
    Deployment,
    HostInfo,
    TaskEvent,
    TaskId,
    missing_capabilities,
)
from sage.core.engine.messages import Batch, Message
from sage.core.errors import Problem, SageError
from sage.core.plan.model import ExecutionPlan
from sage.core.plugins import backend as resolve
from sage.core.testing.conformance import promises
from sage.core.testing.conformance._promises import MODULES, promise_of
from sage.core.testing.conformance.kit import Kit

LIMIT = 60.0
KIT = "sage.core.testing.conformance"
COMMAND = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", KIT]


def run(folder: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run the kit as a user does, in an empty folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SAGE_")}
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    return done.returncode, done.stdout


def test_promises_have_names_of_their_own() -> None:
    """Each is told by an id, one sentence and a page; those of a group are together."""
    all_of_them = promises()
    assert len({item.id for item in all_of_them}) == len(all_of_them) > 100
    for item in all_of_them:
        assert item.text.endswith("."), item
        assert item.group and item.id.count(".") == 1, item
    assert len({item.group for item in all_of_them}) == len(MODULES)


def test_without_a_name_the_kit_says_what_is_missing(tmp_path: Path) -> None:
    """Neither a name nor a known one: a usage error, not a traceback."""
    status, printed = run(tmp_path)
    assert status == 4
    assert "--sage-backend NAME" in printed
    status, printed = run(tmp_path, "--sage-backend", "lokal")
    assert status == 4
    assert "lokal" in printed
    assert "Traceback" not in printed


class Liar:
    """The backend `local`, with something wrong about it, which classes that derive from this one say."""

    lacks: frozenset[str] = frozenset()
    adds: frozenset[str] = frozenset()

    def __init__(self, options: BackendOptions) -> None:
        self.honest = resolve("local", options)
        self.capabilities = (self.honest.capabilities - self.lacks) | self.adds

    def check(self, plan: ExecutionPlan) -> list[Problem]:
        return missing_capabilities(plan, "liar", self.capabilities)

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        return self.within(self.honest.deploy(plan, attempt, lambda event: self.tell(event, events)))

    def tell(self, event: TaskEvent, events: Callable[[TaskEvent], None]) -> None:
        events(event)

    def within(self, deployment: Deployment) -> Deployment:
        return deployment


class Around:
    """A deployment, with something wrong about it."""

    def __init__(self, honest: Deployment) -> None:
        self.honest = honest

    def send(self, task: TaskId, command: Command) -> None:
        self.honest.send(task, command)

    def placement(self) -> Mapping[TaskId, HostInfo]:
        return self.honest.placement()

    def cancel(self, grace: float) -> None:
        self.honest.cancel(grace)

    def join(self, timeout: float | None) -> bool:
        return self.honest.join(timeout)


class ForgetsAnEnd(Liar):
    """Does not tell that one task has finished."""

    def tell(self, event: TaskEvent, events: Callable[[TaskEvent], None]) -> None:
        if (event.kind, event.task) != ("finished", TaskId(0, 0)):
            events(event)


class EndsTwice(Liar):
    """Tells every end twice."""

    def tell(self, event: TaskEvent, events: Callable[[TaskEvent], None]) -> None:
        events(event)
        if event.kind == "finished":
            events(event)


class RunsTwice(Liar):
    """Tells 'running' again."""

    def tell(self, event: TaskEvent, events: Callable[[TaskEvent], None]) -> None:
        events(event)
        if event.kind == "running":
            events(event)


class KeepsCounts(Liar):
    """Tells an end without counts."""

    def tell(self, event: TaskEvent, events: Callable[[TaskEvent], None]) -> None:
        events(replace(event, counts=None) if event.kind == "finished" else event)


class KeepsFailures(Liar):
    """A task that fails is told to have finished."""

    def tell(self, event: TaskEvent, events: Callable[[TaskEvent], None]) -> None:
        events(replace(event, kind="finished", failure=None) if event.kind == "failed" else event)


class BlocksInSend(Liar):
    """Waits until a task that has begun has answered."""

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        answered = threading.Event()

        class Blocking(Around):
            def send(self, task: TaskId, command: Command) -> None:
                answered.clear()
                super().send(task, command)
                if command.kind == "report":
                    answered.wait(LIMIT)

        def hear(event: TaskEvent) -> None:
            events(event)
            if event.kind != "running" and event.task == TaskId(1, 0):
                answered.set()

        return Blocking(self.honest.deploy(plan, attempt, hear))


class BlocksInCancel(Liar):
    """Waits in `cancel` for the end."""

    def within(self, deployment: Deployment) -> Deployment:
        class Blocking(Around):
            def cancel(self, grace: float) -> None:
                super().cancel(grace)
                self.honest.join(LIMIT)

        return Blocking(deployment)


class HurriesInJoin(Liar):
    """Says that all tasks have ended."""

    def within(self, deployment: Deployment) -> Deployment:
        class Hurrying(Around):
            def join(self, timeout: float | None) -> bool:
                return super().join(timeout) or timeout is not None

        return Hurrying(deployment)


class StartsAtOnce(Liar):
    """Lets a task run to its end before it tells that it is ready to."""

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        there = threading.Event()
        deployments: list[Deployment] = []

        def hear(event: TaskEvent) -> None:
            if event.kind == "running":
                assert there.wait(LIMIT)
                deployments[0].send(event.task, Command("start"))
            else:
                events(TaskEvent(event.task, "running"))
                events(event)

        deployments.append(self.honest.deploy(plan, attempt, hear))
        there.set()
        return deployments[0]


class PlacesElsewhere(Liar):
    """Names a process in which nothing runs."""

    def within(self, deployment: Deployment) -> Deployment:
        class Elsewhere(Around):
            def placement(self) -> Mapping[TaskId, HostInfo]:
                return {task: HostInfo("moon", 1) for task in super().placement()}

        return Elsewhere(deployment)


class PlacesOne(Liar):
    """Names the place of one task only."""

    def within(self, deployment: Deployment) -> Deployment:
        class One(Around):
            def placement(self) -> Mapping[TaskId, HostInfo]:
                return dict(list(super().placement().items())[:1])

        return One(deployment)


class ClaimsProcesses(Liar):
    """Runs everything here."""

    adds = frozenset({"processes"})


class ClaimsThreads(Liar):
    """Runs everything within `submit`."""

    def __init__(self, options: BackendOptions) -> None:
        self.honest = resolve("inline", options)
        self.capabilities = self.honest.capabilities | {"threads"}


class ClaimsMore(Liar):
    """Refuses what it declares."""

    def check(self, plan: ExecutionPlan) -> list[Problem]:
        return missing_capabilities(plan, "liar", self.capabilities - {"feedback"})


class RefusesNothing(Liar):
    """Takes what it does not declare."""

    lacks = frozenset({"feedback"})

    def check(self, plan: ExecutionPlan) -> list[Problem]:
        return []


class StartsInCheck(Liar):
    """Begins with its work when it is only asked."""

    def check(self, plan: ExecutionPlan) -> list[Problem]:
        threading.Thread(target=threading.Event().wait, args=(LIMIT,), name="worker", daemon=True).start()
        return super().check(plan)


class TakesAnyOption(Liar):
    """Does not look at its options."""

    def __init__(self, options: BackendOptions) -> None:
        super().__init__(BackendOptions())


class MakesUpNames(Liar):
    """Declares what nobody knows."""

    adds = frozenset({"teleportation"})


LIARS: dict[type[Liar], set[str]] = {
    ForgetsAnEnd: {"contract.events", "order.path"},
    EndsTwice: {"contract.events"},
    RunsTwice: {"contract.events"},
    KeepsCounts: {"contract.counts"},
    KeepsFailures: {"contract.failed"},
    BlocksInSend: {"contract.send"},
    BlocksInCancel: {"contract.cancel"},
    HurriesInJoin: {"contract.join"},
    StartsAtOnce: {"contract.start"},
    PlacesElsewhere: {"processes.placed"},
    PlacesOne: {"contract.placement"},
    ClaimsProcesses: {"processes.elsewhere"},
    ClaimsThreads: {"processes.beside", "processes.together"},
    ClaimsMore: {"contract.declared"},
    RefusesNothing: {"contract.refused"},
    StartsInCheck: {"contract.check"},
    TakesAnyOption: {"contract.options"},
    MakesUpNames: {"contract.protocol"},
}


class LiarsKit(Kit):
    """Tries a backend that is no plugin."""

    def __init__(self, make: Callable[[BackendOptions], Backend], folder: Path, limit: float) -> None:
        super().__init__("liar", {}, folder, limit)
        self.make = make

    def resolve(self, **options: Any) -> Backend:
        return self.make(BackendOptions(options))


def broken(
    make: Callable[[BackendOptions], Backend], ids: Collection[str], folder: Path, limit: float, patience: float = 0.5
) -> set[str]:
    """Which of the promises a backend breaks."""
    found = set()
    for id in ids:
        module = importlib.import_module(f"{KIT}.{'event_time' if id.startswith('time') else id.partition('.')[0]}")
        function = next(item for item in vars(module).values() if (of := promise_of(item)) and of.id == id)
        mine = folder / id
        mine.mkdir()
        kit = LiarsKit(make, mine, limit)
        kit.patience = patience
        try:
            function(kit)
        except (AssertionError, SageError):
            found.add(id)
        finally:
            kit.close()
    return found


@pytest.mark.parametrize("liar", LIARS, ids=lambda liar: liar.__name__)
def test_a_backend_that_lies_is_found(liar: type[Liar], tmp_path: Path) -> None:
    """Each lie breaks a promise that speaks of it."""
    assert broken(liar, LIARS[liar], tmp_path, 2.0) == LIARS[liar]


def test_one_that_does_not_lie_is_not_found(tmp_path: Path) -> None:
    """The promises that find the liars are kept by what they wrap."""
    assert broken(Liar, set().union(*LIARS.values()) - {"processes.elsewhere"}, tmp_path, LIMIT) == set()


CARRIERS = {
    "keeps": (4, set()),
    "drops": (4, {"order.once", "order.path", "volume.small"}),
    "doubles": (4, {"order.once", "order.path", "volume.small"}),
    "swaps": (4, {"order.path", "order.senders", "order.keys"}),
    "hoards": (1_000_000, {"flow.bounded"}),
}
"""What becomes of the messages between two hosts, how many may wait there, and what that breaks."""


@pytest.mark.parametrize("how", CARRIERS)
def test_a_backend_that_carries_badly_is_found(how: str, split_backend: type[Any], tmp_path: Path) -> None:
    """What is lost, doubled, out of order or without bounds between two hosts breaks promises."""
    credits, breaks = CARRIERS[how]

    class Carrier(split_backend):  # type: ignore[misc]
        capabilities = frozenset({"threads", "unbounded"})

        def carry(self, wire: Any, receive: Callable[[Message], None]) -> Callable[[Message], None]:
            kept: list[Message] = []
            count = itertools.count(1)

            def deliver(message: Message) -> None:
                is_nth = isinstance(message, Batch) and next(count) % 3 == 2
                if is_nth and how == "drops":
                    wire.grant(1)
                elif is_nth and how == "swaps":
                    kept.append(message)
                else:
                    receive(message)
                    if is_nth and how == "doubles":
                        receive(copy.deepcopy(message))
                    while kept:
                        receive(kept.pop())

            return deliver

    tried = set().union(*(ids for _, ids in CARRIERS.values()))
    limit = LIMIT if how in ("keeps", "hoards") else 5.0
    patience = LIMIT if how == "hoards" else 0.5  # all the time that it needs to break what it breaks
    assert breaks == broken(lambda _: Carrier(2, credits), breaks or tried, tmp_path, limit, patience)


LIARS_OF_A_DISTRIBUTION = """
import threading

from sage.core.plugins import backend, hookimpl


class Silent:
    def __init__(self, name, options):
        self.name = name
        self.honest = backend("local", options)
        self.capabilities = self.honest.capabilities

    def check(self, plan):
        return self.honest.check(plan)

    def deploy(self, plan, attempt, events):
        if self.name == "stuck":
            threading.Event().wait()
        return self.honest.deploy(plan, attempt, lambda event: event.kind == "finished" or events(event))


@hookimpl
def sage_backend(name, options):
    return Silent(name, options)
"""


@pytest.mark.parametrize("name", ["silent", "stuck"])
def test_the_kit_ends_though_the_backend_does_not(name: str, tmp_path: Path) -> None:
    """Jobs that never end, and a `deploy` that never returns, are broken promises, told as any others."""
    (tmp_path / "liars.py").write_text(LIARS_OF_A_DISTRIBUTION)
    facts = tmp_path / "liars-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: liars\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[sage.backends]\nsilent = liars\nstuck = liars\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    arguments = ["-k", "order.path or nothing.batch", "--sage-limit", "1", "--sage-report", "report.json"]
    status, printed = run(tmp_path, "-q", "--sage-backend", name, *arguments, PYTHONPATH=path)
    assert status == 1, printed
    assert "0 kept, 2 broken, 0 not claimed" in printed
    told = json.loads((tmp_path / "report.json").read_text())["data"]["promises"]
    assert [(item["id"], item["outcome"]) for item in told] == [("order.path", "broken"), ("nothing.batch", "broken")]
    assert "a job must end" in told[0]["message"]
