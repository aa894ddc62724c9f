"""A single-threaded loop over descriptors and timers, small enough to read in one go."""

from __future__ import annotations

import heapq
import selectors
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Loop", "Timer"]


class Timer:
    """A callback at a monotonic time; `cancel` it as often as you like."""

    __slots__ = ("_call", "deadline")

    def __init__(self, deadline: float, call: Callable[[], None]) -> None:
        self.deadline = deadline
        self._call: Callable[[], None] | None = call

    def __lt__(self, other: Timer) -> bool:
        return self.deadline < other.deadline

    def cancel(self) -> None:
        self._call = None

    def fire(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()

    @property
    def is_pending(self) -> bool:
        return self._call is not None


class Loop:
    """Calls back when descriptors are ready and timers are due, until `stop`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[Timer] = []
        self._running = False

    def watch(
        self, descriptor: int, *, read: Callable[[], object] | None = None, write: Callable[[], object] | None = None
    ) -> None:
        """Call ``read`` and ``write`` whenever ``descriptor`` is ready for it; replaces what was set before."""
        events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        known = descriptor in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(descriptor)
        elif known:
            self._selector.modify(descriptor, events, (read, write))
        else:
            self._selector.register(descriptor, events, (read, write))

    def unwatch(self, descriptor: int) -> None:
        """Forget ``descriptor``; harmless when repeated, and to be done before it is closed."""
        self.watch(descriptor)

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call ``call`` once, ``seconds`` from now."""
        timer = Timer(time.monotonic() + seconds, call)
        heapq.heappush(self._timers, timer)
        return timer

    def run(self) -> None:
        """Run until `stop`; what a callback raises ends it."""
        self._running = True
        while self._running:
            for key, mask in self._selector.select(self._timeout()):
                read, write = key.data
                if mask & selectors.EVENT_READ and read is not None and self._is_current(key):
                    read()
                if mask & selectors.EVENT_WRITE and write is not None and self._is_current(key):
                    write()
            now = time.monotonic()
            while self._timers and self._timers[0].deadline <= now:
                heapq.heappop(self._timers).fire()

    def _is_current(self, key: selectors.SelectorKey) -> bool:
        """False if an earlier callback of this round has forgotten or changed this descriptor."""
        current = self._selector.get_map().get(key.fd)
        return current is not None and current.data is key.data

    def _timeout(self) -> float | None:
        while self._timers and not self._timers[0].is_pending:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0].deadline - time.monotonic()) if self._timers else None

    def stop(self) -> None:
        """Leave `run` after the present round."""
        self._running = False
