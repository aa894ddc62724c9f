"""How much an operator keeps for its keys, estimated while it runs, so that a job fails by name before memory ends.

What counts is the size when saved, the one that a checkpoint will have, found by pickling a sample: some keys that lie
evenly in each table, and the largest of the keys that were in hand when it was looked before. A look is due once
there were twice as many records, or a second has passed, or what is left up to the limit might be half used up at the
pace of before; between two looks nothing is done for a record.
"""

from __future__ import annotations

import math
import pickle
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple, Protocol

from sage.core.engine.context import RuntimeContext
from sage.core.errors import StateLimitError
from sage.core.graph.model import Operator

__all__ = ["Kept", "StateLimit", "estimate"]

_SAMPLE = 64
"""Keys, and items of a large collection, that a look pickles."""

_CLOSE_SAMPLE = 4096
"""The same, before a job is failed for it."""

_MOST_RECORDS = 1 << 18
"""Records between two looks."""

_PATIENCE = 1.0
"""Seconds between two looks."""

_SHARE = 50
"""A look takes one of so many parts of the time, at most."""

_AROUND, _FRAME = 3, 9
"""Bytes of a pickle of its own around what it holds, and of the frame that it has if that is more than a few bytes."""

_PAIR = 2
"""Bytes of a pair around a key and its value: a dictionary needs none."""

_COLLECTIONS = frozenset({list, tuple, set, frozenset, deque})
_DEEPEST = 4


class Kept(NamedTuple):
    """A table of what is kept by key, and what it is, for people."""

    what: str
    table: Mapping[Any, Any]
    keys: int


class _Keeper(Protocol):
    """What is watched: an operator."""

    spec: Operator
    context: RuntimeContext
    records_in: int

    def kept(self) -> Iterable[Kept]: ...


class StateLimit:
    """Sees that an operator keeps no more than it may.

    Args:
        operator: which.
        limit: bytes, when saved.
    """

    def __init__(self, operator: _Keeper, limit: int) -> None:
        self._operator = operator
        self._limit = limit
        self._records = 0  # at which there is to be a look
        self._time = -math.inf
        self._not_before = -math.inf
        self._took = 0.0  # by the look before
        self._seen = 0, 0.0  # records and bytes at the look before
        self._pace = 0.0  # bytes that came with a record
        self._largest: dict[str, Any] = {}

    def is_due(self, now: float) -> bool:
        """Whether it is time for a look."""
        return (self._operator.records_in >= self._records or now >= self._time) and now >= self._not_before

    def look(self, now: float) -> None:
        """Estimate how much is kept.

        Raises:
            StateLimitError: it is too much.
        """
        found = self._estimate(_SAMPLE)
        if sum(size for size, _ in found) > self._limit:
            found = self._estimate(_CLOSE_SAMPLE)
        size = sum(size for size, _ in found)
        if size > self._limit:
            raise self._exceeded(size, max(found, key=lambda item: item[0])[1])
        self._plan(size, now)

    def looked(self, now: float, took: float) -> None:
        """How long the last look took, in seconds of work: the more, the later comes the next.

        Only what two looks in a row took counts: a single slow one, which a garbage collection fell into, would put off
        the next until much has come.
        """
        self._not_before = now + min(took, self._took) * _SHARE
        self._took = took

    def check_saved(self, size: int) -> None:
        """See that what was saved is within the limit: here the size is known. Raises `StateLimitError`."""
        if size > self._limit:
            raise self._exceeded(size, max(self._operator.kept(), key=lambda item: item.keys))

    def check_attributes(self, size: int, function: Any) -> None:
        """See that the attributes of ``function``, as they were saved, are within the limit, too.

        Raises:
            StateLimitError: they are not; it names the largest.
        """
        if size <= self._limit:
            return
        scale, kept = _Scale(_CLOSE_SAMPLE, size), getattr(function, "__dict__", {})
        left_out = ("context", *getattr(function, "transient", ()))
        sizes = {name: scale.weigh(value, 0) for name, value in kept.items() if name not in left_out}
        most = f"attribute '{max(sizes, key=lambda name: sizes[name])}'" if sizes else "its attributes"
        spec = self._operator.spec
        raise StateLimitError(
            f"{spec.title} has about {_bytes(size)} in the attributes of one subtask, most of it {most};"
            f" {_bytes(self._limit)} are allowed",
            hint="keep it by key, name what need not be saved in the class's `transient`, or allow more by"
            " checkpoints.max_operator_state",
            operator=spec.name,
            state=most,
            limit=self._limit,
        )

    def _exceeded(self, size: float, most: Kept) -> StateLimitError:
        told = f"more than {_bytes(self._limit)}" if size == math.inf else f"about {_bytes(size)}"
        spec = self._operator.spec
        return StateLimitError(
            f"{spec.title} keeps {told} in one subtask, most of it {most.what} of {most.keys:,} keys;"
            f" {_bytes(self._limit)} are allowed",
            hint="clear() what is done with, give it a time to live (ttl=…), raise the operator's parallelism, or allow"
            " more by checkpoints.max_operator_state",
            operator=spec.name,
            state=most.what,
            keys=most.keys,
            limit=self._limit,
        )

    def _estimate(self, sample: int) -> list[tuple[float, Kept]]:
        found, current = [], self._operator.context.key
        for kept in self._operator.kept():
            if not kept.table:
                continue
            known = {key for key in (self._largest.get(kept.what, current), current) if key in kept.table}
            size, largest = estimate(kept.table, sample, known, self._limit)
            self._largest[kept.what] = largest
            found.append((size, kept))
        return found

    def _plan(self, size: float, now: float) -> None:
        records = self._operator.records_in
        before, size_before = self._seen
        pace = (size - size_before) / max(1, records - before)
        # Of few records it is mostly what the samples err: that alone is no reason to take what grew for settled.
        self._pace = max(pace, self._pace / 2)
        until_half = (self._limit - size) / 2 / self._pace if self._pace > 0 else math.inf
        self._records = records + int(min(max(16, records), _MOST_RECORDS, max(1.0, until_half)))
        self._time = now + _PATIENCE
        self._seen = records, size


def estimate(table: Mapping[Any, Any], sample: int, known: Iterable[Any], most: int) -> tuple[float, Any]:
    """About how many bytes a table takes when saved, and the key that takes most of those that were looked at.

    Args:
        table: what is looked at.
        sample: how many of its keys, at most twice that.
        known: keys whose sizes count by themselves.
        most: what is larger counts as infinite.
    """
    scale = _Scale(sample, most)
    sizes = {key: scale.weigh_pair((key, table[key]), 0) for key in known}
    step = max(1, len(table) // sample)
    found = islice(table, step // 2, None, step)
    others = [(scale.weigh_pair((key, table[key]), 0), key) for key in found if key not in sizes]
    mean = sum(size for size, _ in others) / len(others) if others else 0.0
    largest = max(((size, key) for key, size in sizes.items()), key=_first, default=(0.0, None))
    if others:
        largest = max(largest, max(others, key=_first), key=_first)
    return sum(sizes.values()) + mean * (len(table) - len(sizes)), largest[1]


class _Scale:
    """Weighs objects as a pickle would hold them together: what they share weighs once.

    Args:
        sample: items of a large collection that are weighed for all of them.
        most: bytes above which an object weighs infinitely much.
    """

    def __init__(self, sample: int, most: int) -> None:
        self._sample = sample
        self._most = most
        self._written = 0
        self._until = 0
        self._pickler = pickle.Pickler(self, protocol=5)

    def write(self, data: Any) -> int:
        self._written += len(data)
        if self._written > self._until:
            raise _TooMuch
        return len(data)

    def weigh(self, value: Any, depth: int) -> float:
        """How many bytes; ``depth`` collections are around it."""
        if _is_collection(value) and depth < _DEEPEST:
            count, is_mapping = len(value), issubclass(type(value), dict)
            items, weigh = (value.items(), self.weigh_pair) if is_mapping else (value, self.weigh)
            if count > self._sample:
                step = count // self._sample
                some = list(islice(items, step // 2, None, step))
                return sum(weigh(item, depth + 1) for item in some) / len(some) * count
            if any(map(_is_collection, value.values() if is_mapping else value)):
                return sum(weigh(item, depth + 1) for item in items)
        before = self._written
        self._until = before + self._most
        try:
            self._pickler.dump(value)
        except _TooMuch:
            self._pickler = pickle.Pickler(self, protocol=5)
            return math.inf
        except Exception:  # what cannot be saved is met when it is saved
            self._pickler = pickle.Pickler(self, protocol=5)
        size = self._written - before - _AROUND
        return max(1, size - _FRAME if size > _FRAME else size)

    def weigh_pair(self, pair: Any, depth: int) -> float:
        """How many bytes a key and its value take in a dictionary."""
        key, value = pair
        if _is_collection(value):
            return self.weigh(key, depth + 1) + self.weigh(value, depth + 1)
        return self.weigh(pair, _DEEPEST) - _PAIR


class _TooMuch(BaseException):
    """More than anything may weigh; none that a user's own method could take for its own."""


def _is_collection(value: Any) -> bool:
    return type(value) in _COLLECTIONS or issubclass(type(value), dict)


def _first(item: tuple[float, Any]) -> float:
    return item[0]


def _bytes(size: float) -> str:
    unit = "bytes"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:,.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"
