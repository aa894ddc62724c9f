"""Fixtures of the tests of graph, plan, engine, backends and API."""

from __future__ import annotations

import copy
import functools
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from sage.core.backends.api import Attempt, ChannelId, Command, Deployment, HostInfo, TaskEvent, TaskId
from sage.core.engine.host import TaskHost
from sage.core.engine.messages import Message
from sage.core.engine.wiring import TaskSet
from sage.core.errors import Problem
from sage.core.plan.model import ExecutionPlan

LIMIT = 60.0
"""Seconds after which something that should happen at once is said never to happen."""


@pytest.fixture(params=["inline", "local"])
def backend(request: pytest.FixtureRequest) -> str:
    """Every backend of core in turn."""
    name: str = request.param
    return name


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed here has no say in how pipelines run; tests of plugins install some of their own."""
    monkeypatch.setenv("SAGE_NO_PLUGINS", "1")


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    """No thread of SAGE outlives the test that made it start."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("sage-"):
            thread.join(LIMIT)
            assert not thread.is_alive(), f"{thread.name} is still running"


class _Wire:
    """A channel between two hosts as a backend would supply it: encoded, counted in credits, delivered at once."""

    def __init__(self, credits: int) -> None:
        self.credits = credits
        self.receive: Callable[[Message], None] | None = None
        self.most = 0
        self._lock = threading.Lock()
        self._used = 0
        self._refused = False
        self._callback: Callable[[], None] | None = None

    def on_credit(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def offer(self, message: Message) -> bool:
        with self._lock:
            if self._used == self.credits:
                self._refused = True
                return False
            self._used += 1
            self.most = max(self.most, self._used)
        assert self.receive is not None
        self.receive(copy.deepcopy(message))
        return True

    def grant(self, count: int) -> None:
        with self._lock:
            self._used -= count
            refused, self._refused = self._refused, False
        if refused and self._callback is not None:
            self._callback()


class _SplitDeployment:
    """Several hosts as one deployment."""

    def __init__(self, hosts: Sequence[TaskHost]) -> None:
        self.hosts = hosts
        self._host_of = {task: host for host in hosts for task in host.placement()}

    def send(self, task: TaskId, command: Command) -> None:
        self._host_of[task].send(task, command)

    def placement(self) -> Mapping[TaskId, HostInfo]:
        return {task: host.placement()[task] for task, host in self._host_of.items()}

    def cancel(self, grace: float) -> None:
        for host in self.hosts:
            host.cancel(grace)

    def join(self, timeout: float | None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        return all(
            host.join(None if deadline is None else max(0.0, deadline - time.monotonic())) for host in self.hosts
        )


class _SplitBackend:
    """Deals the tasks of a plan out to several hosts, which know of each other only by links."""

    capabilities = frozenset({"threads", "hosts", "unbounded"})

    def __init__(self, hosts: int = 2, credits: int = 4) -> None:
        self._count = hosts
        self._credits = credits
        self.wires: dict[ChannelId, _Wire] = {}

    def check(self, plan: ExecutionPlan) -> list[Problem]:
        return []

    def carry(self, wire: _Wire, receive: Callable[[Message], None]) -> Callable[[Message], None]:
        """How messages come from a wire to the host behind it."""
        return receive

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        place = {task: number % self._count for number, task in enumerate(plan.tasks)}
        self.wires = {
            channel: _Wire(self._credits)
            for task in plan.tasks
            for channel in plan.channels_into(task)
            if place[plan.source_of(channel)] != place[task]
        }
        hosts = []
        for number in range(self._count):
            mine = tuple(task for task in plan.tasks if place[task] == number)
            links = {channel: wire for channel, wire in self.wires.items() if place[plan.source_of(channel)] == number}
            hosts.append(TaskHost(TaskSet(plan, mine), attempt, links, events, name=f"host {number}"))
        for channel, wire in self.wires.items():
            receiver = hosts[place[plan.target_of(channel)]]
            wire.receive = self.carry(wire, functools.partial(receiver.receive, channel))
            receiver.on_take(channel, wire.grant)
        for host in hosts:
            host.deploy()
        return _SplitDeployment(hosts)


@pytest.fixture
def split_backend() -> type[_SplitBackend]:
    """A backend of several hosts in one process: ``split_backend(hosts=2, credits=4)``."""
    return _SplitBackend


Install = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path, no_plugins: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SAGE_HOME without a configuration."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("SAGE_HOME", str(home))
    for name in ("SAGE_NO_PLUGINS", "SAGE_TRACE_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAGE_PLUGINS__DISABLE", "[sage-plugins-example]")  # it may be installed here
    return home


@pytest.fixture
def install(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a throw-away distribution: its metadata and one module, in a folder of its own on `sys.path`."""

    def install(
        distribution: str,
        module: str,
        code: str,
        *,
        group: str = "sage.backends",
        names: tuple[str, ...] = (),
        value: str | None = None,
        version: str = "1.2",
        summary: str = "A throw-away plugin.",
        helps: str | None = None,
    ) -> Path:
        site = tmp_path / f"site-{distribution}"
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        head = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nSummary: {summary}\n"
        (info / "METADATA").write_text(f"{head}\nSummary: this is the description\n")
        points = "".join(f"{name} = {value or module}\n" for name in names or (module,))
        (info / "entry_points.txt").write_text(f"[{group}]\n{points}")
        path = site.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code))
        if helps is not None:
            (path.parent / "sage_commands.json").write_text(helps)
        monkeypatch.delitem(sys.modules, module, raising=False)  # another test's
        monkeypatch.syspath_prepend(str(site))
        return site

    return install
