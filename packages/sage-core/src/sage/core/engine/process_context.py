"""What a process function may know and do besides: the time, and timers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sage.core.engine.context import RuntimeContext, TimeKind
from sage.core.engine.event_time import to_micros

if TYPE_CHECKING:
    from sage.core.engine.operators.process import ProcessOperator

__all__ = ["ProcessContext", "Timer"]


class Timer(NamedTuple):
    """A timer whose time has come.

    Attributes:
        at: that it was set for, in seconds since 1970.
        time: ``"event"`` or ``"processing"``.
    """

    at: float
    time: TimeKind


class ProcessContext(RuntimeContext):
    """What a process function may know, and do, besides."""

    __slots__ = ("_process",)

    _process: ProcessOperator

    @property
    def now(self) -> float:
        """Processing time, in seconds since 1970: the clock of the host, which never goes back."""
        return self._process.clock.time()

    def set_timer(self, at: Any, time: TimeKind = "event") -> None:
        """Let ``on_timer`` be called for this key when it is time. Setting one twice is setting it once.

        At the end of input all that are set fire. What ``on_timer`` sets then fires if it is for an event time not
        later than the latest that was known before, of a record or a timer, so that the end comes.

        Args:
            at: seconds since 1970, or an aware datetime. If it is past, the call comes next.
            time: ``"event"``, by the watermark, or ``"processing"``, by the clock.

        Raises:
            TimerError: there is no key, or the stream has no event time.
            TimestampError: ``at`` is no time.
        """
        self._process.set_timer(to_micros(at, "a timer"), time)

    def delete_timer(self, at: Any, time: TimeKind = "event") -> None:
        """Take back what `set_timer` has set for this key; nothing happens if it has not.

        Args:
            at: what it was set for.
            time: by which time.

        Raises:
            TimerError: there is no key, or the stream has no event time.
            TimestampError: ``at`` is no time.
        """
        self._process.delete_timer(to_micros(at, "a timer"), time)
