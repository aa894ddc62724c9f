"""Ending, without ever blocking the loop, all processes that are left of a job."""

from __future__ import annotations

import os
import signal

from sage.runtime.shim.processes import ProcessIdentity, send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sage.runtime.shim.loop import Loop, Timer

__all__ = ["Sweeper"]

_PATIENCE = 5.0
_AGAIN = 0.05


class Sweeper:
    """Terminates, then kills, whatever ``find`` finds, again and again until it finds nothing.

    Args:
        find: lists the processes that are left.
        done: called once, with how many were ended and with those that even SIGKILL did not end within 5 s.
    """

    def __init__(
        self,
        loop: Loop,
        find: Callable[[], list[ProcessIdentity]],
        done: Callable[[int, list[ProcessIdentity]], None],
    ) -> None:
        self._loop = loop
        self._find = find
        self._done = done
        self._told: set[tuple[ProcessIdentity, int]] = set()
        self._seen: set[ProcessIdentity] = set()
        self._watched: set[int] = set()
        self._signal = signal.SIGTERM
        self._timer: Timer | None = None
        self._finished = False

    def begin(self, grace: float) -> None:
        """Terminate what is left, and kill after ``grace`` seconds what still lives (with 0: kill at once)."""
        if grace > 0:
            self._timer = self._loop.after(grace, self._kill)
            self._round()
        else:
            self._kill()

    def hurry(self) -> None:
        """Do not wait for the grace to pass."""
        if not self._finished and self._signal == signal.SIGTERM:
            self._kill()

    def _kill(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._signal = signal.SIGKILL
        self._timer = self._loop.after(_PATIENCE, self._give_up)
        self._round()

    def _round(self) -> None:
        if self._finished:
            return
        self._unwatch()
        left = self._find()
        for identity in left:
            self._seen.add(identity)
            if (identity, self._signal) not in self._told:
                self._told.add((identity, self._signal))
                try:
                    send_signal(identity, self._signal)
                except PermissionError:
                    # It has become another user's meanwhile; it counts as left over in the end.
                    continue
            self._watch(identity)
        if not left:
            self._finish([])
        elif not self._watched:
            # All ended between being found and being watched, or none could be watched.
            self._loop.after(_AGAIN, self._round)

    def _watch(self, identity: ProcessIdentity) -> None:
        try:
            descriptor = os.pidfd_open(identity.pid)
        except OSError:
            # Ended already, or no descriptor is free: the next round, by the timer at the latest, looks again.
            return
        self._watched.add(descriptor)

        def ended() -> None:
            self._loop.unwatch(descriptor)
            os.close(descriptor)
            self._watched.discard(descriptor)
            if not self._watched:
                self._round()

        self._loop.watch(descriptor, read=ended)

    def _unwatch(self) -> None:
        for descriptor in self._watched:
            self._loop.unwatch(descriptor)
            os.close(descriptor)
        self._watched.clear()

    def _give_up(self) -> None:
        self._unwatch()
        self._finish(self._find())

    def _finish(self, left: list[ProcessIdentity]) -> None:
        self._finished = True
        if self._timer is not None:
            self._timer.cancel()
        self._done(len(self._seen) - len(left), left)
