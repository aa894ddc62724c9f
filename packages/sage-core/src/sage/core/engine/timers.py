"""Timers of one operator that go by one kind of time: for each point in time, the keys that want to be told."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from typing import Any, Final

__all__ = ["TimerQueue"]


class _Several(OrderedDict[Any, None]):
    """Keys of one point in time, in the order in which they asked; of a class that no key is of.

    The first is found at once, also after many: a plain dict looks at all that were taken out before it.
    """

    __slots__ = ()


_NOBODY: Final = object()


class TimerQueue:
    """A set of (time, key), read in the order of time, and within one time in that of asking.

    A point in time that only one key waits for, as most are, costs an entry in a dict and one in a queue: a plain one
    for times that are asked for in their order, as they are where records come in order, and a heap for the others.
    What is removed leaves its entry there until its time comes, or until most entries are such.
    """

    __slots__ = ("_at", "_heap", "_more", "_run")

    def __init__(self) -> None:
        self._at: dict[int, Any] = {}
        self._run: deque[int] = deque()  # no more than are in the dict, but for what was removed
        self._heap: list[int] = []
        self._more = 0  # keys besides the first of each time

    def __len__(self) -> int:
        return len(self._at) + self._more

    @property
    def by_time(self) -> Mapping[int, Any]:
        """What waits at each point in time, to be looked at."""
        return self._at

    @property
    def first(self) -> int | None:
        """The earliest time; None if nobody waits."""
        at, run, heap = self._at, self._run, self._heap
        while run and run[0] not in at:
            run.popleft()
        while heap and heap[0] not in at:
            heappop(heap)
        if run and heap:
            return min(run[0], heap[0])
        return run[0] if run else heap[0] if heap else None

    def add(self, time: int, key: Any) -> bool:
        """Let ``key`` wait for ``time``. Returns whether it did not yet."""
        at = self._at
        if time not in at:
            at[time] = key
            run = self._run
            if not run or time >= run[-1]:
                run.append(time)
            else:
                heappush(self._heap, time)
            return True
        keys = at[time]
        if type(keys) is not _Several:
            if keys == key:
                return False
            at[time] = keys = _Several({keys: None})
        elif key in keys:
            return False
        keys[key] = None
        self._more += 1
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
            self._take(time, keys, key)
        elif keys == key:
            del at[time]
        else:
            return False
        if len(self._heap) + len(self._run) > 64 + 2 * len(at):
            self._run, self._heap = deque(sorted(at)), []
        return True

    def pop_due(self, upto: int) -> Iterator[tuple[int, Any]]:
        """Take out what waits for a time up to ``upto``, one after the other; also what is added meanwhile."""
        at = self._at
        while True:
            run, heap = self._run, self._heap
            is_next = run and (not heap or run[0] <= heap[0])
            if not (is_next or heap):
                return
            time = run[0] if is_next else heap[0]
            if time > upto:
                return
            key = at.get(time, _NOBODY)
            if type(key) is _Several:
                keys, key = key, next(iter(key))
                self._take(time, keys, key)
            else:
                if is_next:
                    run.popleft()
                else:
                    heappop(heap)
                if key is _NOBODY:
                    continue
                del at[time]
            yield time, key

    def _take(self, time: int, keys: _Several, key: Any) -> None:
        """Take one of several out."""
        del keys[key]
        if keys:
            self._more -= 1
        else:
            del self._at[time]

    def items(self) -> Iterator[tuple[int, Any]]:
        """All that waits, in the order in which it would be taken out."""
        for time in sorted(self._at):
            keys = self._at[time]
            if type(keys) is _Several:
                for key in keys:
                    yield time, key
            else:
                yield time, keys
