"""Scripted sources: records, pauses, failures and ends on cue, on any backend."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from sage.core.api import LocalEnvironment, ProcessFunction
from sage.core.connectors.api import STOP, Later, StopType
from sage.core.engine.clock import WALL
from sage.core.errors import GraphError, JobFailedError
from sage.core.testing import (
    At,
    End,
    Fail,
    Forever,
    Idle,
    Input,
    Pause,
    Watermark,
    check_source,
    script,
    simulate,
    virtual_environment,
)
from sage.core.testing._script import Given, Script

LIMIT = 30.0


def virtual(**options: Any) -> LocalEnvironment:
    return virtual_environment("scripted", **options)


def test_records_are_given_as_they_are() -> None:
    """None and a list are records like any other, and the end of the script is that of the source."""
    env = LocalEnvironment("scripted")
    found = script(env, [1, None, [2], "three"]).collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert found == [1, None, [2], "three"]


@pytest.mark.parametrize("first", ["a", "b"])
def test_scripts_advance_by_their_pauses(first: str) -> None:
    """To the millisecond, however long they are, and whichever was declared first."""
    env = virtual()
    steps = {
        "a": [Pause(100), "a 100", Pause(0.002), "a 100.002", Pause(1e6), "a end"],
        "b": [Pause(100.001), "b 100.001", Pause(0.002), "b 100.003"],
    }
    names = sorted(steps, reverse=first == "b")
    one, other = (script(env, steps[name], name=name) for name in names)
    found = one.union(other).collect()
    env.submit(timeout=LIMIT)
    assert found == ["a 100", "b 100.001", "a 100.002", "b 100.003", "a end"]


def test_pauses_pass_on_threads_too() -> None:
    """Nothing comes before its time."""
    env = LocalEnvironment("scripted")
    came: list[float] = []
    began = WALL.now()
    script(env, [Pause(0.05), "late"]).sink(lambda _: came.append(WALL.now()))
    env.submit(autostop=True, timeout=LIMIT)
    assert len(came) == 1
    assert came[0] - began >= 0.05


def test_a_pause_on_threads_does_not_keep_a_job_from_stopping() -> None:
    """However long it is."""
    came = threading.Event()
    env = LocalEnvironment("scripted")
    script(env, [1, Pause(1e6), 2]).sink(lambda _: came.set())
    job = env.submit()
    assert came.wait(LIMIT)
    env.stop()
    assert job.wait(LIMIT)["status"] == "cancelled"


def test_a_simulation_jumps_over_pauses() -> None:
    """In any of its courses."""
    for seed in range(10):
        env = LocalEnvironment("scripted")
        found = script(env, [1, Pause(1000), 2]).collect()
        assert simulate(env, seed=seed).seconds >= 1000
        assert found == [1, 2]


def test_a_script_fails_where_it_says_so() -> None:
    """And what came before has arrived."""
    env = virtual()
    found = script(env, [1, Fail(OSError("the cable")), 2], name="wire").collect()
    with pytest.raises(JobFailedError, match="'wire' failed: OSError: the cable"):
        env.submit()
    assert found == [1]


def test_nothing_comes_after_the_end() -> None:
    """Though there are more steps."""
    env = virtual()
    found = script(env, [1, End(), 2]).collect()
    env.submit()
    assert found == [1]


@pytest.mark.parametrize("run", ["inline", "simulated"])
def test_a_script_that_goes_on_for_ever_ends_with_its_job(run: str) -> None:
    """By a time-out, in virtual time."""
    env = virtual(timeout=50)
    found = script(env, [1, Pause(20), 2, Forever()]).collect()
    if run == "inline":
        env.submit()
        assert found == [1, 2]
    else:
        assert simulate(env, seed=1, timeout=50).seconds == 50
        assert found in ([], [1], [1, 2])  # time may pass before anything is read


def test_a_script_keeps_the_contract_of_sources() -> None:
    """Read in any portions, and opened at any position."""
    check_source(Script([1, Pause(1), 2, Pause(0), 3]), [Given((1,)), Given((2,)), Given((3,))])


class _Tides:
    """Two partitions that have something now and then, and note when they are asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __deepcopy__(self, memo: object) -> _Tides:
        return self

    def partitions(self) -> Sequence[str]:
        return ("low", "high")

    def open(self, partition: str, position: object | None) -> _Tide:
        return _Tide(self, partition, 10 if partition == "low" else 25)


class _Tide:
    def __init__(self, tides: _Tides, name: str, every: float) -> None:
        self.tides = tides
        self.name = name
        self.every = every
        self.calls = 0

    def read(self, n: int) -> list[Any] | StopType | Later | None:
        self.tides.asked.append(self.name)
        self.calls += 1
        if self.calls == 6:
            return STOP
        return [f"{self.name} {self.every * self.calls / 2:g}"] if self.calls % 2 == 0 else Later(self.every)

    def position(self) -> object:
        return None

    def wait(self, timeout: float) -> None:
        raise AssertionError("it has said when to ask again")

    def close(self) -> None:
        """There is nothing to let go of."""


def test_a_partition_is_not_asked_before_its_time() -> None:
    """Each has its own, and the source is idle until the first of them."""
    env, tides = virtual(), _Tides()
    found = env.from_connector(tides).collect()
    env.submit()
    assert found == ["low 10", "low 20", "high 25", "high 50"]
    assert tides.asked.count("low") == tides.asked.count("high") == 6


class Late(ProcessFunction[str, tuple[str, float]]):
    """Tells the watermark that each record finds."""

    def execute(self, record: str) -> list[tuple[str, float]]:
        return [(record, self.context.watermark)]


def found_by(backend: str, steps: list[Any]) -> list[tuple[str, float]]:
    env = virtual() if backend == "inline" else LocalEnvironment("scripted")
    found = script(env, steps).process(Late).collect()
    if backend == "simulated":
        simulate(env, seed=5)
    else:
        env.submit(autostop=True, timeout=LIMIT)
    return found


@pytest.mark.parametrize("backend", ["inline", "local", "simulated"])
def test_watermarks_are_exactly_those_of_the_script(backend: str) -> None:
    """Each follows just the records before it, whatever the times of those; one that goes back changes nothing."""
    steps = [At(50, "a"), At(1, "b"), Watermark(10), At(5, "c"), Watermark(9), At(99, "d"), Watermark(11), At(0, "e")]
    before = float("-inf")
    assert found_by(backend, steps) == [("a", before), ("b", before), ("c", 10), ("d", 10), ("e", 11)]


def test_nobody_waits_for_a_script_that_is_idle() -> None:
    """Until it has a record again."""
    env = virtual()
    quiet = script(env, [Watermark(1), Pause(1), Idle(), Pause(10), At(7, "quiet"), Watermark(8), Pause(5)], name="q")
    busy = script(
        env, [Watermark(5), At(6, "1"), Pause(2), At(6, "2"), Pause(10), Watermark(20), At(21, "3")], name="b"
    )
    found = quiet.union(busy).process(Late).collect()
    env.submit()
    assert found == [("1", 1), ("2", 5), ("quiet", 5), ("3", 8)]


def test_the_records_of_a_script_have_times_or_none() -> None:
    """One that has none among others that have is refused."""
    with pytest.raises(GraphError, match=r"test_script\.py:.*'b' has none"):
        script(virtual(), [At(1, "a"), "b"])


def test_a_step_that_would_be_a_record_is_refused() -> None:
    """The class instead of a step, and a step of another input than a script has."""
    with pytest.raises(GraphError, match=r"test_script\.py:.*write Pause\(…\)"):
        script(virtual(), ["a", Pause, "b"])
    with pytest.raises(GraphError, match=r"write End\(\)"):
        script(virtual(), [End])
    with pytest.raises(GraphError, match="there is no other input here"):
        script(virtual(), [Input(1, "a")])
