"""What can be wrong with how an operator awaits coroutines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sage.core.graph.durations import is_duration

__all__ = ["wrong_in_awaiting"]


def wrong_in_awaiting(options: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with ``concurrency``, ``ordered`` and ``timeout``."""
    concurrency, ordered, timeout = options["concurrency"], options["ordered"], options["timeout"]
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        yield f"concurrency must be a whole number from 1, not {concurrency!r:.100}"
    if not isinstance(ordered, bool):
        yield f"ordered must be True or False, not {ordered!r:.100}"
    if timeout is not None and not is_duration(timeout, above_zero=True):
        yield f"timeout must be a number of seconds above 0, a timedelta, or None, not {timeout!r:.100}"
