"""Events on their way to the events file: written at once, or again and again while the disk will not have them."""

from __future__ import annotations

from sage.runtime.shim.events import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sage.runtime.shim.events import EventsFile
    from sage.runtime.shim.loop import Loop

__all__ = ["Outbox"]

_FIRST_RETRY = 0.5
_LONGEST_RETRY = 10.0


class Outbox:
    """Writes events in order; keeps those that cannot be written now, and tries again.

    Args:
        wrote: called after events became durable.
        note: told what could not be written and why.
    """

    def __init__(
        self, loop: Loop, events: EventsFile, *, wrote: Callable[[], None], note: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._events = events
        self._wrote = wrote
        self._note = note
        # Bounded by the life of a job: each state is entered once per epoch.
        self._pending: list[dict[str, Any]] = []
        self._retry = 0.0

    @property
    def pending(self) -> int:
        """How many events wait for the disk."""
        return len(self._pending)

    def put(self, event: dict[str, Any]) -> None:
        """Write ``event`` (stamped with the present time) now, or as soon as the disk takes it."""
        self._pending.append({"time": now(), **event})
        if not self._retry:
            self._flush()

    def _flush(self) -> None:
        wrote = False
        try:
            while self._pending:
                self._events.append_event(self._pending[0])
                del self._pending[0]
                wrote = True
            self._retry = 0.0
        except OSError as error:
            self._retry = min(self._retry * 2, _LONGEST_RETRY) or _FIRST_RETRY
            self._note(f"{len(self._pending)} events wait for the disk: {error}")
            self._loop.after(self._retry, self._flush)
        if wrote:
            self._wrote()
