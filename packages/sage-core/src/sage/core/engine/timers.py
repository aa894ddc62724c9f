"""Timers of one operator in one time domain: for each point in time, the keys that want to be told."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from typing import Any

__all__ = ["TimerQueue"]


class _Several(OrderedDict[Any, None]):
    """Keys of one point in time, in the order in which they asked; of a class that no key is of.

    The first is found at once, also after many: a plain dict looks at all that were taken out before it.
    """

    __slots__ = ()


class TimerQueue:
    """A set of (time, key), read in the order of time, and within one time in that of asking.

    A point in time that only one key waits for, as most are, costs an entry in a dict and one in a heap. What is
    removed leaves its entry in the heap until its time comes, or until most entries are such.
    """

    __slots__ = ("_at", "_heap", "count")

    def __init__(self) -> None:
        self._at: dict[int, Any] = {}
        self._heap: list[int] = []
        self.count = 0

    def __len__(self) -> int:
        return self.count

    @property
    def by_time(self) -> Mapping[int, Any]:
        """What waits at each point in time, to be looked at."""
        return self._at

    @property
    def first(self) -> int | None:
        """The earliest time; None if nobody waits."""
        heap, at = self._heap, self._at
        while heap and heap[0] not in at:
            heappop(heap)
        return heap[0] if heap else None

    def add(self, time: int, key: Any) -> bool:
        """Let ``key`` wait for ``time``. Returns whether it did not yet."""
        at = self._at
        if time not in at:
            at[time] = key
            heappush(self._heap, time)
        else:
            keys = at[time]
            if type(keys) is not _Several:
                if keys == key:
                    return False
                at[time] = keys = _Several({keys: None})
            elif key in keys:
                return False
            keys[key] = None
        self.count += 1
        return True

    def remove(self, time: int, key: Any) -> bool:
        """Let ``key`` not wait for ``time`` any more. Returns whether it did."""
        at = self._at
        if time not in at:
            return False
        keys = at[time]
        if type(keys) is _Several:
            if key not in keys:
                return False
            del keys[key]
            if not keys:
                del at[time]
        elif keys == key:
            del at[time]
        else:
            return False
        self.count -= 1
        if len(self._heap) > 64 and len(self._heap) > 2 * len(at):
            self._heap = sorted(at)
        return True

    def pop_due(self, upto: int) -> Iterator[tuple[int, Any]]:
        """Take out what waits for a time up to ``upto``, one after the other; also what is added meanwhile."""
        at = self._at
        while (time := self.first) is not None and time <= upto:
            keys = at[time]
            if type(keys) is _Several:
                key = next(iter(keys))
                del keys[key]
                if not keys:
                    del at[time]
            else:
                key = keys
                del at[time]
            self.count -= 1
            yield time, key

    def items(self) -> Iterator[tuple[int, Any]]:
        """All that waits, in the order in which it would be taken out."""
        for time in sorted(self._at):
            keys = self._at[time]
            if type(keys) is _Several:
                for key in keys:
                    yield time, key
            else:
                yield time, keys
