"""How a task that waits for something is told to end."""

from __future__ import annotations

import time

from sage.core.engine.links import Signal

__all__ = ["Interrupt"]


class Interrupt:
    """Whether a task is to end, and a way to wait that notices.

    Args:
        signal: the task's.

    Attributes:
        cancelled: whether the task is to end at its next step.
    """

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.cancelled = False

    def cancel(self) -> None:
        """End the task; any thread may ask."""
        self.cancelled = True
        self.signal.set()

    def pause(self, seconds: float) -> bool:
        """Wait on the task's own thread. Returns False, at once, if the task is to end."""
        until = time.monotonic() + seconds
        while not self.cancelled:
            left = until - time.monotonic()
            if left <= 0:
                return True
            self.signal.wait(left)  # what else it may announce is looked for at the next step anyway
        return False
