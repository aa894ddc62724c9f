"""The contract of a backend, version 1.

A backend places the tasks of a plan on hosts and carries messages between them. What a task does, in which
order, and what it promises lives in the engine, so that a backend is small and all behave alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from sage.core.engine.events import Attempt, Command, HostInfo, OperatorCounts, TaskCounts, TaskEvent
from sage.core.errors import Problem
from sage.core.plan.model import ChannelId, ExecutionPlan, TaskId

__all__ = [
    "API_VERSION",
    "Attempt",
    "Backend",
    "BackendOptions",
    "ChannelId",
    "Command",
    "Deployment",
    "HostInfo",
    "OperatorCounts",
    "TaskCounts",
    "TaskEvent",
    "TaskId",
    "missing_capabilities",
]

API_VERSION = 1


@dataclass(frozen=True)
class BackendOptions:
    """Settings that a user gave for a backend, by name."""

    settings: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Deployment(Protocol):
    """The running tasks of one attempt."""

    def send(self, task: TaskId, command: Command) -> None:
        """Hand a command to a task. Never blocks; a task that has ended ignores it."""

    def placement(self) -> Mapping[TaskId, HostInfo]:
        """Where each task runs."""

    def cancel(self, grace: float) -> None:
        """End all tasks. Those that do not within ``grace`` seconds are reported ``abandoned``. Never blocks."""

    def join(self, timeout: float | None) -> bool:
        """Wait, at most ``timeout`` seconds, until all tasks have ended or were abandoned. Returns whether it is so."""


@runtime_checkable
class Backend(Protocol):
    """Runs plans."""

    capabilities: frozenset[str]
    """What it offers beyond running a bounded pipeline: ``threads``, ``unbounded`` …"""

    def check(self, plan: ExecutionPlan) -> list[Problem]:
        """What keeps this backend from running ``plan``, before anything starts. See `missing_capabilities`."""

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        """Start the tasks. Each reports ``running`` once open and lets records flow at the command ``start``."""


def missing_capabilities(plan: ExecutionPlan, backend: str, capabilities: frozenset[str]) -> list[Problem]:
    """A problem for each thing that ``plan`` needs and ``capabilities`` lack."""
    return [
        Problem(f"the backend '{backend}' does not offer '{need}', which this pipeline needs")
        for need in sorted(plan.needs - capabilities)
    ]
