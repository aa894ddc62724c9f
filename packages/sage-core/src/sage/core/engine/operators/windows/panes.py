"""Tumbling and sliding windows that fire at their end: the common case, and the quick one.

What is kept is cut into pieces of time, *panes*, of which every window is made: ``panes[start][key]``. So a record
costs what it costs in a plain loop over a dict, there is one thing to be done for a pane and not for each of its keys,
and sliding windows share what they have in common. A window that fires puts its panes together.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import islice
from operator import length_hint
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.event_time import MIN_TIME
from sage.core.engine.keyed_state import MISSING
from sage.core.engine.operators.base import Emit, Flow
from sage.core.engine.operators.timed import Firing
from sage.core.engine.operators.windows.base import Due, WindowedOperator
from sage.core.engine.operators.windows.folding import Aggregating, Collecting
from sage.core.engine.operators.windows.sharing import Shared
from sage.core.engine.operators.windows.spans import Spans, as_window
from sage.core.engine.recovery import GIVEN_UP
from sage.core.engine.window import WindowResult
from sage.core.graph.model import Operator

__all__ = ["PaneOperator"]

_AT_ONCE = 64
"""Results that firing hands on together."""

_Pane = dict[Any, Any]


class PaneOperator(WindowedOperator):
    """Tumbling and sliding windows, by event or processing time, with nothing but the trigger at their end."""

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self._spans = Spans.of(self.window)
        self._panes: dict[int, _Pane] = {}
        self._order: list[int] = []  # their starts
        self._ends: list[int] = []  # of windows that are to fire, a heap
        self._scheduled: set[int] = set()
        self._gone: list[tuple[int, int]] = []  # when a pane is in no window any more, and its start; a heap
        self._quick: dict[int, tuple[_Pane, Any, int, int]] = {}
        self._fired: dict[int, set[Any]] = {}  # by end, keys that a window has fired for, where not all are alike
        self._done = MIN_TIME  # windows up to this last instant have fired
        self._restored_at = MIN_TIME  # by the clock: up to when windows had passed where this goes on from
        self._firing: tuple[int, list[Any], Iterator[Any]] | None = (
            None  # the window that fires, its keys, those to come
        )
        self._shared = Shared(self._panes, self._order)

    @property
    def _is_sliding(self) -> bool:
        return self._spans.slide != self._spans.size

    def open(self) -> None:
        super().open()
        self._shared.use(self.fold)

    def progress(self) -> int:
        # Another machine's clock may be behind: what comes belongs to no window that has fired on the one before.
        return max(super().progress(), self._restored_at) if self.by_clock else super().progress()

    # ---- records ----

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        key, time = flow.key or "None", self.time_of(code, flow)
        low, high, pane = code.local("low", "0"), code.local("high", "0"), code.local("pane", "None")
        get = code.local("get", "None")
        with code.block(f"if {time} is None or not {low} <= {time} < {high}:"):
            code.call(f"{pane}, {get}, {low}, {high} = {code.fast('find', self._find)}({time})", self, flow.value)
        with code.block(f"if {pane} is None:"):
            self.generate_slow(code, flow, key, time, emit)
        with code.block("else:"):
            self._generate_quick(code, flow, key, pane, get)

    def _generate_quick(self, code: Code, flow: Flow, key: str, pane: str, get: str) -> None:
        """Write the folding into a pane whose windows are all still to fire."""
        fold, missing, before = self.fold, code.fast("MISSING", MISSING), code.name("before")
        code.line(f"{before} = {get}({key}, {missing})")
        if isinstance(fold, Collecting):
            with code.block(f"if {before} is {missing}:"):
                code.line(f"{pane}[{key}] = [{flow.value}]")
            with code.block("else:"):
                code.line(f"{before}.append({flow.value})")
            return
        function, otherwise = fold.add, ""
        if isinstance(fold, Aggregating):
            if self.recovery is None:
                with code.block(f"if {before} is {missing}:"):
                    code.call(f"{before} = {code.fast('create', fold.create)}()", self, flow.value)
                function = fold.add_to
        else:
            function, otherwise = self.execute, f"{flow.value} if {before} is {missing}"
        with self.calling(
            code, "window", flow.value, before, flow.value, function=function, otherwise=otherwise
        ) as after:
            code.line(f"{pane}[{key}] = {after}")

    def _find(self, time: int | None) -> tuple[_Pane | None, Any, int, int]:
        """The pane of a time, its ``get``, and from when to when it is; no pane if a record there is not just added."""
        time, progress = self.arriving(time)
        start, end = self._spans.piece(time)
        found = self._quick.get(start)
        if found is None:
            first = self._spans.starts(start)[0] + self._spans.size
            if self._fired or first - 1 <= progress:
                return None, None, 0, 0
            pane = self._pane(start, progress)
            found = self._quick[start] = pane, pane.get, start, end
        return found

    def _pane(self, start: int, progress: int) -> _Pane:
        """The pane that begins at ``start``; where it is new, its windows are to fire that have not passed."""
        pane = self._panes.get(start)
        if pane is None:
            pane, size, slide = self._new_pane(start), self._spans.size, self._spans.slide
            starts = self._spans.starts(start)
            end = starts[0] + size
            if end - 1 <= progress:
                end += ((progress + 1 - end) // slide + 1) * slide
            if end <= starts[-1] + size:  # once it has fired, the next one is to
                self._schedule(end)
            self._set_deadline()
        return pane

    def _new_pane(self, start: int) -> _Pane:
        pane = self._panes[start] = {}
        insort(self._order, start)
        heappush(self._gone, (self._spans.last_start(start) + self._spans.size - 1 + self.lateness, start))
        return pane

    def _schedule(self, end: int) -> None:
        if end not in self._scheduled:
            self._scheduled.add(end)
            heappush(self._ends, end)

    def add(self, record: Any, key: Any, time: int | None) -> Due:
        # Here come records for windows that have passed, or that have fired for some keys alone.
        (time, progress), size = self.arriving(time), self._spans.size
        alive = [begin for begin in self._spans.starts(time) if begin + size - 1 + self.lateness > progress]
        if not alive:
            self.drop_late(record)
            return ()
        start, _ = self._spans.piece(time)
        before = self._panes[start].get(key, MISSING) if start in self._panes else MISSING
        after = self.fold.add(before, record)
        self._pane(start, progress)[key] = after
        self._shared.changed(key)
        due = []
        for begin in alive:
            end = begin + size
            if end - 1 <= progress:
                due.append((key, end))
            else:
                self._schedule(end)
                if end in self._fired:
                    self._fired[end].discard(key)
        return due

    # ---- saving ----

    def held(self) -> tuple[Mapping[Any, Any], int]:
        return self._panes, max(map(len, self._panes.values()), default=0)

    def saved_by_key(self) -> dict[Any, Any]:
        fired = {end: set(keys) for end, keys in self._fired.items()}
        if self._firing is not None:
            end, keys, ahead = self._firing
            fired.setdefault(end, set()).update(keys[: len(keys) - length_hint(ahead)])
        # Windows before the first that is to fire have fired, or were empty when they passed: more for them is late.
        progress = self.progress()
        done = max(self._done, min(progress, self._ends[0] - 2) if self._ends else progress)
        found: dict[Any, tuple[int, list[int], list[tuple[int, Any]]]] = {}
        for start in sorted(self._panes):
            for key, value in self._panes[start].items():
                if key not in found:
                    found[key] = done, [end for end, keys in fired.items() if key in keys], []
                found[key][2].append((start, value))
        return found

    def restore_by_key(self, items: Sequence[tuple[Any, Any]]) -> None:
        # Subtasks may have come to different times: a window that has fired for some keys fires for the others.
        self._done = min((done for _, (done, _, _) in items), default=MIN_TIME)
        self._restored_at = max((done for _, (done, _, _) in items), default=MIN_TIME)
        for key, (done, fired, panes) in items:
            for end in fired:
                self._fired.setdefault(end, set()).add(key)
            for start, value in panes:
                if start not in self._panes:
                    self._new_pane(start)
                self._panes[start][key] = value
                for end in (begin + self._spans.size for begin in self._spans.starts(start)):
                    if end - 1 > self._done:
                        self._schedule(end)
                        if end - 1 <= done:
                            self._fired.setdefault(end, set()).add(key)
        self._set_deadline()

    # ---- firing ----

    @property
    def is_due(self) -> bool:
        if not self._gone or self.is_ending:
            return False
        progress = self.progress()
        return self._gone[0][0] <= progress or (bool(self._ends) and self._ends[0] - 1 <= progress)

    def fire(self, due: Due) -> Firing:
        for key, end in due:
            start = end - self._spans.size
            window = as_window(start, end)
            value: Any
            if self._is_sliding:
                value = self.call_firing(key, end - 1, self._shared.together, (key, start, end))
            else:
                value = self._panes[start][key]
            if value is not GIVEN_UP:
                yield self.put_out(key, window, value, end - 1)

    def firing(self) -> Firing:
        self._quick.clear()
        if self._firing is not None:  # the task was to go on elsewhere meanwhile
            yield from self._rest()
        progress = self.progress()  # once, or by the clock a pane could be let go of before its window fires
        while self._ends and self._ends[0] - 1 <= progress:
            end = self._ends[0]
            keys = self._keys(end)
            self._firing = end, keys, iter(keys)
            yield from self._rest()
            self._drop(end, progress)
        self._drop(None, progress)
        self._set_deadline()

    def _keys(self, end: int) -> list[Any]:
        """The keys that a window is to fire for."""
        start = end - self._spans.size
        if self._is_sliding:
            keys = list(self._shared.keys(start, end, self.fold.merges and not isinstance(self.fold, Collecting)))
        else:
            keys = list(self._panes.get(start, ()))
        skip = self._fired.get(end)
        return [key for key in keys if key not in skip] if skip else keys

    def _rest(self) -> Firing:
        """Fire the window that is firing, for the keys that are still to come."""
        assert self._firing is not None
        end, _, ahead = self._firing
        start = end - self._spans.size
        at, window, put_out = end - 1, as_window(start, end), self.put_out
        values = self._shared.values_of(start, end) if self._is_sliding else self._values_of(start)
        if self.recovery is None and not self.fold.asks:
            while some := list(islice(ahead, _AT_ONCE)):
                results = values(some)
                if self.with_window:
                    results = [WindowResult(key, window, value) for key, value in zip(some, results, strict=True)]
                yield results, at
        else:
            for key in ahead:
                value = self.call_firing(key, at, values, (key,))
                if value is not GIVEN_UP:
                    yield put_out(key, window, value[0], at)
        heappop(self._ends)
        self._scheduled.discard(end)
        following = end + self._spans.slide
        place = bisect_left(self._order, following - self._spans.size)
        if place < len(self._order) and self._order[place] < following:
            self._schedule(following)
        self._fired.pop(end, None)
        self._done = max(self._done, at)
        self._firing = None

    def _values_of(self, start: int) -> Callable[[Sequence[Any]], list[Any]]:
        """What gives the values of some keys of a tumbling window."""
        pane = self._panes[start]
        return lambda keys: [pane[key] for key in keys]

    def _drop(self, upto: int | None, progress: int) -> None:
        """Let go of panes that are in no window any more; of those only whose windows end by ``upto``."""
        while self._gone and self._gone[0][0] <= progress:
            if upto is not None and self._gone[0][0] - self.lateness >= upto:
                break
            _, start = heappop(self._gone)
            if self._panes.pop(start, None) is not None:
                del self._order[bisect_left(self._order, start)]
        if not self._panes:
            self._shared.forget()

    def _set_deadline(self) -> None:
        if self.by_clock:
            self.wake_at(self._ends[0] if self._ends else None)
