"""``join`` within a distance in event time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from sage.core.engine.context import RuntimeContext
from sage.core.engine.event_time import MAX_TIME, MICROS, MIN_TIME
from sage.core.engine.operators.join import Pair, PairingOperator
from sage.core.engine.operators.timed import Firing
from sage.core.engine.timers import TimerQueue
from sage.core.graph.model import Operator

__all__ = ["IntervalJoinOperator"]

_Side = tuple[list[int], list[Any], list[bool]]
"""Of one key and one side, in the order of their times: the times, the records, and whether each is still alone.

What is over may lie before the rest for a while: nothing that comes in time can be a partner of it.
"""


class IntervalJoinOperator(PairingOperator):
    """Pairs in which the right record's time is ``lower`` to ``upper`` after the left one's, both included.

    A record is over when the watermark has reached the latest time that a partner may have: then it is put out, if it
    is alone and that is asked for, and forgotten. What is put out then is older than the watermark, which is therefore
    let pass only as far as no record behind it is waited for.
    """

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        lower, upper = (round(end * MICROS) for end in spec.options["within"])
        self._first = (lower, -upper)  # by side, how much later than it its first partner may be
        self._last = (upper, -lower)  # and its last one
        self._delay = max(0, *(last for last, alone in zip(self._last, self.alone, strict=True) if alone), 0)
        self.holds = self._delay > 0
        self._kept: dict[Any, tuple[_Side, _Side]] = self.states.table("", "interval join")
        self._timers = TimerQueue()  # for each side of a key, when its first record that is not over will be
        self._passed = MIN_TIME

    def pairs(self, side: int, key: Any, record: Any, time: int | None) -> Iterable[tuple[Pair, int | None]]:
        time = self.need_time(time)
        watermark = self.watermark
        if time <= watermark:
            self.drop_late(record)
            return ()
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = (([], [], []), ([], [], []))
        times, records, alone = kept[1 - side]
        start = bisect_left(times, time + self._first[side])
        end = bisect_right(times, time + self._last[side], start)
        found = end > start
        if found and self.alone[1 - side]:
            alone[start:end] = [False] * (end - start)
        if time + self._last[side] > watermark:
            self._keep(side, key, kept[side], record, time, alone=not found)
        elif not found and self.alone[side]:  # what could have been its partner would be late
            return (((record, None) if side == 0 else (None, record), time),)
        found_records = zip(records[start:end], times[start:end], strict=True)
        if side == 0:
            return [((record, other), max(time, its)) for other, its in found_records]
        return [((other, record), max(time, its)) for other, its in found_records]

    def _keep(self, side: int, key: Any, kept: _Side, record: Any, time: int, *, alone: bool) -> None:
        times, records, alones = kept
        last = self._last[side]
        place = len(times) if not times or time >= times[-1] else bisect_right(times, time)
        times.insert(place, time)
        records.insert(place, record)
        alones.insert(place, alone)
        if place == 0 or times[place - 1] + last <= self.watermark:  # what is before it is over
            self._timers.add(time + last, key)

    @property
    def is_due(self) -> bool:
        first = self._timers.first
        return first is not None and first <= self.watermark < MAX_TIME

    def firing(self) -> Firing:
        for now, key in self._timers.pop_due(self.watermark):
            kept = self._kept.get(key)
            if kept is None:
                continue
            for side, (times, records, alones) in enumerate(kept):
                last = self._last[side]
                if self.alone[side]:
                    start = bisect_left(times, now - last)
                    end = bisect_right(times, now - last, start)
                    for place in range(start, end):
                        if alones[place]:
                            alones[place] = False
                            record = records[place]
                            pair = (record, None) if side == 0 else (None, record)
                            yield self.put_out_alone(key, pair, times[place])
                else:
                    end = bisect_right(times, self.watermark - last)
                if end < len(times):
                    self._timers.add(times[end] + last, key)
                if 2 * end >= len(times):
                    for values in (times, records, alones):
                        del values[:end]
            if not kept[0][0] and not kept[1][0]:
                del self._kept[key]

    def pass_time(self, watermark: int) -> None:
        super().pass_time(watermark)
        if MIN_TIME < self.watermark < MAX_TIME:
            self._passed = self.watermark - self._delay

    def lets_pass(self, watermark: int) -> int:
        return self._passed  # not the end of time, as long as something is put out: the end of input tells of it

    @property
    def rests(self) -> bool:
        return not self._kept

    def restore_timers(self, saved: Mapping[Any, Any]) -> None:
        for key, kept in self._kept.items():
            for side, (times, _, _) in enumerate(kept):
                if times:
                    self._timers.add(times[0] + self._last[side], key)
