"""Tumbling, sliding and global windows with a trigger of their own: for each key it is known when it last fired.

Sliding windows whose accumulators cannot be put together are kept here, too: each window by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

from sage.core.engine.context import RuntimeContext
from sage.core.engine.event_time import MAX_TIME
from sage.core.engine.keyed_state import MISSING
from sage.core.engine.operators.timed import Firing
from sage.core.engine.operators.windows.base import Due, WindowedOperator
from sage.core.engine.operators.windows.folding import owned
from sage.core.engine.operators.windows.spans import Spans, as_window
from sage.core.engine.operators.windows.trigger import Rule
from sage.core.engine.timers import TimerQueue
from sage.core.graph.model import Operator

__all__ = ["Slot", "SlotOperator"]


class Slot:
    """What is kept for one key and window, unless that was emptied.

    Attributes:
        value: what its records come to.
        count: records that have come since it fired.
        time: event time of the newest of them.
        fire_at: the processing time at which it is to fire; None for none.
        passed: whether it has fired at its end.
    """

    __slots__ = ("count", "fire_at", "passed", "time", "value")

    def __init__(self) -> None:
        self.value: Any = MISSING
        self.count = 0
        self.time: int | None = None
        self.fire_at: int | None = None
        self.passed = False


class SlotOperator(WindowedOperator):
    """Windows that begin and end for all keys alike."""

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self._spans = Spans.of(self.window)
        self._is_global = self.window["kind"] == "global"
        self._slots: dict[int, dict[Any, Slot]] = {}  # by start, by key
        self._ends: list[int] = []  # of windows that are to fire at their end, a heap
        self._scheduled: set[int] = set()
        self._gone: list[int] = []  # starts of all windows, a heap
        self._timers = TimerQueue()  # of keys and starts, in processing time

    def _end(self, start: int) -> int:
        return MAX_TIME if self._is_global else start + self._spans.size

    def add(self, record: Any, key: Any, time: int | None) -> Due:
        if self._is_global:
            starts, progress = [0], self.progress()
        else:
            (its, progress), size = self.arriving(time), self._spans.size
            starts = [start for start in self._spans.starts(its) if start + size - 1 + self.lateness > progress]
        if not starts:
            self.drop_late(record)
            return ()
        nothing: dict[Any, Slot] = {}
        found = [self._slots.get(start, nothing).get(key) for start in starts]
        values = self._added(record, [MISSING if slot is None else slot.value for slot in found])
        due = []
        for start, slot, value in zip(starts, found, values, strict=True):
            if slot is None:
                slot = self._window(start)[key] = Slot()
            slot.value, slot.time = value, time
            slot.count += 1
            last = self._end(start) - 1
            slot.passed = last <= progress
            if self.trigger.at_end and not slot.passed:
                self._schedule(last + 1)
            if self.asks_to_fire(slot, (key, start), self.trigger.late if slot.passed else self.trigger.early):
                due.append((key, start))
        return due

    def _added(self, record: Any, values: Sequence[Any]) -> list[Any]:
        """The values of some windows with a record more."""
        add, kind = self.fold.add, self.spec.kind
        several = len(values) > 1 and kind != "window_process"
        if several and self.recovery is not None:
            # Where the call for one window fails, that is called again, or given up, for all of them.
            values = [value if value is MISSING else owned(value) for value in values]
        if several and kind == "window_reduce":  # what it begins with is the record: each window needs its own
            return [add(value, owned(record) if value is MISSING else record) for value in values]
        return [add(value, record) for value in values]

    def asks_to_fire(self, slot: Slot, name: Any, rule: Rule | None) -> bool:
        """Whether a slot that a record was added to fires for it; if its rule is of time, it is noted for when."""
        if rule is None:
            return False
        if rule.count:
            return slot.count >= rule.count
        if slot.fire_at is None:
            slot.fire_at = self.now() + rule.after
            self._timers.add(slot.fire_at, name)
            self._set_deadline()
        return False

    def _window(self, start: int) -> dict[Any, Slot]:
        window = self._slots.get(start)
        if window is None:
            window = self._slots[start] = {}
            heappush(self._gone, start)
        return window

    def _schedule(self, end: int) -> None:
        if end not in self._scheduled:
            self._scheduled.add(end)
            heappush(self._ends, end)
            self._set_deadline()

    # ---- saving ----

    def held(self) -> tuple[Mapping[Any, Any], int]:
        return self._slots, max(map(len, self._slots.values()), default=0)

    def saved_by_key(self) -> dict[Any, Any]:
        found: dict[Any, list[Any]] = {}
        for start in sorted(self._slots):
            for key, slot in self._slots[start].items():
                state = start, slot.value, slot.count, slot.time, slot.fire_at, slot.passed
                found.setdefault(key, []).append(state)
        return found

    def restore_by_key(self, items: Sequence[tuple[Any, Any]]) -> None:
        for key, states in items:
            for start, value, count, time, fire_at, passed in states:
                slot = self._window(start)[key] = Slot()
                slot.value, slot.count, slot.time, slot.fire_at, slot.passed = value, count, time, fire_at, passed
                if fire_at is not None:
                    self._timers.add(fire_at, (key, start))
                if self.trigger.at_end and not passed:
                    self._schedule(self._end(start))
        self._set_deadline()

    # ---- firing ----

    @property
    def is_due(self) -> bool:
        progress = self.progress()
        return not self.is_ending and (
            bool(self._ends and self._ends[0] - 1 <= progress)
            or bool(self._gone and self._gone_at(self._gone[0]) <= progress)
            or self._timer_is_due()
        )

    def _timer_is_due(self) -> bool:
        first = self._timers.first
        return first is not None and (self.is_ending or first <= self.now())

    def _gone_at(self, start: int) -> int:
        """The last instant at which a window takes records; the global one always does."""
        return MAX_TIME if self._is_global else self._end(start) - 1 + self.lateness

    def fire(self, due: Due) -> Firing:
        for key, start in due:
            yield from self._fire_slot(key, start, self._slots[start][key], for_record=True)

    def _time_of(self, slot: Slot) -> int | None:
        """The event time of what the global window puts out by the clock or at the end: none that is over by then."""
        return None if slot.time is None else max(slot.time, self._reached + 1)

    def _fire_slot(self, key: Any, start: int, slot: Slot, *, for_record: bool = False) -> Firing:
        self.settle(slot, (key, start))
        if not self.trigger.accumulate:  # none is kept empty: the global window would have one for every key
            self._slots[start].pop(key, None)
        end = self._end(start)
        window = as_window(self._spans.offset if self._is_global else start, end)
        time = end - 1 if not self._is_global else slot.time if for_record else self._time_of(slot)
        yield self.put_out(key, window, slot.value, time)

    def settle(self, slot: Slot, name: Any) -> None:
        """Nothing has come since a slot fired, nor is anything to fire."""
        slot.count = 0
        if slot.fire_at is not None:
            self._timers.remove(slot.fire_at, name)
            slot.fire_at = None

    def firing(self) -> Firing:
        while True:
            progress = self.progress()
            gone = self._gone_at(self._gone[0]) if self._gone else MAX_TIME
            if self._ends and self._ends[0] - 1 <= min(progress, gone):
                end = self._ends[0]
                start = 0 if self._is_global else end - self._spans.size
                for key, slot in list(self._slots.get(start, {}).items()):
                    if not slot.passed:
                        slot.passed = True
                        yield from self._fire_slot(key, start, slot)
                heappop(self._ends)
                self._scheduled.discard(end)
            elif self._gone and gone <= progress and not self._is_global:
                start = self._gone[0]
                window = self._slots[start]
                for key in list(window):
                    slot = window.pop(key)
                    if slot.count and (self.trigger.at_end or slot.fire_at is not None):
                        yield from self._fire_slot(key, start, slot)
                    else:
                        self.settle(slot, (key, start))
                heappop(self._gone)
                del self._slots[start]
            elif self._timer_is_due():
                for _, (key, start) in self._timers.pop_due(MAX_TIME if self.is_ending else self.now()):
                    slot = self._slots[start][key]
                    slot.fire_at = None
                    yield from self._fire_slot(key, start, slot)
            else:
                break
        self._set_deadline()

    def _set_deadline(self) -> None:
        first = self._timers.first
        if self.by_clock and self._gone:
            end = self._ends[0] if self._ends else self._end(self._gone[0])
            first = end if first is None else min(first, end)
        self.wake_at(first)
