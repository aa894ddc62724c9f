"""What comes into a task: messages of its channels in turn, and of a batch no more than is asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sage.core.engine.links import Inbox
from sage.core.engine.messages import Batch, Message
from sage.core.engine.ways import Way

__all__ = ["Intake", "Part"]


class Part(NamedTuple):
    """Some records of a batch, in order, with their keys and event times where they have any.

    Attributes:
        mark: the watermark that holds once they are processed, if it changes: the batch's, with its last part.
    """

    records: list[Any]
    keys: list[Any] | None
    times: list[Any] | None
    mark: int | None


class Intake:
    """The receiving ends of the channels that lead into a task.

    Args:
        inputs: per channel, the way by which its records reach the chain, and the inbox.

    Attributes:
        ways, inboxes: those, by number of the channel.
        open: how many of the channels have not ended.
        channel: the one whose message was taken last.
        arrived: when the batch that was taken last had been put into its inbox.
    """

    def __init__(self, inputs: Sequence[tuple[Way, Inbox]]) -> None:
        self.ways = tuple(way for way, _ in inputs)
        self.inboxes = tuple(inbox for _, inbox in inputs)
        self.open = len(inputs)
        self.channel = 0
        self.arrived = 0.0
        self._next = 0
        self._held: Collection[int] = ()
        self._batch: Batch | None = None
        self._position = 0

    @property
    def has_more(self) -> bool:
        """Whether there is anything at hand."""
        return self._batch is not None or any(map(len, self.inboxes))

    @property
    def has_part(self) -> bool:
        """Whether there is a part of a batch to be had."""
        return self._batch is not None

    def hold(self, channels: Collection[int]) -> None:
        """From now on, take nothing from these channels: what they bring waits, and soon its senders do."""
        self._held = channels

    def take(self) -> Message | None:
        """The oldest message of the next channel that has one, for they take turns.

        A batch is to be had in parts, all of them before the next message.
        """
        count, index, held = len(self.inboxes), self._next, self._held
        for _ in range(count):
            channel = index
            index = index + 1 if index + 1 < count else 0
            if channel in held:
                continue
            inbox = self.inboxes[channel]
            message = inbox.take()
            if message is not None:
                self.channel, self._next, self.arrived = channel, index, inbox.arrived
                if type(message) is Batch:
                    self._batch, self._position = message, 0
                return message
        return None

    def part(self, limit: int) -> Part:
        """Of the batch in hand, what is next: at most ``limit`` records, in lists that are nobody else's."""
        batch = self._batch
        assert batch is not None
        records, keys, times = batch.records, batch.keys, batch.times
        start, end, count = self._position, self._position + limit, len(records)
        self._position = end
        if start or end < count:
            records = records[start:end]
            keys = None if keys is None else keys[start:end]
            times = None if times is None else times[start:end]
        if end < count:
            return Part(records, keys, times, None)
        self._batch = None
        return Part(records, keys, times, batch.mark)
