"""The tasks of one attempt in worker processes, as the job's process sees them."""

from __future__ import annotations

import logging
import math
import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sage.core.backends.api import (
    Attempt,
    Command,
    ExecutionPlan,
    FailureInfo,
    HostInfo,
    TaskEvent,
    TaskId,
    decode_event,
    describe_backend_failure,
)
from sage.core.errors import InternalError
from sage_plugins_example.processes import logs
from sage_plugins_example.processes.line import Line
from sage_plugins_example.processes.loop import Loop
from sage_plugins_example.processes.orders import CANCEL, COMMAND, DONE, EVENT, FAILED, LOG, PING, SETUP, Setup
from sage_plugins_example.processes.placement import Places, crossing
from sage_plugins_example.processes.workers import WorkerProcess, socket_pair, spawn

__all__ = ["ProcessesDeployment"]

_log = logging.getLogger(__name__)

_BEATS = 5
"""How often a worker is asked for a sign of life within its lease, at least."""

_LONGEST_BEAT = 1.0

_SLACK = 2.0
"""Seconds that a worker gets beyond the grace of its tasks, to tell how they have ended."""

_EXIT_GRACE = 10.0
"""Seconds that a worker gets after the end of its tasks, for what user code wants done when a program ends."""

_LONGEST_GRACE = 0xFFFF_FFFF  # milliseconds: what a frame has room for

_ENDINGS = ("finished", "failed", "cancelled", "abandoned")


class ProcessesDeployment:
    """Starts the workers, and a thread that hears them.

    Args:
        plan, attempt, events: as of `Backend.deploy`.
        places: where each task runs.
        lease: seconds without a sign of life after which a worker is killed.
        shared_memory: bytes that two workers may share.

    Raises:
        OSError: the system gives no more processes or sockets. What was started has been ended.
    """

    def __init__(
        self,
        plan: ExecutionPlan,
        attempt: Attempt,
        events: Callable[[TaskEvent], None],
        places: Places,
        lease: float,
        shared_memory: int,
    ) -> None:
        if attempt.package is None:
            raise InternalError("workers need the package of the job", hint="submit the job by an environment")
        self._plan = plan
        self._attempt = attempt
        self._events = events
        self._places = places
        self._lease = lease
        self._beat = min(lease / _BEATS, _LONGEST_BEAT)
        self._shared_memory = shared_memory
        self._kill_at = math.inf  # from `cancel` on
        self._logs = logs.FromWorkers(f"sage-worker-logs-{attempt.job[:8]}")
        self._loop = Loop()
        self._over = threading.Event()
        self._workers: dict[int, WorkerProcess] = {}
        self._alive: set[WorkerProcess] = set()
        self._thread = threading.Thread(target=self._run, name=f"sage-workers-{attempt.job[:8]}", daemon=True)
        try:
            self._start_workers()
            self._thread.start()
        except BaseException:
            self._end_all("it is not needed")
            self._loop.close()
            raise

    def send(self, task: TaskId, command: Command) -> None:
        self._workers[self._places[task]].line.post(COMMAND, parts=[pickle.dumps((task, command))])

    def placement(self) -> Mapping[TaskId, HostInfo]:
        return {task: self._workers[number].info for task, number in self._places.items()}

    def cancel(self, grace: float) -> None:
        self._kill_at = min(self._kill_at, time.monotonic() + grace + _SLACK)
        for worker in self._workers.values():
            worker.line.post(CANCEL, int(min(grace * 1000, _LONGEST_GRACE)))

    def join(self, timeout: float | None) -> bool:
        if not self._over.wait(timeout):
            return False
        self._thread.join()
        return True

    def _start_workers(self) -> None:
        numbers = sorted(set(self._places.values()))
        neighbours = self._neighbours()
        ends: dict[int, dict[int, socket.socket]] = {number: {} for number in numbers}
        try:
            for number in numbers:  # a socket is open here only until both have it: many workers have very many
                for peer in numbers:
                    if peer > number and frozenset((number, peer)) in neighbours:
                        ends[number][peer], ends[peer][number] = socket_pair()
                self._start_worker(number, {peer: end.fileno() for peer, end in ends[number].items()})
                for end in ends.pop(number).values():
                    end.close()
        finally:
            for own in ends.values():
                for end in own.values():
                    end.close()

    def _neighbours(self) -> set[frozenset[int]]:
        """The pairs of workers that there are channels between."""
        plan, places = self._plan, self._places
        channels = crossing(plan, places)
        return {frozenset((places[plan.source_of(item)], places[plan.target_of(item)])) for item in channels}

    def _start_worker(self, number: int, peers: Mapping[int, int]) -> None:
        plan = self._plan
        tasks = [task for task, worker in self._places.items() if worker == number]
        stages = sorted({task.stage for task in tasks})
        runs = ", ".join(f"'{plan.operators[item].name}'" for stage in stages for item in plan.stages[stage].operators)
        setup = Setup(number, self._attempt, self._places, peers, self._shared_memory, logs.levels())
        ours, theirs = socket_pair()
        try:
            with theirs:
                process = spawn([str(theirs.fileno())], [theirs.fileno(), *peers.values()])
        except BaseException:
            ours.close()
            raise
        worker = WorkerProcess(number, process, tasks, runs)
        worker.line = Line(
            ours,
            self._loop,
            lambda kind, _, __, parts: self._hear(worker, kind, parts),
            lambda: self._gone(worker),
        )
        self._workers[number] = worker
        self._alive.add(worker)
        worker.line.post(SETUP, parts=[pickle.dumps(setup)])
        self._loop.add(worker.line)
        if hasattr(os, "pidfd_open"):
            worker.descriptor = os.pidfd_open(process.pid)
            self._loop.when_readable(worker.descriptor, lambda: self._ended(worker))

    # On the thread of the loop

    def _run(self) -> None:
        try:
            self._loop.run(self._tick)
        except BaseException as error:  # nobody would hear the workers any more
            _log.exception("the workers of job %s are given up", self._attempt.job)
            self._end_all("the job's process has given it up")
            failure = replace(
                describe_backend_failure(error),
                message=f"the job's process has given its workers up: {type(error).__name__}: {error}",
            )
            for number, worker in enumerate(self._workers.values()):
                self._fail(worker, None if number else failure)
        finally:
            for worker in self._workers.values():
                worker.line.close()
            self._loop.close()
            self._logs.close()
            self._over.set()

    def _hear(self, worker: WorkerProcess, kind: int, parts: list[Any]) -> None:
        worker.silent = 0.0
        if kind == EVENT:
            event = decode_event(parts[0])
            if event.kind in _ENDINGS:
                worker.left.discard(event.task)
            self._events(event)
        elif kind == LOG:
            self._logs.take(parts[0])
        elif kind == FAILED:
            self._fail(worker, pickle.loads(parts[0]))  # noqa: S301 - from a process that this one has started
        elif kind == DONE:
            worker.leave_by = time.monotonic() + _EXIT_GRACE

    def _gone(self, worker: WorkerProcess) -> None:
        """It has closed its end, which it does by ending."""
        if not hasattr(os, "pidfd_open"):
            self._ended(worker)

    def _ended(self, worker: WorkerProcess) -> None:
        """It has ended, or is just about to. What it has said before still counts."""
        worker.wait()
        worker.line.drain()
        self._fail(worker, worker.failure())
        self._alive.discard(worker)
        if not self._alive:
            self._loop.leave()

    def _fail(self, worker: WorkerProcess, failure: FailureInfo | None) -> None:
        """All that has not ended of it will never do: one failure, told once, and why the others end, too."""
        left, worker.left = sorted(worker.left), set()
        for number, task in enumerate(left):
            if time.monotonic() >= self._kill_at:
                self._events(TaskEvent(task, "abandoned", where=f"worker {worker.number}, which was killed"))
            else:
                self._events(TaskEvent(task, "failed", failure=None if number else failure))

    def _tick(self) -> float:
        """Look after the workers."""
        for worker in self._alive:
            worker.silent = 0.0 if worker.has_worked() else worker.silent + self._beat
            if worker.silent > self._lease:
                worker.kill(f"has given no sign of life for {self._lease:g} s, and was killed")
            elif time.monotonic() >= self._kill_at:
                worker.kill("did not end when it was told to, and was killed")
            elif time.monotonic() >= worker.leave_by:
                worker.leave_by = math.inf
                _log.warning(
                    "worker %d (process %d) was killed: %g s after its tasks had ended, what user code has registered"
                    " by atexit had not returned",
                    *(worker.number, worker.info.pid, _EXIT_GRACE),
                )
                worker.kill("did not end after its tasks, and was killed")
            worker.line.post(PING)
        return self._beat

    def _end_all(self, why: str) -> None:
        """Kill those that are left, and wait for their end."""
        for worker in self._workers.values():
            worker.kill(why)
        for worker in self._workers.values():
            worker.wait()
            worker.line.close()
