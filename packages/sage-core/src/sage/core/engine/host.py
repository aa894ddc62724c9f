"""A host: runs several tasks, each on a thread of its own."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress

from sage.core.engine.clock import WALL
from sage.core.engine.events import Attempt, Command, HostInfo, TaskEvent
from sage.core.engine.interrupt import GRACE
from sage.core.engine.life import TaskLife
from sage.core.engine.links import Link
from sage.core.engine.messages import Message
from sage.core.engine.wiring import TaskSet, wire
from sage.core.plan.model import ChannelId, TaskId

__all__ = ["TaskHost"]

_log = logging.getLogger(__name__)

_SLOW_AFTER = 0.002
_SHORTEST_WATCH = 0.005
_LONGEST_WATCH = 0.05

_BLOCKED_AFTER = 1.0
"""Seconds in one call of user code after which it is named: meanwhile the job can neither stop nor move on."""


class TaskHost:
    """Runs the tasks of one process. It is a `Deployment` of its own where a job has only one host.

    Args:
        tasks: which tasks.
        attempt: of which deployment.
        links: the sending end of every channel that leads to another host.
        events: where to report; called from the tasks' threads.
        name: of this host, for people.
    """

    def __init__(
        self,
        tasks: TaskSet,
        attempt: Attempt,
        links: Mapping[ChannelId, Link],
        events: Callable[[TaskEvent], None],
        *,
        name: str = "local",
    ) -> None:
        wiring = wire(tasks, attempt, links, events, clock=WALL)
        self._inboxes = wiring.inboxes
        self._events = events
        self._info = HostInfo(name, os.getpid())
        self._lives = {task.id: TaskLife(task, wiring.services, events) for task in wiring.tasks}
        self._threads = {
            id: threading.Thread(target=self._run, args=(life,), name=f"sage-task-{id}-{attempt.job[:8]}", daemon=True)
            for id, life in self._lives.items()
        }
        self._monitor = threading.Thread(target=self._watch, name=f"sage-monitor-{attempt.job[:8]}", daemon=True)
        self._left = set(self._lives)  # neither ended nor abandoned
        self._abandoned: set[TaskId] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()  # nothing is left
        if not self._left:
            self._over.set()
        self._deadline = math.inf  # from `cancel` on: when to abandon what is left

    def deploy(self) -> None:
        """Start the threads: each opens its task, reports ``running`` and waits for the command ``start``.

        Raises:
            RuntimeError: the system gives no more threads. Those that it gave have ended again.
        """
        try:
            for thread in (self._monitor, *self._threads.values()):
                thread.start()
        except BaseException:
            for life in self._lives.values():
                life.task.cancel()
            self._over.set()
            deadline = time.monotonic() + GRACE
            for thread in (self._monitor, *self._threads.values()):
                with suppress(RuntimeError):  # not started, or not quite: then it finds its task cancelled
                    thread.join(max(0.0, deadline - time.monotonic()))
            raise

    def receive(self, channel: ChannelId, message: Message) -> None:
        """A message from another host has arrived. Never blocks."""
        self._inboxes[channel].put(message)

    def on_take(self, channel: ChannelId, granted: Callable[[int], None]) -> None:
        """Call ``granted(1)`` whenever a message of a channel from another host was taken: its credit goes back."""
        self._inboxes[channel].on_take(granted)

    def send(self, task: TaskId, command: Command) -> None:
        life = self._lives[task]
        since = life.task.since
        blocked = since is not None and WALL.now() - since > _BLOCKED_AFTER
        life.obey(command, self._where(task) if blocked else None)

    def placement(self) -> Mapping[TaskId, HostInfo]:
        return dict.fromkeys(self._lives, self._info)

    def cancel(self, grace: float) -> None:
        """End all tasks at their next step. After ``grace`` seconds those still in user code are abandoned."""
        self._deadline = min(self._deadline, time.monotonic() + grace)
        for life in self._lives.values():
            life.task.cancel()

    def join(self, timeout: float | None) -> bool:
        """Wait until all tasks have ended or were abandoned. Returns whether they have."""
        if not self._over.wait(timeout):
            return False
        for id, thread in self._threads.items():
            if id not in self._abandoned:
                thread.join()  # it has said that it ends
        self._monitor.join(GRACE)  # it may be in code of the user's, in `rescue`
        return True

    def _run(self, life: TaskLife) -> None:
        try:
            if life.open():
                while not life.ended:
                    if life.step() == "wait":
                        life.idle()
        finally:
            life.end_untold()
            self._leave(life.task.id)

    def _leave(self, task: TaskId) -> None:
        with self._lock:
            self._left.discard(task)
            if not self._left:
                self._over.set()

    def _watch(self) -> None:
        """Let no record, and no cancel, wait for user code that does not return.

        A task decides how many records it takes in one go by how quick it has been; the first slow call after
        many quick ones takes it by surprise, and what it has put out before would wait with it. Nothing but a
        clock can notice that. While all tasks wait for input, a look every 50 ms is enough.
        """
        pause = _SHORTEST_WATCH
        while not self._over.wait(pause):
            pause = min(pause * 2, _LONGEST_WATCH)
            now = WALL.now()
            for life in self._lives.values():
                since = life.task.since
                if since is not None:
                    pause = _SHORTEST_WATCH
                    if now - since > _SLOW_AFTER:
                        self._rescue(life)
            if time.monotonic() >= self._deadline:
                self._abandon()

    def _rescue(self, life: TaskLife) -> None:
        try:
            life.task.rescue()
        except Exception:  # a key compares itself by code of the user: its own task meets that too, and reports it
            _log.debug("records of task %s wait for user code that does not return", life.task.id, exc_info=True)

    def _abandon(self) -> None:
        with self._lock:
            stuck = [id for id in self._left if not self._lives[id].ended]
            self._abandoned.update(stuck)
        for id in stuck:
            task = self._lives[id].task
            counts, where = task.counts(), task.waiting_at() or self._where(id)
            self._events(TaskEvent(id, "abandoned", counts=counts, where=where))
            self._leave(id)

    def _where(self, task: TaskId) -> str | None:
        """What a task's thread is doing: the innermost frame, and the operator whose code it is, if it is known."""
        frame = sys._current_frames().get(self._threads[task].ident or 0)
        if frame is None:
            return None
        line = traceback.extract_stack(frame, limit=1)[0]
        operator = self._lives[task].task.running(frame)
        whose = "" if operator is None else f", in {operator.spec.described}"
        return f"{line.name} ({line.filename}:{line.lineno}){whose}"
