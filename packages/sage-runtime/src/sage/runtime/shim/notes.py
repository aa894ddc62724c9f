"""Words for people who look after a shim: lines in ``logs/shim.log``, bounded."""

from __future__ import annotations

import sys

from sage.runtime.shim.events import now

__all__ = ["Notes"]

_MOST = 1000
_LONGEST = 2000


class Notes:
    """Writes notes to standard error, a thousand at most, since a job may provoke them without end."""

    def __init__(self) -> None:
        self._left = _MOST

    def __call__(self, text: str) -> None:
        if self._left <= 0:
            return
        self._left -= 1
        if self._left == 0:
            text = "further notes of this shim are left out"
        try:
            print(f"{now()} {text[:_LONGEST]}", file=sys.stderr, flush=True)
        except OSError:
            # The disk is full, and this was the last place to complain to; what matters is in the events file.
            return
