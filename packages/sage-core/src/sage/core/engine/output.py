"""The outgoing side of a task: gathers records into batches and shares them out over the channels of an edge."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from itertools import compress
from typing import Any

from sage.core.engine.keys import KeyRouter
from sage.core.engine.links import Link
from sage.core.engine.messages import Batch, EndOfInput, Hold, Probe, Watermark
from sage.core.graph.model import MAX_PARALLELISM, Exchange

__all__ = ["BATCH_SIZE", "Output"]

BATCH_SIZE = 1024
"""Records in a full batch."""

_CHOSEN = tuple(bytes(byte == number for byte in range(256)) for number in range(MAX_PARALLELISM))
"""By subtask, a table to `bytes.translate` numbers of subtasks into whether they are that one's."""


class Output:
    """One edge of the plan as seen from one upstream subtask.

    The compiled chain appends to ``records`` (and ``keys``, and ``times``, in this order) between two calls of `flush`.
    While user code does not return, another thread may take out what has gathered meanwhile, by `rescue`.

    Args:
        exchange: how records find their channel.
        links: the channels, one per downstream subtask (exactly one for ``forward``).
        keyed: whether each record travels with its key.
        timed: whether each record travels with its event time, and watermarks with them.
        marked: whether watermarks do: not by an edge that leads back in a loop, which would wait for itself.
        batch_size: records in a full batch.

    Attributes:
        sent, sent_batches: what has been handed over so far.
    """

    __slots__ = (
        "_channels",
        "_exchange",
        "_keyed",
        "_left",
        "_lock",
        "_marked",
        "_next",
        "_router",
        "_timed",
        "keys",
        "records",
        "times",
    )

    def __init__(
        self,
        exchange: Exchange,
        links: Sequence[Link],
        *,
        keyed: bool = False,
        timed: bool = False,
        marked: bool = True,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.records: list[Any] = []
        self.keys: list[Any] = []
        self.times: list[Any] = []
        self._exchange = exchange
        self._keyed = keyed
        self._timed = timed
        self._marked = timed and marked
        self._channels = [_Channel(link, batch_size) for link in links]
        self._next = 0
        self._left = False  # something waits for a credit or for company
        self._lock = threading.Lock()
        self._router = KeyRouter(len(links)) if exchange == "hash" and len(links) > 1 else None

    @property
    def sent(self) -> int:
        return sum(channel.sent for channel in self._channels)

    @property
    def sent_batches(self) -> int:
        return sum(channel.sent_batches for channel in self._channels)

    def flush(self, *, partial: bool) -> bool:
        """Send what is full, and with ``partial`` also what is not, as far as credits allow.

        Returns:
            False if a full batch is still waiting for a credit: the task must not produce more.
        """
        # Only this thread adds anything, and `rescue` moves records to a channel before it takes them from here.
        if not self.records and not self._left:
            return True
        with self._lock:
            self._take_all()
            return self._send(partial)

    def mark(self, time: int, *, idle: bool = False) -> None:
        """Let the watermark ``time`` follow what has gathered so far, if the stream has times."""
        if self._marked:
            with self._lock:
                self._take_all()
                self._left = True
                for channel in self._channels:
                    channel.mark(time, idle=idle)

    def _take_all(self) -> None:
        if self.records:
            records, self.records = self.records, []
            keys, self.keys = self.keys, []
            times, self.times = self.times, []
            self._share_out(records, keys if self._keyed else None, times if self._timed else None)

    def tell(self, message: Probe | Hold) -> None:
        """Let what goes round in a loop follow what has gathered so far, on every channel."""
        with self._lock:
            self._take_all()
            self._left = True
            for channel in self._channels:
                channel.tell(message)

    def rescue(self) -> None:
        """Send what has gathered so far, while the chain is still at work on another thread.

        Also what found no credit when the chain set to work: since then there may be some, and nobody else looks.
        The chain goes on appending to the same lists meanwhile. Copying the head of a list and cutting it off
        are single steps to an appending thread, so nothing is lost and the order is kept; a key is appended
        after its record, and a time after that, so the shortest list says how many records are whole.
        """
        with self._lock:
            count = len(self.times if self._timed else self.keys if self._keyed else self.records)
            if count:
                self._left = True
                keys = self.keys[:count] if self._keyed else None
                self._share_out(self.records[:count], keys, self.times[:count] if self._timed else None)
                del self.records[:count]  # not before: nothing is lost if a key refuses to be compared
                del self.keys[:count]
                del self.times[:count]
            if self._left:
                self._send(True)

    def end(self) -> bool:
        """Send what is left, then the end of input. Returns whether all of it has gone out."""
        self.flush(partial=True)
        with self._lock:
            done = True
            for channel in self._channels:
                done = channel.end() and done
            return done

    def _send(self, partial: bool) -> bool:
        free, left = True, False
        for channel in self._channels:
            free = channel.send(partial) and free
            left = left or not channel.is_empty
        self._left = left
        return free

    def _share_out(self, records: list[Any], keys: list[Any] | None, times: list[Any] | None) -> None:
        channels = self._channels
        count = len(channels)
        if count == 1:
            channels[0].add(records, keys, times)
        elif self._exchange == "broadcast":
            for channel in channels:
                channel.add(list(records), _copy(keys), _copy(times))
        elif self._router is not None and keys is not None:
            targets = bytes(map(self._router.__getitem__, keys))
            for channel, chosen in zip(channels, _CHOSEN, strict=False):
                mine = targets.translate(chosen)
                its_times = None if times is None else list(compress(times, mine))
                channel.add(list(compress(records, mine)), list(compress(keys, mine)), its_times)
        else:  # in turn
            for offset in range(min(count, len(records))):
                its_keys = None if keys is None else keys[offset::count]
                its_times = None if times is None else times[offset::count]
                channels[(self._next + offset) % count].add(records[offset::count], its_keys, its_times)
            self._next = (self._next + len(records)) % count


def _copy(values: list[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)


_Waiting = Batch | Watermark | Probe | Hold


class _Channel:
    """Messages of one edge that wait for a credit. All but the last are closed; the last may still grow.

    A watermark goes with the batch that it follows. Only where there is none, or nothing is expected, is it a message
    of its own.
    """

    __slots__ = ("_ended", "_link", "_size", "_waiting", "sent", "sent_batches")

    def __init__(self, link: Link, size: int) -> None:
        self._link = link
        self._size = size
        self._waiting: deque[_Waiting] = deque()  # the task stops producing while a closed batch waits
        self._ended = False
        self.sent = 0
        self.sent_batches = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits here."""
        return not self._waiting

    def add(self, records: list[Any], keys: list[Any] | None, times: list[Any] | None) -> None:
        if not records:
            return
        size, mark = self._size, None
        last = self._waiting[-1] if self._waiting else None
        if type(last) is Watermark:  # what follows it may come before it: it only holds a little later
            self._waiting.pop()
            mark = last.time
        elif type(last) is Batch and len(last.records) + len(records) <= size:
            last.records.extend(records)
            if last.keys is not None and keys is not None:
                last.keys.extend(keys)
            if last.times is not None and times is not None:
                last.times.extend(times)
            return
        if len(records) <= size:
            self._waiting.append(Batch(records, keys, times, mark))
            return
        for start in range(0, len(records), size):
            end = start + size
            its_keys = None if keys is None else keys[start:end]
            its_times = None if times is None else times[start:end]
            self._waiting.append(Batch(records[start:end], its_keys, its_times))
        if mark is not None:
            self.mark(mark, idle=False)

    def mark(self, time: int, *, idle: bool) -> None:
        last = self._waiting[-1] if self._waiting else None
        if type(last) is Batch and not idle:
            last.mark = time
            return
        if type(last) is Watermark:
            self._waiting.pop()
        self._waiting.append(Watermark(time, idle))

    def tell(self, message: Probe | Hold) -> None:
        self._waiting.append(message)

    def send(self, partial: bool) -> bool:
        waiting = self._waiting
        while waiting:
            message = waiting[0]
            if not isinstance(message, Batch):
                if not self._link.offer(message):
                    return len(waiting) == 1
                waiting.popleft()
                continue
            count = len(message.records)
            closed = count >= self._size or len(waiting) > 1
            if not (closed or partial):
                return True
            if not self._link.offer(message):
                return not closed
            waiting.popleft()
            self.sent += count
            self.sent_batches += 1
        return True

    def end(self) -> bool:
        if not self._waiting and not self._ended:
            self._ended = self._link.offer(EndOfInput())
        return self._ended
