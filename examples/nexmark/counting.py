"""How many records there are: what queries 5 and 11 make of a window."""

from __future__ import annotations

from typing import Any

from sage.core.api import AggregateFunction

__all__ = ["Counting"]


class Counting(AggregateFunction[Any, int, int]):
    def create(self) -> int:
        return 0

    def add(self, count: int, record: Any) -> int:
        return count + 1

    def merge(self, one: int, other: int) -> int:
        return one + other
