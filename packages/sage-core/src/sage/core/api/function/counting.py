"""Counting: how many records there are."""

from __future__ import annotations

from typing import Any

from sage.core.api.function.aggregate_function import AggregateFunction

__all__ = ["Counting"]


class Counting(AggregateFunction[Any, int, int]):
    """Counts records: ``stream.window(Tumbling(60)).aggregate(Counting)``."""

    def create(self) -> int:
        return 0

    def add(self, accumulator: int, value: Any, /) -> int:
        return accumulator + 1

    def merge(self, a: int, b: int, /) -> int:
        """The records of both."""
        return a + b
