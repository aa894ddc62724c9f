"""One thread of a process reads and writes all of its lines."""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sage_plugins_example.processes.line import Line

__all__ = ["Loop"]


class Loop:
    """Waits for sockets; whoever calls `run` is its thread.

    A line that could not send all at once calls `watch`, and is written to as soon as there is room.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._calls: deque[Callable[[], object]] = deque()  # at most one for each line, and few others
        self._left = False
        self.thread: int | None = None  # that runs it

    def call(self, function: Callable[[], object]) -> None:
        """Call ``function`` soon, on the loop's thread; any thread may ask."""
        self._calls.append(function)
        try:
            os.write(self._waker, b"!")
        except BlockingIOError:  # it has not even seen earlier ones
            return

    def add(self, line: Line) -> None:
        """Read a line from now on; any thread may ask."""
        self.call(lambda: self._register(line))

    def watch(self, line: Line) -> None:
        """There is more to write to a line; any thread may say so."""
        self.call(lambda: self._modify(line, selectors.EVENT_READ | selectors.EVENT_WRITE))

    def when_readable(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, on the loop's thread, as soon as ``descriptor`` can be read; any thread may ask."""

        def ready() -> None:
            self._selector.unregister(descriptor)
            callback()

        self.call(lambda: self._selector.register(descriptor, selectors.EVENT_READ, ready))

    def leave(self) -> None:
        """Let `run` return; any thread may ask."""

        def leave() -> None:
            self._left = True

        self.call(leave)

    def run(self, tick: Callable[[], float]) -> None:
        """Read and write until `leave` is called.

        Args:
            tick: called at first, and again after the seconds that it has returned.
        """
        self.thread = threading.get_ident()
        due = time.monotonic() + tick()
        while not self._left:
            for key, events in self._selector.select(max(0.0, due - time.monotonic())):
                if key.data is None:
                    os.read(self._woken, 1 << 12)
                elif callable(key.data):
                    key.data()
                else:
                    self._attend(key.data, events)
            while self._calls:
                self._calls.popleft()()
            if time.monotonic() >= due:
                due = time.monotonic() + tick()

    def close(self) -> None:
        """Give back what it holds, once it was left, or if it never ran."""
        self._selector.close()
        os.close(self._woken)
        os.close(self._waker)

    def _register(self, line: Line) -> None:
        self._selector.register(line.socket, selectors.EVENT_READ, line)

    def _modify(self, line: Line, events: int) -> None:
        if line.socket.fileno() in self._selector.get_map():
            self._selector.modify(line.socket, events, line)

    def _attend(self, line: Line, events: int) -> None:
        if events & selectors.EVENT_WRITE and line.flush():
            self._modify(line, selectors.EVENT_READ)
        if events & selectors.EVENT_READ and not line.receive():
            self._selector.unregister(line.socket)
            line.ended()
