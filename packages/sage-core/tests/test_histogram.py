"""The histogram of durations: merging is counting together, percentiles are near the exact ones."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.core.engine.histogram import BUCKETS, ERROR, Histogram, upper_bound

LEAST, MOST = 2.0**-20, 2.0**14
durations = st.floats(min_value=LEAST, max_value=MOST, exclude_max=True)
measured = st.lists(st.tuples(durations, st.integers(1, 200)), max_size=60)


def histogram(items: list[tuple[float, int]]) -> Histogram:
    made = Histogram()
    for seconds, weight in items:
        made.add(seconds, weight)
    return made


@given(measured, measured)
def test_to_merge_is_to_count_together(first: list[tuple[float, int]], second: list[tuple[float, int]]) -> None:
    """Two histograms, merged, are the one that had counted all of it."""
    merged = histogram(first)
    merged.merge(histogram(second))
    whole = histogram(first + second)
    assert merged.counts == whole.counts
    assert math.isclose(merged.seconds, whole.seconds, rel_tol=1e-9)
    assert merged.count == sum(weight for _, weight in first + second)


@given(measured.filter(bool), st.floats(0.001, 1.0))
def test_a_percentile_is_near_the_exact_one(items: list[tuple[float, int]], share: float) -> None:
    """It is off by at most the stated error from the duration of the record at that rank."""
    every = [seconds for seconds, weight in sorted(items) for _ in range(weight)]
    exact = every[math.ceil(share * len(every)) - 1]
    assert math.isclose(histogram(items).percentile(share), exact, rel_tol=ERROR * 1.001)
    assert ERROR < 0.1


@given(durations)
def test_a_duration_lies_within_the_bounds_of_its_bucket(seconds: float) -> None:
    """Buckets border on each other; every fourth bound is near a power of two."""
    (index,) = [number for number, count in enumerate(histogram([(seconds, 1)]).counts) if count]
    below = upper_bound(index - 1) if index else LEAST
    assert below * (1 - 1e-5) <= seconds < upper_bound(index) * (1 + 1e-5)
    assert [upper_bound(3), upper_bound(BUCKETS - 1)] == pytest.approx([2.0**-19, MOST], rel=1e-5)


@pytest.mark.parametrize(
    ("seconds", "index"), [(0.0, 0), (-1.0, 0), (1e-300, 0), (MOST, BUCKETS - 1), (1e300, BUCKETS - 1)]
)
def test_what_is_beyond_all_buckets_falls_into_the_outermost(seconds: float, index: int) -> None:
    """A clock that stands still, and a wait of days, are counted all the same."""
    assert histogram([(seconds, 7)]).counts[index] == 7


def test_nothing_measured_is_zero() -> None:
    """Without a measurement there is no percentile, and none is made up."""
    assert (Histogram().percentile(0.99), Histogram().count, Histogram().seconds) == (0.0, 0, 0.0)


def test_a_copy_stays_what_it_was() -> None:
    """What is reported does not change under the reader, and travels."""
    growing = histogram([(0.5, 3)])
    copy = growing.copy()
    growing.add(2.0)
    assert copy == histogram([(0.5, 3)]) == pickle.loads(pickle.dumps(copy))
    assert growing != copy
