"""A worker: the main program of a process that runs some tasks of a job.

Started by the deployment as ``python -P -m sage_plugins_example.processes.worker <descriptor>``. The main thread opens
the package and waits for the tasks; another one, the loop, reads and writes all sockets.
"""

from __future__ import annotations

import atexit
import faulthandler
import io
import logging
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sage.core.backends.api import (
    CREDITS,
    ChannelId,
    TaskEvent,
    TaskHost,
    decode,
    describe_backend_failure,
    encode_event,
    load_tasks,
)
from sage_plugins_example.processes import logs
from sage_plugins_example.processes.line import Line
from sage_plugins_example.processes.links import GRANT, MESSAGE, Grants, WorkerLink
from sage_plugins_example.processes.loop import Loop
from sage_plugins_example.processes.orders import CANCEL, COMMAND, DONE, EVENT, FAILED, PING, PONG, SETUP, Setup
from sage_plugins_example.processes.placement import crossing

__all__ = ["Worker", "main"]

_ORPHAN_GRACE = 5.0
"""Seconds that tasks get to end once the job's process is gone."""

_LOOK_EVERY = 1.0
_MOST_EVENTS = 1 << 24
"""Bytes of events that may wait to be sent: what is collected faster than it is taken has to wait."""


class Worker:
    """The tasks of one worker, and its lines to the job's process and to the other workers.

    Args:
        control: the socket to the job's process.
    """

    def __init__(self, control: socket.socket) -> None:
        self._loop = Loop()
        self._parent = os.getppid()
        self._setup: Setup | None = None
        self._told = threading.Event()  # what to run
        self._host: TaskHost | None = None
        self._grace: float | None = None  # once all is to end
        self._orphaned_at: float | None = None
        self._lock = threading.Lock()
        self._peers: dict[int, Line] = {}
        self._links: dict[int, WorkerLink] = {}  # by number of the channel
        self._grants: dict[int, Grants] = {}
        self._channels: tuple[ChannelId, ...] = ()
        self._control = Line(control, self._loop, self._on_order, self._on_orphaned)
        self._thread = threading.Thread(target=self._run_loop, name="sage-worker-loop", daemon=True)

    def run(self) -> None:
        """Do all there is to do for this process."""
        os.register_at_fork(after_in_child=self._forked)
        self._loop.add(self._control)
        self._thread.start()
        self._told.wait()
        setup = self._setup
        if setup is None:
            return
        logging.getLogger().addHandler(logs.ToJob(self._control))
        for name, level in setup.levels.items():
            logging.getLogger(name).setLevel(level)
        try:
            host = self._make_host(setup)
        except BaseException as error:  # code of the user's, too, runs in there
            self._control.post(FAILED, parts=[pickle.dumps(describe_backend_failure(error))])
        else:
            host.join(None)
            for line in self._peers.values():
                line.wait_for_room(0)
        self._control.post(DONE)
        self._control.wait_for_room(0)

    def _make_host(self, setup: Setup) -> TaskHost:
        for number, descriptor in setup.peers.items():  # first, so that nothing that the author's code starts has them
            line = Line(
                socket.socket(fileno=descriptor), self._loop, self._on_message, _nothing, shared=setup.shared_memory
            )
            line.drained = self._on_drained
            self._peers[number] = line
        package = setup.attempt.package
        assert package is not None
        mine = [task for task, worker in setup.places.items() if worker == setup.number]
        tasks = load_tasks(package, mine, setup.attempt)
        plan, places = tasks.plan, setup.places
        self._channels = crossing(plan, places)
        links = {}
        for number, channel in enumerate(self._channels):
            source, target = places[plan.source_of(channel)], places[plan.target_of(channel)]
            limited = not plan.edges[channel.edge].back  # what waits to go round a loop again is kept by its head
            if source == setup.number:
                links[channel] = self._links[number] = WorkerLink(
                    self._peers[target], number, CREDITS if limited else None
                )
            elif target == setup.number and limited:
                self._grants[number] = Grants(self._peers[source], number)
        host = TaskHost(tasks, setup.attempt, links, self._on_event, name=f"worker {setup.number}")
        for number, grants in self._grants.items():
            host.on_take(self._channels[number], grants.taken)
        with self._lock:
            self._host, grace = host, self._grace
        for line in self._peers.values():  # nobody sends anything before all hosts are there
            self._loop.add(line)
        host.deploy()
        if grace is not None:
            host.cancel(grace)
        return host

    def _forked(self) -> None:
        """User code has forked: the copy neither speaks for this worker nor keeps its sockets open."""
        for line in (self._control, *self._peers.values()):
            line.forked()

    # On the loop's thread

    def _run_loop(self) -> None:
        try:
            self._loop.run(self._tick)
        except BaseException as error:
            try:
                failure = describe_backend_failure(error)
                number = "" if self._setup is None else f" {self._setup.number}"
                message = f"worker{number} (process {os.getpid()}) cannot go on: {type(error).__name__}: {error}"
                self._control.post(FAILED, parts=[pickle.dumps(replace(failure, kind="process", message=message))])
            finally:
                os._exit(70)  # nobody would ever hear of this worker again

    def _tick(self) -> float:
        if os.getppid() != self._parent:  # its socket need not be closed: a child of it may have it
            self._on_orphaned()
        if self._orphaned_at is not None and time.monotonic() - self._orphaned_at > _ORPHAN_GRACE + 1:
            os._exit(1)
        return _LOOK_EVERY

    def _on_order(self, kind: int, number: int, count: int, parts: list[Any]) -> None:
        if kind == SETUP:
            self._setup = pickle.loads(parts[0])  # noqa: S301 - from the process that has started this one
            self._told.set()
        elif kind == COMMAND and self._host is not None:
            task, command = pickle.loads(parts[0])  # noqa: S301
            self._host.send(task, command)
        elif kind == CANCEL:
            self._cancel(number / 1000)
        elif kind == PING:
            self._control.post(PONG)

    def _on_orphaned(self) -> None:
        if self._orphaned_at is None:
            self._orphaned_at = time.monotonic()
            self._cancel(_ORPHAN_GRACE)
            self._told.set()

    def _cancel(self, grace: float) -> None:
        with self._lock:
            self._grace, host = grace, self._host
        if host is not None:
            host.cancel(grace)

    def _on_message(self, kind: int, number: int, count: int, parts: list[Any]) -> None:
        if kind == GRANT:
            self._links[number].grant(count)
            return
        assert self._host is not None and kind == MESSAGE
        if number in self._grants:
            self._grants[number].arrived(sum(map(len, parts)))
        self._host.receive(self._channels[number], decode(parts[0], parts[1:]))

    def _on_drained(self) -> None:
        for link in self._links.values():
            link.grant(0)

    # On the tasks' threads

    def _on_event(self, event: TaskEvent) -> None:
        """Raises TransferError: a record that was collected cannot be pickled."""
        self._control.post(EVENT, parts=[encode_event(event)])
        if event.kind == "collected":
            self._control.wait_for_room(_MOST_EVENTS)


def _nothing() -> None:
    """Another worker has ended: the job's process knows why, and what is to be done."""


def main(arguments: Sequence[str]) -> None:
    """Run a worker. It never returns: whatever its tasks have left behind, threads for instance, ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the job's process, which ends this one in good order
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    if sys.stderr is not None:  # it is None where the program has closed its own
        faulthandler.enable(all_threads=True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # lines of several workers must not be torn apart
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    Worker(socket.socket(fileno=int(arguments[0]))).run()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # nobody reads it any more, or it was closed or replaced
            stream.flush()
    os._exit(0)


if __name__ == "__main__":
    # This module is the ``__main__`` that the script's classes will replace. Its arguments are not those of the script.
    arguments, sys.argv[1:] = sys.argv[1:], []
    main(arguments)
