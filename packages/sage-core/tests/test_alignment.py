"""Sources that wait for slower ones: none runs further ahead than it may, and none waits for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import LocalEnvironment, SourceFunction
from sage.core.connectors.api import STOP
from sage.core.errors import GraphError
from sage.core.testing import simulate


def of(pair: tuple[str, int]) -> int:
    return pair[1]


class Course:
    """Two sources of the same length in time, one of which has ten times as many records; and how they came."""

    def __init__(self, max_ahead: float | None, backend: str = "inline") -> None:
        self.far = {"slow": 0, "fast": 0}
        self.apart = 0
        self.found: list[Any] = []
        self.env = LocalEnvironment("aligned", backend)
        for name, step in (("slow", 1), ("fast", 10)):
            timed = self.env.from_batch(self.read, name, step, name=name).assign_timestamps(of, max_ahead=max_ahead)
            timed.sink(self.found.append)

    def read(self, name: str, step: int) -> Iterator[tuple[str, int]]:
        for time in range(0, 1000, step):
            self.far[name] = time
            self.apart = max(self.apart, self.far["fast"] - self.far["slow"])
            yield name, time
        self.far[name] = 1000


@pytest.mark.parametrize("max_ahead", [1, 50, 300])
def test_no_source_runs_further_ahead_than_it_may(max_ahead: float) -> None:
    """A fast one takes its next record when the slow one has come so far."""
    course = Course(max_ahead)
    course.env.submit(autostop=True, timeout=60)
    assert len(course.found) == 1100
    assert course.apart <= max_ahead + 10  # the record that brings it too far is read
    free = Course(None)
    free.env.submit(autostop=True, timeout=60)
    assert free.apart > 800


@pytest.mark.parametrize("seed", range(20))
def test_none_waits_for_ever(seed: int) -> None:
    """Whatever the schedule: one that has ended is not waited for."""
    course = Course(50)
    simulate(course.env, seed=seed)
    assert len(course.found) == 1100


def test_threads_wait_for_each_other_and_end() -> None:
    """On threads as elsewhere."""
    course = Course(1, "local")
    course.env.submit(autostop=True, timeout=60)
    assert len(course.found) == 1100


class Silent(SourceFunction[Any]):
    """A source that has nothing for a while, and then ends."""

    def __init__(self) -> None:
        self.asked = 0

    def execute(self) -> Any:
        self.asked += 1
        return STOP if self.asked > 20_000 else None


@pytest.mark.parametrize("idle_after", [None, 0.01])
def test_an_idle_source_is_not_waited_for(idle_after: float | None) -> None:
    """With ``idle_after`` the others go on while it has nothing; without, when it has ended."""
    order: list[str] = []
    env = LocalEnvironment("idle", "inline", options={"clock": "virtual"})
    silent = env.from_source(Silent).assign_timestamps(of, idle_after=idle_after, max_ahead=10, name="silent")
    silent.sink(lambda record: order.append("silent"))
    fast = env.from_batch([("fast", time) for time in range(100)]).assign_timestamps(of, max_ahead=10, name="fast")
    fast.sink(lambda record: order.append("fast"))
    env.submit(autostop=True, timeout=60)
    assert order == ["fast"] * 100


@pytest.mark.parametrize("max_ahead", [0, -1, float("nan"), "1h", True])
def test_what_is_no_length_of_time_is_refused(max_ahead: Any) -> None:
    """At submit, with all other problems."""
    env = LocalEnvironment()
    env.from_batch([("a", 1)]).assign_timestamps(of, max_ahead=max_ahead).sink(of)
    with pytest.raises(GraphError, match="max_ahead must be"):
        env.submit()


def test_only_a_source_can_wait() -> None:
    """Elsewhere waiting would keep others from going on, maybe the very one that is waited for."""
    env = LocalEnvironment()
    env.from_batch([("a", 1)]).filter(of).assign_timestamps(of, max_ahead=1).sink(of)
    with pytest.raises(GraphError, match="does not come directly behind one"):
        env.submit()


@pytest.mark.parametrize("backend", ["inline", "local"])
def test_a_source_whose_file_waits_for_all_to_end_is_not_waited_for(backend: str, tmp_path: Path) -> None:
    """What it has written is published when the others are done, too: they do not wait for it in turn."""
    env = LocalEnvironment("published together", backend)
    for name, count in (("short", 100), ("long", 1000)):
        numbers = env.from_batch(range(count), name=name).assign_timestamps(float, max_ahead=10)
        numbers.to_jsonl(tmp_path / name)
    env.submit(autostop=True, timeout=60)
    assert len((tmp_path / "long").read_text().splitlines()) == 1000
