"""What a promise is given: environments on the backend under test, runs that are bounded in time, and signals."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sage.core.api.job import Job
from sage.core.api.local_environment import LocalEnvironment
from sage.core.backends.api import Backend, BackendOptions, Deployment
from sage.core.errors import JobFailedError
from sage.core.graph.model import LogicalGraph
from sage.core.models import FailureInfo, JobMetrics, OperatorMetrics
from sage.core.plugins import backend as resolve
from sage.core.testing.conformance._probe import Probe
from sage.core.testing.conformance._promises import ELSEWHERE, PARALLEL
from sage.core.testing.conformance._signals import Bell, Gate

__all__ = ["Bell", "Ended", "Gate", "Kit", "ProbedEnvironment", "Running", "operator"]

_Job = TypeVar("_Job", bound=Job)


class ProbedEnvironment(LocalEnvironment):
    """A `LocalEnvironment` whose backend is probed.

    Attributes:
        probe: what stands before the backend, from `submit` on.
        probed: set once it is there.
        handed_over: set once the job is there.
    """

    probe: Probe

    def __init__(self, name: str, backend: str, make: Callable[[], Backend], *, hold: bool = False) -> None:
        super().__init__(name, backend)
        self.handed_over = threading.Event()
        self.probed = threading.Event()
        self._hold = hold
        self._make = make

    def _make_backend(self) -> Backend:
        self.probe = Probe(self._make(), hold=self._hold)
        self.probed.set()
        return self.probe

    def hand_over(self, start: Callable[[LogicalGraph], _Job]) -> _Job:
        job = super().hand_over(start)
        self.handed_over.set()
        return job

    @property
    def job(self) -> Job:
        assert self._job is not None
        return self._job

    def graph(self) -> LogicalGraph:
        """What was declared until now."""
        return self._builder.build()


@dataclass(frozen=True)
class Ended:
    """How a job has ended.

    Attributes:
        state: ``completed``, ``failed`` or ``cancelled``.
        status: all that it tells of itself.
        error: what waiting for it has raised.
        probe: what backend and coordinator have told each other.
    """

    state: str
    status: Mapping[str, Any]
    error: JobFailedError | None
    probe: Probe
    metrics: JobMetrics

    @property
    def failure(self) -> FailureInfo:
        """Why it failed."""
        assert self.error is not None, f"the job has not failed: it is {self.state}"
        assert self.error.failure is not None
        return self.error.failure


class Running:
    """A job that runs: on a thread of its own, since some backends run it in the caller's.

    Args:
        environment: what to submit.
        limit: seconds after which it is said never to end.
        alone: nobody waits for it before `end`.
    """

    def __init__(self, environment: ProbedEnvironment, limit: float, *, alone: bool = False) -> None:
        self.environment = environment
        self._limit = limit
        self._error: BaseException | None = None
        self._awaited = threading.Event()
        if not alone:
            self._awaited.set()
        self._thread = threading.Thread(target=self._run, name="conformance-job", daemon=True)
        self._thread.start()

    @property
    def probe(self) -> Probe:
        return self.environment.probe

    def started(self) -> None:
        """Wait until the job is there."""
        assert self.environment.handed_over.wait(self._limit), (
            f"the backend must deploy a job and return: it has not within {self._limit:g} s"
        )

    def deployed(self) -> None:
        """Wait until the backend has deployed the job, or has begun to."""
        assert self.environment.probed.wait(self._limit), f"a job must be deployed: it was not within {self._limit:g} s"

    @property
    def deployment(self) -> Deployment:
        """The backend's own."""
        deployment = self.probe.deployment
        assert deployment is not None, "it must be deployed"
        return deployment

    def stop(self) -> None:
        """Ask for its end."""
        self.started()
        self.environment.stop()

    def end(self) -> Ended:
        """Wait for its end, and see that all that the backend has told of it makes sense."""
        self._awaited.set()
        self._thread.join(self._limit)
        if self._thread.is_alive():
            self._give_up()
        if self._error is not None and not isinstance(self._error, JobFailedError):
            raise self._error
        assert self.probe.deployment is not None
        assert self.probe.deployment.join(self._limit), "join() must return True once all tasks have told their end"
        faults = self.probe.faults()
        assert not faults, "each task tells 'running' once, then its end once: " + "; ".join(faults)
        job = self.environment.job
        status = job.status()
        return Ended(status["status"], status, self._error, self.probe, job.metrics())

    def clear(self) -> None:
        """See that nothing of it is left, however its promise has ended."""
        self._awaited.set()
        if self._thread.is_alive() and self.environment.handed_over.is_set():
            threading.Thread(target=self.environment.stop, name="conformance-end", daemon=True).start()
            self._thread.join(self._limit)
        if self._thread.is_alive():
            with suppress(AssertionError):
                self._give_up()

    def _give_up(self) -> None:
        probe = getattr(self.environment, "probe", None)
        if probe is None:
            raise AssertionError(f"a job must end: this one was not even deployed within {self._limit:g} s")
        left = ", ".join(map(str, probe.left()))
        last = "; ".join(f"{event.task} {event.kind}" for event in probe.events()[-5:])
        threading.Thread(target=probe.give_up, name="conformance-end", daemon=True).start()
        raise AssertionError(
            f"a job must end: within {self._limit:g} s the tasks {left or 'none'} have not; its last events: {last}"
        )

    def _run(self) -> None:
        try:
            job = self.environment.submit()
            self._awaited.wait()
            job.wait()
        except BaseException as error:  # raised where the end is waited for
            self._error = error


class Kit:
    """Runs pipelines on one backend.

    Args:
        backend: its name.
        options: for it.
        folder: an empty one, for signals and files.
        limit: seconds after which a job that should end is said never to.

    Attributes:
        patience: seconds that a backend is given to do what it must not.
    """

    patience = 2.0

    def __init__(self, backend: str, options: Mapping[str, Any], folder: Path, limit: float) -> None:
        self.backend = backend
        self.options = dict(options)
        self.folder = folder
        self.limit = limit
        self._count = itertools.count()
        self._signals: list[Bell | Gate] = []
        self._jobs: list[Running] = []

    @property
    def capabilities(self) -> frozenset[str]:
        return self.resolve().capabilities

    @property
    def is_parallel(self) -> bool:
        """Whether tasks run beside each other."""
        return bool(self.capabilities & PARALLEL)

    @property
    def is_elsewhere(self) -> bool:
        """Whether tasks run in other processes than this one."""
        return bool(self.capabilities & ELSEWHERE)

    def resolve(self, **options: Any) -> Backend:
        """The backend itself, with more ``options``."""
        return resolve(self.backend, BackendOptions({**self.options, **options}))

    def environment(self, name: str = "conformance", *, hold: bool = False, **options: Any) -> ProbedEnvironment:
        """To declare a pipeline in; ``hold`` keeps its records back until `Probe.release`."""
        return ProbedEnvironment(name, self.backend, lambda: self.resolve(**options), hold=hold)

    def start(self, environment: ProbedEnvironment, *, alone: bool = False) -> Running:
        """Submit; with ``alone`` nobody waits for it before `Running.end`."""
        running = Running(environment, self.limit, alone=alone)
        self._jobs.append(running)
        return running

    def end(self, environment: ProbedEnvironment) -> Ended:
        """Run it to its end, whatever that is."""
        return self.start(environment).end()

    def run(self, environment: ProbedEnvironment) -> Ended:
        """Run what has to complete."""
        ended = self.end(environment)
        if ended.error is not None:
            raise ended.error
        assert ended.state == "completed", f"the job must be completed: it is {ended.state}: {ended.status}"
        return ended

    def fail(self, environment: ProbedEnvironment) -> FailureInfo:
        """Run what has to fail. Returns how."""
        ended = self.end(environment)
        assert ended.state == "failed", f"the job must fail: it is {ended.state}"
        return ended.failure

    def bell(self) -> Bell:
        bell = Bell(self.folder / f"bell-{next(self._count)}")
        self._signals.append(bell)
        return bell

    def gate(self) -> Gate:
        gate = Gate(self.folder / f"gate-{next(self._count)}")
        self._signals.append(gate)
        return gate

    def close(self) -> None:
        """Open all gates, so that no function waits for ever, end what still runs, and let go of the signals."""
        for signal in self._signals:
            if isinstance(signal, Gate):
                signal.open()
        for job in self._jobs:
            job.clear()
        for signal in self._signals:
            signal.close()


def operator(metrics: JobMetrics, name: str) -> OperatorMetrics:
    """What was counted of the operator ``name``."""
    return next(item for item in metrics.operators if item.name == name)
