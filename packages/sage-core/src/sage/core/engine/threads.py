"""Threads for calls that may not return: bounded in number, used again, gone when they are not needed."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

__all__ = ["Threads"]

_IDLE = 10.0  # seconds after which a thread without work ends


class Threads(ThreadPoolExecutor):
    """An executor whose threads do not keep the program from ending, as those of the base class do.

    Args:
        name: of each thread.
        most: how many there may be.
        queues: whether calls wait for a thread that is free, as coroutines do; if not, one too many is refused.
    """

    def __init__(self, name: str, most: int, *, queues: bool = True) -> None:
        super().__init__(most)  # which starts no thread of its own before its `submit` is called
        self._name = name
        self._most = most
        self._queues = queues
        self._guard = threading.Lock()
        self._free: list[_Thread] = []
        self._queued: deque[_Call] = deque()  # as many as coroutines await: to block here would stop their loop
        self._count = 0
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Raises `queue.Full` where calls are not queued and no thread is free."""
        call = _Call(partial(fn, *args, **kwargs))
        with self._guard:
            if self._free:
                self._free.pop().asked.put(call)
            elif self._count < self._most:
                _Thread(self, self._name, call).start()
                self._count += 1
            elif self._queues:
                self._queued.append(call)
            else:
                raise queue.Full
        return call.answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let threads end as soon as they have nothing to do. None of them is waited for."""
        with self._guard:
            self._closed = True
            free, self._free = self._free, []
        for thread in free:
            thread.asked.put(None)

    def _after(self, thread: _Thread) -> None:
        """A thread has done its call: what it is to do next is put into its queue, now or later."""
        with self._guard:
            if self._queued:
                thread.asked.put(self._queued.popleft())
            elif self._closed:
                self._count -= 1
                thread.asked.put(None)
            else:
                self._free.append(thread)

    def _may_end(self, thread: _Thread) -> bool:
        """A thread has had nothing to do for long; False if it is being asked just now."""
        with self._guard:
            if thread not in self._free:
                return False
            self._free.remove(thread)
            self._count -= 1
            return True


class _Call:
    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.answer: Future[Any] = Future()


class _Thread(threading.Thread):
    def __init__(self, threads: Threads, name: str, call: _Call) -> None:
        super().__init__(name=name, daemon=True)  # a call that does not return must not keep the program alive
        self._threads = threads
        self.asked: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()  # holds one at most
        self.asked.put(call)

    def run(self) -> None:
        while True:
            try:
                call = self.asked.get(timeout=_IDLE)
            except queue.Empty:
                if self._threads._may_end(self):
                    return
                continue
            if call is None:
                return
            self._do(call)
            del call  # with what it holds, before the next one comes

    def _do(self, call: _Call) -> None:
        if not call.answer.set_running_or_notify_cancel():
            self._threads._after(self)
            return
        try:
            result = call.work()
        except BaseException as error:  # raised to whoever waits for the answer
            self._threads._after(self)
            call.answer.set_exception(error)
        else:
            # Before the answer is told: who calls once more shall find this thread.
            self._threads._after(self)
            call.answer.set_result(result)
