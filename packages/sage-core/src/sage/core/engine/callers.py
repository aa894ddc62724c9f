"""Threads that call a service for somebody who does not wait for ever."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from sage.core.errors import ServiceTimeoutError

__all__ = ["MOST_CALLS", "Callers"]

MOST_CALLS = 128
"""Calls of one service with a time-out that may be under way at once, those that were given up included."""

_IDLE = 10.0  # seconds after which a thread without work ends


class Callers:
    """The threads of one service. One that is idle is used again; one whose call does not return is kept by it.

    Args:
        name: of the service.
        most: how many there may be.
    """

    def __init__(self, name: str, most: int = MOST_CALLS) -> None:
        self._name = name
        self._most = most
        self._lock = threading.Lock()
        self._idle: list[_Caller] = []
        self._count = 0
        self._closed = False

    def call(self, work: Callable[[], Any]) -> Future[Any]:
        """Have ``work`` done on a thread that is not the caller's.

        Raises:
            ServiceTimeoutError: as many calls as there may be have not returned.
        """
        answer: Future[Any] = Future()
        with self._lock:
            if self._idle:
                caller = self._idle.pop()
            elif self._count < self._most:
                caller = _Caller(self, f"sage-service-{self._name}")
                caller.start()
                self._count += 1
            else:
                raise ServiceTimeoutError(
                    f"{self._count} calls of the service '{self._name}' have not returned, so no further one is made",
                    hint="find out why it does not answer; a time-out gives up the wait for a call, not the call",
                    service=self._name,
                )
        caller.asked.put((work, answer))
        return answer

    def close(self) -> None:
        """Let idle threads end; one at work ends with its call."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for caller in idle:
            caller.asked.put(None)

    def _rest(self, caller: _Caller) -> bool:
        """A thread has done its work; False if it is not needed any more."""
        with self._lock:
            if self._closed:
                self._count -= 1
                return False
            self._idle.append(caller)
            return True

    def _retire(self, caller: _Caller) -> bool:
        """A thread has had nothing to do for long; False if it is being asked just now."""
        with self._lock:
            if caller not in self._idle:
                return False
            self._idle.remove(caller)
            self._count -= 1
            return True


class _Caller(threading.Thread):
    def __init__(self, callers: Callers, name: str) -> None:
        super().__init__(name=name, daemon=True)  # a call that does not return must not keep the program alive
        self._callers = callers
        self.asked: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()

    def run(self) -> None:
        needed = True
        while needed:
            try:
                asked = self.asked.get(timeout=_IDLE)
            except queue.Empty:
                needed = not self._callers._retire(self)
                continue
            if asked is None:
                return
            needed = self._do(*asked)

    def _do(self, work: Callable[[], Any], answer: Future[Any]) -> bool:
        try:
            result = work()
        except BaseException as error:  # raised in the caller
            needed = self._callers._rest(self)
            answer.set_exception(error)
        else:
            # Before the answer is told: who calls once more shall find this thread.
            needed = self._callers._rest(self)
            answer.set_result(result)
        return needed
