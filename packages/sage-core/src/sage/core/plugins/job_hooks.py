"""Tells plugins what happens to jobs, beside the jobs: nothing here waits for a plugin, and no plugin for another.

Each plugin has a queue and, while that is in use, a thread. The queue is bounded: of a plugin that does not keep
up the oldest events are dropped, and counted. How long a call takes cannot be bounded from outside, but that it takes
too long is logged, and nobody waits for it, the end of the program included.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

from sage.core.errors import SageError
from sage.core.models import CheckpointInfo, FailureInfo, JobInfo
from sage.core.plugins.loading import Plugin, title
from sage.core.plugins.manager import default_manager
from sage.core.plugins.metadata import is_claimed

__all__ = ["CAPACITY", "GRACE", "LIMIT", "LINGER", "JobHooks", "installed_job_hooks", "job_hooks_of_this_program"]

LIMIT = 10.0
"""Seconds after which it is logged that a hook has not returned."""

LINGER = 1.0
"""Seconds that a plugin's thread waits for more to come before it ends."""

CAPACITY = 1000
"""Events that may wait for one plugin."""

GRACE = 5.0
"""Seconds that plugins have at the end of the program for what has happened before."""

_STATE, _FAILURE, _CHECKPOINT = _HOOKS = ("sage_job_state", "sage_job_failure", "sage_job_checkpoint")
_log = logging.getLogger("sage.plugins")
_Item = TypeVar("_Item")


class _Call(NamedTuple):
    hook: str
    arguments: Mapping[str, Any]


class JobHooks:
    """Calls the job hooks of plugins. All methods but `close` return at once, from any thread.

    Args:
        plugins: whom to tell; or what finds them, which is called when something has happened for the first time, on a
            thread of its own.
    """

    def __init__(self, plugins: Sequence[Plugin] | Callable[[], Sequence[Plugin]]) -> None:
        self._plugins: list[tuple[Plugin, _Queue[_Call]]] | None = None
        self._calls: _Queue[_Call] | None = None
        if callable(plugins):
            self._find = plugins
            self._calls = _Queue("sage-job-hooks", self._pass_on, "the plugins, which are being loaded,")
            self._tell: Callable[[_Call], None] = self._calls.put
        else:
            self._plugins = [(plugin, _queue_of(plugin)) for plugin in plugins]
            self._tell = self._pass_on

    def moved(self, job: JobInfo, old: str, reason: str | None = None) -> None:
        """A job is in another state than before; why it failed is in it."""
        self._tell(_Call(_STATE, {"job": job, "old": old, "new": job.state, "reason": reason}))
        if job.state == "failed" and job.failure is not None:
            self.failed(job, job.failure)

    def failed(self, job: JobInfo, failure: FailureInfo) -> None:
        """A job has failed."""
        self._tell(_Call(_FAILURE, {"job": job, "failure": failure}))

    def checkpoint(self, job: JobInfo, checkpoint: CheckpointInfo) -> None:
        """A checkpoint of a job is complete."""
        self._tell(_Call(_CHECKPOINT, {"job": job, "checkpoint": checkpoint}))

    def close(self, timeout: float = GRACE) -> None:
        """Wait, at most ``timeout`` seconds, until the plugins know all that has happened; what is left is dropped."""
        deadline = time.monotonic() + timeout
        if self._calls is not None:
            self._calls.close(deadline)
        for _, queue in self._plugins or ():
            queue.close(deadline)

    def _pass_on(self, call: _Call) -> None:
        if self._plugins is None:
            try:
                found = self._find()
            except SageError as error:
                _log.error("no plugin is told of jobs: %s", error.message)
                found = []
            self._plugins = [(plugin, _queue_of(plugin)) for plugin in found]
        for plugin, queue in self._plugins:
            if call.hook in plugin.hooks:
                queue.put(call)


def installed_job_hooks() -> JobHooks | None:
    """For whoever looks after jobs: the hooks of installed plugins, which are loaded at the first event."""
    return JobHooks(_installed) if is_claimed("sage.plugins") and default_manager().names("sage.plugins") else None


_own: tuple[Sequence[Plugin], JobHooks] | None = None
_own_lock = threading.Lock()


def job_hooks_of_this_program() -> JobHooks | None:
    """For jobs that run in this program; None if no plugin has any such hook.

    Plugins have until the program's end to be told, and `GRACE` seconds more.
    """
    global _own
    plugins = _installed()
    with _own_lock:
        if _own is None or _own[0] != plugins:
            if _own is None:
                atexit.register(_close_own)
            _own = (plugins, JobHooks(plugins))
        return _own[1] if plugins else None


def _installed() -> Sequence[Plugin]:
    return default_manager().plugins_with(*_HOOKS)


def _close_own() -> None:
    if _own is not None:
        _own[1].close()


def _forget_own() -> None:
    """A forked child has none of the threads."""
    global _own, _own_lock
    _own, _own_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_own)


def _queue_of(plugin: Plugin) -> _Queue[_Call]:
    def take(call: _Call) -> None:
        try:
            plugin.call(call.hook, call.arguments)
        except BaseException as error:  # whatever it is, it is not the job's
            _log.error("%s: %s", call.arguments["job"].name, getattr(error, "message", repr(error)), exc_info=error)

    def tell(call: _Call) -> None:
        _log.error(
            "%s (%s) has not returned from %s within %g s; nobody waits for it",
            title(plugin.claim),
            plugin.claim.value,
            call.hook,
            LIMIT,
        )

    return _Queue(f"sage-hook-{plugin.claim.name}", take, title(plugin.claim), tell)


class _Queue(Generic[_Item]):
    """Items in order, the newest `CAPACITY` of them, and a thread that takes them for as long as some come.

    Args:
        name: of the thread.
        take: called with each item.
        whose: who does not keep up, for the log.
        overdue: called with an item that `take` has not returned from within `LIMIT`.
    """

    def __init__(
        self,
        name: str,
        take: Callable[[_Item], None],
        whose: str,
        overdue: Callable[[_Item], None] | None = None,
    ) -> None:
        self._name = name
        self._take = take
        self._whose = whose
        self._overdue = overdue
        self._changed = threading.Condition()
        self._items: deque[_Item] = deque()
        self._lost = 0
        self._is_running = False  # there is a thread
        self._taking: tuple[_Item, float] | None = None  # what is being taken, and since when
        self._is_closed = False

    def put(self, item: _Item) -> None:
        """Add one; never blocks, never raises."""
        with self._changed:
            if self._is_closed:
                return
            if len(self._items) == CAPACITY:
                self._items.popleft()
                self._lost += 1
            self._items.append(item)
            if self._is_running:
                self._changed.notify_all()
                return
            try:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            except RuntimeError as error:  # no more threads, or the interpreter is about to end
                self._lost += len(self._items)
                self._items.clear()
                _log.error("%s is not told of jobs: %s", self._whose, error)
            else:
                self._is_running = True

    def close(self, deadline: float) -> None:
        """Wait until ``deadline`` for what is there to be taken, and take nothing more."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._items and self._taking is None, max(0.0, deadline - time.monotonic())
            )
            self._is_closed = True
            left = len(self._items) + (self._taking is not None)
            self._items.clear()
            self._changed.notify_all()
        if left:
            _log.warning("%s was not told %d events: it took too long at the end", self._whose, left)

    def _run(self) -> None:
        if self._overdue is not None:
            with suppress(RuntimeError):  # no more threads: then it goes unwatched
                threading.Thread(target=self._watch, name=f"{self._name}-limit", daemon=True).start()
        while True:
            with self._changed:
                self._taking = None
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._items or self._is_closed, LINGER)
                lost, self._lost = self._lost, 0
                if self._items:
                    item = self._items.popleft()
                    self._taking = (item, time.monotonic())
                else:
                    self._is_running = False
                    self._changed.notify_all()
                    return
            if lost:
                _log.warning("%s does not keep up: the oldest %d events were dropped", self._whose, lost)
            self._take(item)

    def _watch(self) -> None:
        """For as long as there is the thread, see to it that none of its calls goes on unnoticed."""
        told: tuple[_Item, float] | None = None
        while True:
            with self._changed:
                taking, limit = self._taking, LIMIT
                if taking is not None and taking is not told:
                    limit -= time.monotonic() - taking[1]
                if self._changed.wait_for(lambda: not self._is_running, max(0.0, limit)):
                    return
                is_late = taking is not None and taking is self._taking and taking is not told
            if is_late and taking is not None and self._overdue is not None:
                told = taking
                self._overdue(taking[0])
