"""The contract of a backend, version 1.

A backend places the tasks of a plan on hosts and carries messages between them. What a task does, in which
order, and what it promises lives in the engine, so that a backend is small and all behave alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from sage.core.engine.events import Attempt, Command, HostInfo, InputCounts, OperatorCounts, TaskCounts, TaskEvent
from sage.core.engine.failures import describe_backend_failure
from sage.core.engine.links import CREDITS, Link
from sage.core.engine.messages import Message
from sage.core.errors import ConfigError, Problem
from sage.core.models import FailureInfo
from sage.core.plan.model import ChannelId, ExecutionPlan, TaskId

if TYPE_CHECKING:
    from sage.core.backends.codec import decode, decode_event, encode, encode_event
    from sage.core.backends.loading import load_tasks
    from sage.core.engine.host import TaskHost
    from sage.core.engine.wiring import TaskSet

__all__ = [
    "API_VERSION",
    "CREDITS",
    "Attempt",
    "Backend",
    "BackendOptions",
    "ChannelId",
    "Command",
    "Deployment",
    "ExecutionPlan",
    "FailureInfo",
    "HostInfo",
    "InputCounts",
    "Link",
    "Message",
    "OperatorCounts",
    "TaskCounts",
    "TaskEvent",
    "TaskHost",
    "TaskId",
    "TaskSet",
    "decode",
    "decode_event",
    "describe_backend_failure",
    "encode",
    "encode_event",
    "load_tasks",
    "missing_capabilities",
    "read_options",
]

API_VERSION = 1

_Options = TypeVar("_Options")


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


def read_options(options: BackendOptions, kind: type[_Options], backend: str) -> _Options:
    """The settings as a dataclass ``kind``, whose fields are the options that the backend knows.

    Raises:
        ConfigError: there is no such option, or ``kind`` refuses a value by a ValueError.
    """
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    for name in options.settings:
        if name not in known:
            from sage.core.config.problems import nearest

            meant = nearest(str(name), known)
            raise ConfigError(
                f"the backend '{backend}' has no option '{name}'; it has {', '.join(known) or 'none'}",
                hint=f"did you mean '{meant}'?" if meant else None,
                path=str(name),
            )
    try:
        return kind(**options.settings)
    except ValueError as error:
        raise ConfigError(f"backend '{backend}': {error}") from error


_ELSEWHERE = {
    "TaskHost": "sage.core.engine.host",
    "TaskSet": "sage.core.engine.wiring",
    "decode": "sage.core.backends.codec",
    "decode_event": "sage.core.backends.codec",
    "encode": "sage.core.backends.codec",
    "encode_event": "sage.core.backends.codec",
    "load_tasks": "sage.core.backends.loading",
}
"""What runs tasks and opens pickles is imported where it is used: to choose a backend takes neither."""


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE[name]), name)
