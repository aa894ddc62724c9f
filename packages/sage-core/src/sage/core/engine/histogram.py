"""How long things took, counted in buckets whose width grows with their value: small, always on, and mergeable."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from operator import add

__all__ = ["BUCKETS", "ERROR", "Histogram", "upper_bound"]

_PER_OCTAVE = 4
_LEAST = -20
_MOST = 14

BUCKETS = (_MOST - _LEAST) * _PER_OCTAVE
"""Number of buckets: four to each doubling, from 2⁻²⁰ s (about 1 µs) to 2¹⁴ s (four and a half hours)."""

ERROR = 2 ** (0.5 / _PER_OCTAVE) - 1
"""Relative error of a percentile, at most: it is told as the geometric middle of its bucket."""


def _border(index: float) -> float:
    """Where a bucket begins, for whole numbers."""
    return float(2.0 ** (index / _PER_OCTAVE + _LEAST))


_BORDERS = [_border(index) for index in range(1, BUCKETS)]
_TOLD = [float(f"{border:.6g}") for border in (*_BORDERS, _border(BUCKETS))]


@dataclass(slots=True)
class Histogram:
    """One thread adds; any thread may copy.

    Attributes:
        counts: how many fell into each bucket; the first also takes what is shorter, the last what is longer.
        seconds: all of it together.
    """

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    seconds: float = 0.0

    def add(self, seconds: float, weight: int = 1) -> None:
        """Count ``weight`` things that took ``seconds`` each."""
        self.counts[bisect_right(_BORDERS, seconds)] += weight
        self.seconds += seconds * weight

    def merge(self, other: Histogram) -> None:
        """Take in what another one has counted."""
        self.counts = list(map(add, self.counts, other.counts))
        self.seconds += other.seconds

    def copy(self) -> Histogram:
        return Histogram(self.counts.copy(), self.seconds)

    @property
    def count(self) -> int:
        return sum(self.counts)

    def percentile(self, share: float) -> float:
        """The duration that ``share`` (above 0, up to 1) of all do not exceed; 0 if there are none.

        It is at most `ERROR` away from the exact one, of durations within the range of the buckets.
        """
        rank = math.ceil(share * self.count)
        if not rank:
            return 0.0
        index = bisect_left(list(accumulate(self.counts)), rank)
        return _border(index + 0.5)


def upper_bound(index: int) -> float:
    """What durations in this bucket stay below, to six digits: it is told in every report."""
    return _TOLD[index]
