"""Options of the backend ``inline``: another clock, and an end for sources that have none."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from sage.core.api import STOP, LocalEnvironment, SourceFunction, retry
from sage.core.backends.api import BackendOptions
from sage.core.errors import ConfigError, JobFailedError
from sage.core.plugins import backend

YEAR = 365 * 24 * 3600.0


def inline(**options: Any) -> LocalEnvironment:
    return LocalEnvironment("options", backend="inline", options=options)


def test_max_records_ends_sources_that_have_no_end() -> None:
    """So many records are read from all sources together, and what was held back until the end still comes."""
    env = inline(max_records=7)
    left = env.from_source(itertools.count().__next__)
    right = env.from_source(itertools.count(100).__next__)
    read = left.union(right).collect()
    totals = left.map(lambda value: (0, value)).reduce(lambda a, b: (0, a[1] + b[1]), final=True).collect()
    env.submit()
    assert read == [0, 100, 1, 101, 2, 102, 3]
    assert totals == [(0, 6)]
    assert env.get_job_status()["status"] == "completed"


def test_no_record_is_read_where_none_may_be() -> None:
    """Zero is a number of records, too: the job opens, and ends."""
    env = inline(max_records=0)
    found = env.from_collection([1, 2]).collect()
    env.submit()
    assert found == []


def test_timeout_ends_a_source_that_gives_nothing() -> None:
    """After so many seconds the input has ended, by the clock on the wall."""
    env = inline(timeout=0.05)
    found = env.from_source(lambda: None).map(lambda value: value).collect()
    env.submit()
    assert found == []


def test_timeout_counts_by_the_clock_of_the_job() -> None:
    """On a virtual clock a year without news is over at once."""
    env, asked = inline(clock="virtual", timeout=YEAR), itertools.count()
    env.from_source(lambda: next(asked) and None).collect()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sage.core.engine.task._LONGEST_WAIT", YEAR / 10)  # else it would be asked very often
        env.submit()
    assert next(asked) > 10


class Patient(SourceFunction[int]):
    """Has a way to wait that nobody should come to."""

    def __init__(self) -> None:
        self.asked = 0

    def execute(self) -> Any:
        self.asked += 1
        return STOP if self.asked > 50 else 1 if self.asked % 10 == 0 else None

    def wait(self, timeout: float) -> None:
        threading.Event().wait(YEAR)


def test_nothing_is_waited_for_on_a_virtual_clock() -> None:
    """Neither backoffs, nor batches that are being gathered, nor a source's own wait take any time."""
    tries = itertools.count(1)

    def fails_twice(value: int) -> int:
        if next(tries) < 3:
            raise ValueError(value)
        return value

    env = inline(clock="virtual")
    stream = env.from_source(Patient()).map(fails_twice, on_error=retry(2, backoff=3600.0))
    found = stream.map_batches(lambda batch: [len(batch)], max_size=100, max_wait=0.05).collect()
    env.submit()
    assert sum(found) == 5
    assert len(found) > 1, "nothing was due before the end"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clok": "virtual"}, "has no option 'clok'; it has clock, max_records, timeout\n  hint: did you mean 'clock'"),
        ({"clock": "sun"}, "clock must be 'wall' or 'virtual', not 'sun'"),
        ({"max_records": -1}, "max_records must be 0 or more"),
        ({"max_records": 1.5}, "max_records must be a whole number"),
        ({"timeout": "soon"}, "timeout must be a number of seconds, not 'soon'"),
        ({"timeout": float("nan")}, "timeout must be 0 or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: Mapping[str, Any], message: str) -> None:
    """By name, before anything runs."""
    env = LocalEnvironment("options", backend="inline", options=options)
    env.from_collection([1]).collect()
    with pytest.raises(ConfigError, match="backend 'inline'") as caught:
        env.submit()
    assert message in str(caught.value)
    assert env.get_job_status()["status"] == "not_submitted"


def test_local_has_no_options() -> None:
    """What a backend does not know is refused on every backend."""
    with pytest.raises(ConfigError, match="the backend 'local' has no option 'clock'; it has none"):
        backend("local", BackendOptions({"clock": "virtual"}))


def test_a_failure_is_a_failure_within_limits_too() -> None:
    """An error before the end of the input fails the job."""
    env = inline(max_records=3)
    env.from_source(itertools.count().__next__).map(lambda value: 1 // (1 - value)).collect()
    with pytest.raises(JobFailedError):
        env.submit()
