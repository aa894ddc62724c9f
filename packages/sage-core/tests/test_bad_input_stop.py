"""Functions that do not come to an end: a job can be stopped all the same, and tells what did not return."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sage.core.api import LocalEnvironment, SourceFunction, retry
from sage.core.api._local_job import LocalJob

LIMIT = 60.0


class Gate:
    """A call that returns when it is told to."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, *values: Any) -> Any:
        self.reached.set()
        assert self.opened.wait(LIMIT)
        return values and values[-1]


def endless(reached: threading.Event) -> Iterator[int]:
    for number in itertools.count():
        if number == 20_000:
            reached.set()
        yield number


class Quiet(SourceFunction):
    """Waits in its own way, without an end."""

    gate: Gate

    def execute(self) -> Any:
        return None

    def wait(self, timeout: float) -> None:
        self.gate()


def failing(reached: threading.Event) -> Callable[[Any], Any]:
    def fail(value: Any) -> Any:
        reached.set()
        raise ValueError("again")

    return fail


ENDLESS: dict[str, Callable[[LocalEnvironment, threading.Event], Any]] = {
    "iterable": lambda env, reached: env.from_batch(endless, reached).map(str),
    "flatmap": lambda env, reached: env.from_batch([1, 2]).flatmap(lambda value: endless(reached)).map(str),
    "map_batches": lambda env, reached: env.from_batch([1, 2]).map_batches(lambda values: endless(reached)).map(str),
    "behind a full channel": lambda env, reached: env.from_batch(endless, reached).rebalance().map(str, parallelism=2),
    "source without news": lambda env, reached: env.from_source(lambda: reached.set()),
    "retries": lambda env, reached: env.from_batch([1]).map(failing(reached), on_error=retry(9, backoff=3600)),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_what_never_ends_stops_when_it_is_told_to(backend: str, what: str) -> None:
    """Nobody has to wait for a grace to be over: where the engine is asked for each record, it notices."""
    reached = threading.Event()
    env = LocalEnvironment(backend=backend)
    ENDLESS[what](env, reached).sink(lambda value: None)

    def stop() -> None:
        assert reached.wait(LIMIT)
        env.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()
    try:
        job = env.submit()
        status = job.wait(LIMIT)
    finally:
        stopping.join()
    assert (status["status"], status["reason"]) == ("cancelled", None)


STUCK: dict[str, tuple[Callable[[LocalEnvironment, Gate], Any], str]] = {
    "map": (lambda env, gate: env.from_batch([1]).map(gate, name="it"), "map 'it'"),
    "filter": (lambda env, gate: env.from_batch([1]).filter(gate, name="it"), "filter 'it'"),
    "key function": (lambda env, gate: env.from_batch([1]).keyby(gate, name="it").map(str), "keyby 'it'"),
    "reduce": (lambda env, gate: env.from_batch([1, 2]).reduce(gate, name="it"), "reduce 'it'"),
    "generator": (
        lambda env, gate: env.from_batch([1]).flatmap(lambda value: (gate(value) for _ in "a"), name="it"),
        "flatmap 'it'",
    ),
    "batch": (lambda env, gate: env.from_batch(lambda: (gate(value) for value in "a"), name="it"), "collection 'it'"),
    "source": (lambda env, gate: env.from_source(gate, name="it"), "source 'it'"),
    "wait": (lambda env, gate: env.from_source(Quiet, name="it"), "source 'it'"),
}


@pytest.mark.parametrize("what", STUCK)
def test_a_call_that_does_not_return_is_given_up_and_named(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping is bounded; the reason names the line it is at, the operator and the line that declared it."""
    monkeypatch.setattr("sage.core.api._local_job.GRACE", 0.05)
    build, named = STUCK[what]
    gate = Quiet.gate = Gate()
    env = LocalEnvironment()
    build(env, gate).sink(lambda value: None)
    job = env.submit()
    assert isinstance(job, LocalJob)
    try:
        assert gate.reached.wait(LIMIT)
        job.stop()
        status = job.wait(LIMIT)
    finally:
        gate.opened.set()
    assert status["status"] == "cancelled"
    assert "did not stop and was abandoned in " in status["reason"]
    assert f", in {named} (test_bad_input_stop.py:" in status["reason"]
