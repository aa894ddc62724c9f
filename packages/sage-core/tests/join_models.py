"""What joins give, computed plainly from records that lie before us: the model that the operators are held to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

__all__ = ["Event", "interval_join", "keeps", "running_join"]


class Event(NamedTuple):
    """A record of a test: its key, its time in whole seconds, and what tells it from others."""

    key: Any
    time: int
    number: int


Pair = tuple[Event | None, Event | None]


def keeps(how: str) -> tuple[bool, bool]:
    """Whether left, and right, records come out that have no partner."""
    return how in ("left", "outer"), how in ("right", "outer")


def running_join(lefts: Iterable[Event], rights: Iterable[Event], how: str) -> Counter[Pair]:
    """All pairs of a key, whatever the order of arrival: of two, the later one finds the earlier."""
    lefts, rights = list(lefts), list(rights)
    return _joined(lefts, rights, [(a, b) for a in lefts for b in rights if a.key == b.key], how)


def interval_join(lefts: Iterable[Event], rights: Iterable[Event], lower: int, upper: int, how: str) -> Counter[Pair]:
    """All pairs of a key in which the right record is ``lower`` to ``upper`` seconds after the left one."""
    lefts, rights = list(lefts), list(rights)
    pairs = [(a, b) for a in lefts for b in rights if a.key == b.key and lower <= b.time - a.time <= upper]
    return _joined(lefts, rights, pairs, how)


def _joined(
    lefts: Sequence[Event], rights: Sequence[Event], pairs: list[tuple[Event, Event]], how: str
) -> Counter[Pair]:
    found: Counter[Pair] = Counter(pairs)
    left_too, right_too = keeps(how)
    if left_too:
        found.update((a, None) for a in lefts if all(pair[0] is not a for pair in pairs))
    if right_too:
        found.update((None, b) for b in rights if all(pair[1] is not b for pair in pairs))
    return found
