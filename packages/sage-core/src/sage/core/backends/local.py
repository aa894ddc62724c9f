"""The ``local`` backend: every task on a thread of this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sage.core.backends.api import Attempt, BackendOptions, Deployment, TaskEvent, missing_capabilities, read_options
from sage.core.engine.host import TaskHost
from sage.core.engine.wiring import TaskSet
from sage.core.errors import Problem
from sage.core.plan.model import ExecutionPlan
from sage.core.plugins import hookimpl

__all__ = ["LocalBackend", "sage_backend"]


@dataclass(frozen=True)
class _Options:
    """There are none yet."""


class LocalBackend:
    """One host in this process."""

    capabilities = frozenset({"async", "feedback", "threads", "unbounded"})

    def check(self, plan: ExecutionPlan) -> list[Problem]:
        return missing_capabilities(plan, "local", self.capabilities)

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        host = TaskHost(TaskSet(plan, plan.tasks), attempt, {}, events)
        host.deploy()
        return host


@hookimpl
def sage_backend(name: str, options: BackendOptions) -> LocalBackend:
    read_options(options, _Options, name)
    return LocalBackend()
