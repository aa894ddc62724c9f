"""Runs a pipeline in a simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sage.core.api._local_job import LocalJob
from sage.core.api.environment import Environment
from sage.core.errors import JobFailedError
from sage.core.models import JobMetrics
from sage.core.testing._backend import SimulatedBackend

__all__ = ["Simulation", "simulate"]


@dataclass(frozen=True)
class Simulation:
    """How a simulated job went.

    Attributes:
        seed: what decided its schedule.
        state: ``completed``, or ``cancelled``.
        seconds: virtual time that passed.
        metrics: what its tasks have counted.
        trace: a line for every turn.
    """

    seed: int
    state: str
    seconds: float
    metrics: JobMetrics
    trace: tuple[str, ...]


def simulate(
    env: Environment,
    *,
    seed: int,
    cancel: bool = False,
    max_records: int | None = None,
    timeout: float | None = None,
    turns: int = 1_000_000,
    tell: Callable[[str], None] | None = None,
) -> Simulation:
    """Run the pipeline of ``env`` on this thread, in virtual time, by a schedule that ``seed`` decides.

    It takes the place of `submit`, whatever the environment: the pipeline is checked, and runs to its end. The tasks
    take turns in any order, messages and credits between them are on their way for any time, batches, buffers and
    slices have any size. The same seed gives the same schedule, as long as pipeline, functions and SAGE are the same.

    Args:
        env: the environment; like `submit`, this takes one pipeline from it.
        seed: any whole number.
        cancel: whether somebody cancels the job meanwhile, at a moment that the seed decides.
        max_records: how many records to read from all sources together; then their input has ended.
        timeout: seconds of virtual time after which the input has ended.
        turns: after so many the job is said never to end.
        tell: called with every line of the trace as it comes to be, also of a job that fails.

    Raises:
        GraphError: the pipeline cannot run.
        AlreadySubmittedError: this environment was submitted, or simulated, before.
        JobFailedError: the job failed; a note names the seed. Its cause is the user's own exception, or a
            `SimulationError` if the job could not end.
    """
    trace: list[str] = []

    def note(line: str) -> None:
        trace.append(line)
        if tell is not None:
            tell(line)

    backend = SimulatedBackend(seed, cancel=cancel, max_records=max_records, timeout=timeout, turns=turns, tell=note)
    job = env.hand_over(lambda graph: LocalJob.start(graph, env.env_uuid, backend, "simulated", waited=True))
    backend.stop = job.stop
    try:
        state = job.wait()["status"]
    except JobFailedError as error:
        error.add_note(
            f"Simulated with seed {seed}: simulate(env, seed={seed}, …) with the same pipeline replays exactly this,"
            f" tell=print shows its {len(trace):,} turns. The last: {trace[-1]}"
        )
        raise
    deployment = backend.deployment
    assert deployment is not None
    return Simulation(seed, state, deployment.clock.now(), job.metrics(), tuple(trace))
