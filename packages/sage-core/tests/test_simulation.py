"""Simulated jobs: a seed decides the schedule, and replays it; what is wrong in some schedule is found."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import simulate as sweep

from sage.core.api import LocalEnvironment, retry
from sage.core.backends.inline import InlineBackend, InlineOptions
from sage.core.engine.coordinator import Coordinator
from sage.core.engine.events import Attempt
from sage.core.engine.output import Output
from sage.core.engine.task import Task
from sage.core.errors import AlreadySubmittedError, GraphError, JobFailedError, SimulationError
from sage.core.testing import Simulation, simulate

YEAR = 365 * 24 * 3600.0


def counting(numbers: int = 30) -> tuple[LocalEnvironment, list[tuple[int, int]]]:
    env = LocalEnvironment("counting")
    pairs = env.from_collection(range(numbers)).map(lambda value: (value % 3, 1), parallelism=2)
    counts = pairs.keyby(lambda pair: pair[0]).reduce(lambda a, b: (a[0], a[1] + b[1]), parallelism=2)
    return env, counts.collect()


def counted(seed: int) -> Simulation:
    return simulate(counting()[0], seed=seed)


def test_a_simulated_job_gives_what_any_other_gives() -> None:
    """Whatever the schedule; and the environment shows it like one that was submitted."""
    for seed in range(20):
        env, found = counting()
        simulation = simulate(env, seed=seed)
        assert (simulation.seed, simulation.state) == (seed, "completed")
        assert sorted(found) == [(key, count) for key in range(3) for count in range(1, 11)]
        assert sum(item.records_in for item in simulation.metrics.operators if item.kind == "sink") == 30
        assert env.get_job_status()["status"] == "completed"


def test_a_seed_gives_one_schedule() -> None:
    """The same every time, and hardly ever that of another seed."""
    traces = [counted(seed).trace for seed in range(10)]
    assert traces == [counted(seed).trace for seed in range(10)]
    assert len(set(traces)) == 10


def test_the_order_of_hashes_has_no_part_in_a_schedule() -> None:
    """Processes that hash strings otherwise take the same turns, also in pipelines with all kinds of operators."""
    program = "import sys, simulate\nfor seed in range(5, 25): simulate.simulate_seed(seed, print)"
    here = Path(__file__).parent
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=here,
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert len(outputs[0].splitlines()) > 500
    assert outputs[0] == outputs[1]


def test_a_failure_names_the_seed() -> None:
    """It is the failure that it would be on any backend; a note says how to see it again."""
    env = LocalEnvironment("failing")
    env.from_collection(range(10)).map(lambda value: 1 // (value - 7)).collect()
    lines: list[str] = []
    with pytest.raises(JobFailedError, match="ZeroDivisionError") as caught:
        simulate(env, seed=4711, tell=lines.append)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    (note,) = caught.value.__notes__
    assert "simulate(env, seed=4711" in note
    assert str(len(lines)) in note


def test_one_environment_is_simulated_once() -> None:
    """As it is submitted once: its lists and functions would have been used."""
    env, _ = counting()
    simulate(env, seed=1)
    with pytest.raises(AlreadySubmittedError):
        simulate(env, seed=2)
    with pytest.raises(AlreadySubmittedError):
        env.submit()


def test_a_pipeline_that_cannot_run_is_refused() -> None:
    """As at submit."""
    env = LocalEnvironment("wrong")
    env.from_collection([1]).map(lambda value: value, parallelism=0).collect()
    with pytest.raises(GraphError, match="parallelism"):
        simulate(env, seed=1)


def test_time_is_virtual() -> None:
    """A backoff of years takes none of ours, and passes for the job."""
    tries = itertools.count(1)

    def fails_twice(value: int) -> int:
        if next(tries) < 3:
            raise ValueError(value)
        return value

    env = LocalEnvironment("patient")
    found = env.from_collection([1]).map(fails_twice, on_error=retry(2, backoff=3600.0)).collect()
    simulation = simulate(env, seed=1)
    assert found == [1]
    assert simulation.seconds >= 3600.0


def slowly(value: int) -> int:
    time.sleep(0.05)
    return value


async def asks_a_thread(value: int) -> int:
    return await asyncio.to_thread(slowly, value)


async def asks_a_socket(value: int) -> int:
    """Gets the value through a connected pair, from a thread of its own."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader, writer = await asyncio.open_connection(sock=ours)
        threading.Timer(0.05, theirs.sendall, (bytes([value]),)).start()
        (answer,) = await reader.readexactly(1)
        writer.close()
        return answer


@pytest.mark.parametrize("asks", [asks_a_thread, asks_a_socket])
def test_time_does_not_jump_over_what_takes_real_time(asks: Callable[[int], Any]) -> None:
    """A coroutine that waits for a thread or a socket is in time, in a simulation as on inline with a virtual clock."""

    def build() -> tuple[LocalEnvironment, list[int]]:
        env = LocalEnvironment("outside")
        numbers = env.from_collection(range(3))
        numbers.rebalance().map_async(asyncio.sleep, name="others").collect()
        return env, numbers.map_async(asks, timeout=60).collect()

    for seed in range(3):
        env, found = build()
        simulation = simulate(env, seed=seed)
        assert (found, simulation.seconds < 30) == ([0, 1, 2], True)
    env, found = build()
    job = Coordinator(env._builder.build(), InlineBackend(InlineOptions(clock="virtual")), Attempt(env.env_uuid))
    job.start()
    assert job.join(60) and (job.state, found) == ("completed", [0, 1, 2])


def test_how_busy_a_simulated_task_was_is_decided_by_the_seed() -> None:
    """Coroutines are busy by the job's clock, and by no other."""

    async def computes(value: int) -> int:
        await asyncio.sleep(0.001)
        return sum(range(10_000)) + value

    def busy() -> list[float]:
        env = LocalEnvironment("busy")
        env.from_collection(range(20)).map_async(computes).collect()
        return [operator.busy for operator in simulate(env, seed=5).metrics.operators]

    assert busy() == busy() == [0.0] * 3


def test_endless_sources_end_where_they_are_told_to() -> None:
    """By the number of records, exactly; or by virtual time."""
    for seed in range(10):
        env = LocalEnvironment("endless")
        found = env.from_source(itertools.count().__next__).map(lambda value: value, parallelism=2).collect()
        simulate(env, seed=seed, max_records=25)
        assert sorted(found) == list(range(25))
        quiet = LocalEnvironment("quiet")
        quiet.from_source(lambda: None).collect()
        assert simulate(quiet, seed=seed, timeout=1.0).seconds >= 1.0


def test_a_job_that_does_not_end_fails() -> None:
    """After as many turns as it was given; the error shows what its tasks wait for, and the last turns."""
    env = LocalEnvironment("endless")
    env.from_source(itertools.count().__next__).rebalance().map(lambda value: value).collect()
    with pytest.raises(JobFailedError) as caught:
        simulate(env, seed=3, turns=500)
    cause = caught.value.__cause__
    assert isinstance(cause, SimulationError)
    assert "it has not ended after 500 turns" in str(cause)
    assert "hint: max_records=… or timeout=… ends the input of a source" in str(cause)
    assert caught.value.failure is not None
    assert "SAGE itself failed" not in str(caught.value)
    assert "waits for" in str(cause)
    assert "of edge 0: " in str(cause)


def test_a_standstill_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """If an end of input is lost, its receiver waits for ever: the error says so."""
    monkeypatch.setattr(Task, "_deliver_end", lambda task: "done")
    env, _ = counting()
    with pytest.raises(JobFailedError) as caught:
        simulate(env, seed=3)
    assert isinstance(caught.value.__cause__, SimulationError)
    assert "it stands still: nothing can happen any more" in str(caught.value.__cause__)
    assert "waits for input, of which 1 are open" in str(caught.value.__cause__)


def test_a_cancel_comes_at_any_moment() -> None:
    """Before the first record, after the last, and in between."""
    ends = set()
    for seed in range(60):
        env, found = counting()
        ends.add((simulate(env, seed=seed, cancel=True).state, 0 < len(found) < 30))
    assert ends >= {("cancelled", True), ("cancelled", False), ("completed", False)}


def test_nobody_imports_it_unasked() -> None:
    """What users run does not load what tests need."""
    program = (
        "import sys, sage.core.api, sage.core.client, sage.core.backends.inline, sage.core.backends.local\n"
        "assert not [name for name in sys.modules if name.startswith('sage.core.testing')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# ---- random pipelines ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", range(12))
def test_random_pipelines_under_random_schedules(chunk: int) -> None:
    """A short sweep; the session `simulate` makes long ones, and replays a seed."""
    for seed in range(chunk * 25, chunk * 25 + 25):
        try:
            sweep.simulate_seed(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}; replay it: python3 dev.py simulate -- --seed {seed}")
            raise


def test_a_seed_is_replayed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """The program shows the pipeline of a seed, every turn of its schedule, and how it ended."""
    assert sweep.main(["--seed", "21"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("0: Node(kind='source'")
    assert any("arrival" in line for line in shown)
    assert shown[-1] == sweep.simulate_seed(21)


def loses_what_is_left(output: Output) -> bool:
    """An `Output.end` that forgets the batch that is not full."""
    for channel in output._channels:
        channel._waiting.clear()
    return [channel.end() for channel in output._channels].count(False) == 0


@pytest.mark.parametrize("plant", ["a batch that is lost at the end", "a wake-up that is lost"])
def test_planted_bugs_are_found(plant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that finds nothing would find something if it was there."""
    if plant == "a batch that is lost at the end":
        monkeypatch.setattr(Output, "end", loses_what_is_left)
    else:
        monkeypatch.setattr("sage.core.testing._channel.Channel.on_credit", lambda channel, callback: None)
    assert any(fails(sweep.simulate_seed, seed) for seed in range(50))


def fails(function: Callable[[Any], Any], argument: Any) -> bool:
    try:
        function(argument)
    except AssertionError:
        return True
    return False
