"""Sliding windows out of panes, without putting all panes together for each window.

What a window holds of each key is put together of two values. The *back* is that of the panes from some border on; it
grows by a pane at a time. The *front* is that of the panes up to the border; when the oldest of them leaves, it becomes
what it was without that one, which was noted when it was made, from the newest pane to the oldest. When the front is
used up, all panes of the window become a new one. So a value takes part in three merges at most, however many panes a
window has.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any

from sage.core.engine.keyed_state import MISSING
from sage.core.engine.operators.windows.folding import Collecting, Folding, is_fixed

__all__ = ["Shared"]

_Pane = dict[Any, Any]


class Shared:
    """Values of windows made of panes.

    Args:
        panes: by start, by key, the value; the operator's own.
        order: their starts, in order; the operator's own, too.
    """

    def __init__(self, panes: dict[int, _Pane], order: list[int]) -> None:
        self._panes = panes
        self._order = order
        self._fold: Folding | None = None
        self._front: _Pane = {}
        self._leaving: list[tuple[int, _Pane, list[Any]]] = []  # oldest pane last: its start, the front without it
        self._back: _Pane = {}
        self._border = 0  # the front is of panes before it, the back of those from it on
        self._upto = 0  # where the back ends
        self._from: int | None = None  # where the window begins that front and back are for; None for none
        self._apart: set[Any] = set()  # keys that have changed since, or whose values could not be put together
        self._parts: dict[Any, list[Any]] = {}  # by key, what the panes of a window hold, where that is all there is

    def use(self, fold: Folding) -> None:
        """Put values together as ``fold`` does."""
        self._fold = fold

    def changed(self, key: Any) -> None:
        """A pane that may have been taken into account has got another record of ``key``."""
        self._apart.add(key)

    def forget(self) -> None:
        """Begin anew."""
        self._from = None
        self._front, self._back, self._leaving, self._apart, self._parts = {}, {}, [], set(), {}

    def keys(self, start: int, end: int, prepared: bool) -> Iterable[Any]:
        """The keys that a window holds anything of; ``prepared``: make ready for `values_of`."""
        if not prepared:
            self._from = None
            parts = self._parts = {}
            for at in self._between(start, end):
                for key, value in self._panes[at].items():
                    parts.setdefault(key, []).append(value)
            return parts
        self._move(start, end)
        front, back = self._front, self._back
        found = front | back
        if self._apart:
            ats = self._between(start, end)
            for key in self._apart:
                if any(key in self._panes[at] for at in ats):
                    found[key] = None
                else:
                    found.pop(key, None)
        return found

    def values_of(self, start: int, end: int) -> Callable[[Sequence[Any]], list[Any]]:
        """What gives the values of some keys of a window that `keys` was asked for."""
        if self._from is None:
            parts = self._parts
            return lambda keys: [self._put_together(parts[key]) for key in keys]
        ats = self._between(start, end)
        front, back, apart = self._front, self._back, self._apart
        merge = self._merge_of(front.values())

        def values(keys: Sequence[Any]) -> list[Any]:
            return [
                back[key] if key not in front else front[key] if key not in back else merge(front[key], back[key])
                for key in keys
            ]

        def values_with_some_apart(keys: Sequence[Any]) -> list[Any]:
            return [self._together(key, ats) if key in apart else values((key,))[0] for key in keys]

        return values_with_some_apart if apart else values

    def together(self, asked: tuple[Any, int, int]) -> Any:
        """The value of one key out of all panes of a window: key, start and end."""
        key, start, end = asked
        return self._together(key, self._between(start, end))

    def _together(self, key: Any, ats: Iterable[int]) -> Any:
        return self._put_together([pane[key] for pane in map(self._panes.__getitem__, ats) if key in pane])

    def _put_together(self, parts: Sequence[Any]) -> Any:
        fold = self._fold
        assert fold is not None
        return fold.together(parts) if isinstance(fold, Collecting) else reduce(fold.merge, parts)

    def _between(self, start: int, end: int) -> list[int]:
        return self._order[bisect_left(self._order, start) : bisect_left(self._order, end)]

    def _merge_of(self, values: Iterable[Any]) -> Callable[[Any, Any], Any]:
        """How to put values together of which the left ones are ``values``; quicker where nobody can change those."""
        assert self._fold is not None
        return self._fold.merge_fixed if is_fixed(values) else self._fold.merge

    def _move(self, start: int, end: int) -> None:
        """Let front and back be of the window from ``start`` to ``end``, which begins later than the one before."""
        if self._from is None or start < self._from or end < self._upto:
            self.forget()
            self._border = self._upto = start
        elif start > self._border:
            self._turn(start, end)
        self._from = start
        while self._leaving and self._leaving[-1][0] < start:
            _, without, gone = self._leaving.pop()
            self._front.update(without)
            for key in gone:
                del self._front[key]
        for at in self._between(max(self._upto, start), end):
            self._take(at)
        self._upto = end

    def _turn(self, start: int, end: int) -> None:
        """Make the front of what is there, and leave the back empty."""
        self.forget()
        self._border = self._upto = end
        front = self._front
        ats = self._between(start, end)
        for at in reversed(ats):
            pane = self._panes[at]
            without, gone, merge = _Pane(), [], self._merge_of(pane.values())
            for key, value in pane.items():
                newer = front.get(key, MISSING)
                if newer is MISSING:
                    gone.append(key)
                    front[key] = value
                    continue
                without[key] = newer
                try:
                    front[key] = merge(value, newer)
                except Exception:  # of the user's: it comes again, and counts, when the key's window fires
                    self._apart.add(key)
            self._leaving.append((at, without, gone))

    def _take(self, at: int) -> None:
        back, pane = self._back, self._panes[at]
        merge = self._merge_of(back.values())
        for key, value in pane.items():
            before = back.get(key, MISSING)
            try:
                back[key] = value if before is MISSING else merge(before, value)
            except Exception:
                self._apart.add(key)
