"""A channel whose messages and credits are on their way for as long as the schedule wants."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sage.core.engine.links import Inbox
from sage.core.engine.messages import Batch, Hold, Message, Probe
from sage.core.testing._choices import Choices

__all__ = ["Channel"]


class Channel:
    """A link to ``inbox``. What is offered arrives at `arrive`, in order; what was taken is granted back at `grant`.

    Args:
        name: for the trace.
        inbox: where messages arrive.
        credits: messages that may be anywhere between an offer and a grant; None for no limit.
        full: records in a full batch.
        choices: decide whether a credit comes back just after an offer was refused.

    Attributes:
        in_flight: messages that have not arrived yet.
        returning: credits on their way back.
        is_stuck: whether a full batch was refused, and no credit has come back since.
    """

    def __init__(self, name: str, inbox: Inbox, credits: int | None, full: int, choices: Choices) -> None:
        self.name = name
        self.credits = credits
        self.inbox = inbox
        self.in_flight: deque[Message] = deque()  # bounded by the credits
        self.returning = 0
        self.is_stuck = False
        self._full = full
        self._choices = choices
        self._sizes: deque[int] = deque()  # of what is in flight, as it was offered
        self._used = 0
        self._refused = False
        self._callback: Callable[[], None] | None = None
        inbox.credits = credits
        inbox.on_take(self._taken)

    def on_credit(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def offer(self, message: Message) -> bool:
        if self.credits is not None and self._used >= self.credits:
            self._refused = True
            self.is_stuck = _size(message) >= self._full
            if self.returning and self._choices.chance(0.1):
                self.grant()
            return False
        self._used += 1
        self.in_flight.append(message)
        self._sizes.append(_size(message))
        return True

    def arrive(self) -> str:
        """Let the oldest message that is on its way arrive. Returns what it is, for the trace."""
        message, size = self.in_flight.popleft(), self._sizes.popleft()
        if _size(message) != size:
            raise RuntimeError(f"a batch of {size} records was changed to {_size(message)} after it was handed over")
        self.inbox.put(message)
        if isinstance(message, Probe):
            return f"probe {message.round}, {message.quiet} quiet"
        if isinstance(message, Hold):
            return f"hold {message.number}, {'on' if message.on else 'off'}"
        return f"batch of {size}" if isinstance(message, Batch) else "end of input"

    def grant(self) -> None:
        """Let a credit come back."""
        self.returning -= 1
        self._used -= 1
        self.is_stuck = False
        if self._refused:
            self._refused = False
            if self._callback is not None:
                self._callback()

    @property
    def is_in_use(self) -> bool:
        """Whether messages or credits are anywhere in it."""
        return self._used > 0

    def _taken(self, count: int) -> None:
        self.returning += count

    def __str__(self) -> str:
        parts = (
            f"{len(self.in_flight)} in flight, {len(self.inbox)} arrived, {self.returning} credits on their way back"
        )
        return f"channel {self.name}: {parts}, {self._used} of {self.credits} in use"


def _size(message: Message) -> int:
    return len(message.records) if isinstance(message, Batch) else 0
