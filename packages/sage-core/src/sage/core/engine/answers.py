"""What was looked up elsewhere, kept for a while."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from sage.core.engine.keyed_state import MISSING

__all__ = ["Answers"]


class Answers:
    """Answers by what was asked. Those that were used longest ago go first, and each when it is too old.

    Args:
        size: how many are kept.
        ttl: for how many seconds each is kept; None for no limit.
        now: tells the time, in seconds.
    """

    def __init__(self, size: int, ttl: float | None, now: Callable[[], float]) -> None:
        self._size = size
        self._ttl = ttl
        self._now = now
        self._kept: OrderedDict[Any, tuple[Any, float]] = OrderedDict()  # no more than `size`

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, asked: Any) -> Any:
        """The answer that is kept; `MISSING` if none is."""
        found = self._kept.get(asked)
        if found is None:
            return MISSING
        answer, until = found
        if self._ttl is not None and until <= self._now():
            del self._kept[asked]
            return MISSING
        self._kept.move_to_end(asked)
        return answer

    def keep(self, asked: Any, answer: Any) -> None:
        """Keep an answer, from now on."""
        if self._size == 0:
            return
        self._kept[asked] = answer, math.inf if self._ttl is None else self._now() + self._ttl
        self._kept.move_to_end(asked)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
