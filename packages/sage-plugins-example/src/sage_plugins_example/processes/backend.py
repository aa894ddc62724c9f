"""The hook that makes the backend, its options, and what it offers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from sage.core.backends.api import (
    Attempt,
    BackendOptions,
    Deployment,
    ExecutionPlan,
    TaskEvent,
    missing_capabilities,
    read_options,
)
from sage.core.errors import Problem
from sage.core.plugins import hookimpl
from sage_plugins_example.processes.deployment import ProcessesDeployment
from sage_plugins_example.processes.placement import place

__all__ = ["ProcessesBackend", "ProcessesOptions", "sage_backend"]


@dataclass(frozen=True)
class ProcessesOptions:
    """How a job runs in worker processes.

    Attributes:
        workers: how many there are at most; one for each core that this process may use by default. A job with fewer
            tasks has fewer.
        lease: seconds without any sign of life after which a worker is given up and killed. One that works on is alive,
            also where its code keeps it from answering.
        shared_memory: bytes that two workers may share for what is large and on its way between them; what has no room
            there, and everything where it is 0, goes through a socket.

    Raises:
        ValueError: a value makes no sense.
    """

    workers: int | None = None
    lease: float = 10.0
    shared_memory: int = 256 << 20

    def __post_init__(self) -> None:
        if self.workers is not None and (not _is_number(self.workers, int) or self.workers < 1):
            raise ValueError(f"workers must be a whole number from 1 on, not {self.workers!r}")
        if not _is_number(self.lease, int, float) or not self.lease > 0:
            raise ValueError(f"lease must be a number of seconds above 0, not {self.lease!r}")
        if not _is_number(self.shared_memory, int) or self.shared_memory < 0:
            raise ValueError(f"shared_memory must be a number of bytes, not {self.shared_memory!r}")


class ProcessesBackend:
    """Several hosts, each in a process of its own."""

    capabilities = frozenset({"async", "feedback", "processes", "unbounded"})

    def __init__(self, options: ProcessesOptions | None = None) -> None:
        self._options = options or ProcessesOptions()

    def check(self, plan: ExecutionPlan) -> list[Problem]:
        return missing_capabilities(plan, "processes", self.capabilities)

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        options = self._options
        places = place(plan, options.workers or _cores())
        return ProcessesDeployment(plan, attempt, events, places, options.lease, options.shared_memory)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


@hookimpl
def sage_backend(name: str, options: BackendOptions) -> ProcessesBackend:
    return ProcessesBackend(read_options(options, ProcessesOptions, name))
