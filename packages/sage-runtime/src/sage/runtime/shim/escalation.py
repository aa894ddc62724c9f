"""From asking to killing: the deadlines of a job process that is to end."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sage.runtime.shim.loop import Loop, Timer

__all__ = ["Escalation"]


class Escalation:
    """Calls ``terminate`` when a grace has passed and ``kill`` when it has passed once more.

    Attributes:
        done: what had to be done: None, ``"terminated"`` or ``"killed"``.
        grace: the seconds of the deadline that counts, None before `begin`.
    """

    def __init__(self, loop: Loop, *, terminate: Callable[[], None], kill: Callable[[], None]) -> None:
        self._loop = loop
        self._terminate = terminate
        self._kill = kill
        self._term_timer: Timer | None = None
        self._kill_timer: Timer | None = None
        self.done: str | None = None
        self.grace: float | None = None

    def begin(self, grace: float) -> None:
        """Start the clock, or turn it forward: of several calls, the earliest deadline counts."""
        now = time.monotonic()
        if self.done is None and (self._term_timer is None or now + grace < self._term_timer.deadline):
            self.grace = grace
            if self._term_timer is not None:
                self._term_timer.cancel()
            self._term_timer = self._loop.after(grace, self._terminate_now)
        if self.done != "killed" and (self._kill_timer is None or now + 2 * grace < self._kill_timer.deadline):
            if self._kill_timer is not None:
                self._kill_timer.cancel()
            self._kill_timer = self._loop.after(2 * grace, self._kill_now)

    def stop(self) -> None:
        """The process has ended."""
        for timer in (self._term_timer, self._kill_timer):
            if timer is not None:
                timer.cancel()

    def _terminate_now(self) -> None:
        self.done = "terminated"
        self._terminate()

    def _kill_now(self) -> None:
        self.done = "killed"
        self._kill()
