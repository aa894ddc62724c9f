"""`map_async`: coroutines side by side; their order, number, time-outs, failures, keys, and their end."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import math
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sage.core.api import (
    STOP,
    AsyncMapFunction,
    BaseService,
    ErrorPolicy,
    LocalEnvironment,
    MapFunction,
    SourceFunction,
    dead_letter,
    fail,
    retry,
    skip,
)
from sage.core.backends.inline import InlineBackend, InlineOptions
from sage.core.backends.local import LocalBackend
from sage.core.engine import coroutines
from sage.core.engine.attributes import load_attributes
from sage.core.engine.coordinator import Coordinator
from sage.core.engine.events import Attempt
from sage.core.engine.links import CREDITS
from sage.core.engine.operators import map_async
from sage.core.engine.operators.map_async import MapAsyncOperator
from sage.core.engine.output import BATCH_SIZE
from sage.core.engine.restoring import take_snapshot
from sage.core.engine.task import Task
from sage.core.engine.wiring import TaskSet, wire
from sage.core.errors import BudgetSpentError, GraphError, JobFailedError, PipelineError, RecordTimeoutError, StateError
from sage.core.models import FailureInfo
from sage.core.plan.planner import make_plan
from sage.core.plugins import backend as resolve_backend

LIMIT = 60.0

Function = Callable[[Any], Awaitable[Any]]


async def turns(count: int) -> None:
    """Let the others go on so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread, or another coroutine, brings about."""
    while not condition():  # noqa: ASYNC110 - what it waits for may be no event of this loop
        await asyncio.sleep(0.001)


async def double(value: int) -> int:
    await asyncio.sleep(0)
    return value * 2


def mapped(backend: str, records: Any, function: Any, *args: Any, **keywords: Any) -> list[Any]:
    """The results of one ``map_async`` that completes."""
    env = LocalEnvironment("map_async", backend)
    results = env.from_batch(records).map_async(function, *args, **keywords).collect()
    env.submit(autostop=True)
    return results


def failing(
    backend: str, records: Any, function: Any, *args: Any, **keywords: Any
) -> tuple[FailureInfo, BaseException]:
    """How a job of one ``map_async`` fails, and the exception behind it."""
    env = LocalEnvironment("map_async", backend)
    env.from_batch(records).map_async(function, *args, **keywords).collect()
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True)
    assert caught.value.failure is not None and caught.value.__cause__ is not None
    return caught.value.failure, caught.value.__cause__


def started(env: LocalEnvironment) -> Coordinator:
    job = Coordinator(env._builder.build(), LocalBackend(), Attempt(env.env_uuid, env.name))
    job.start()
    return job


class Scale(AsyncMapFunction[int, int]):
    def __init__(self, factor: int) -> None:
        self.factor = factor

    async def execute(self, value: int) -> int:
        await asyncio.sleep(0)
        return value * self.factor


class Called:
    async def __call__(self, value: int) -> int:
        return value * 2


async def times(factor: int, value: int) -> int:
    return value * factor


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    "given", [double, (Scale, 2), Scale(2), Called(), functools.partial(times, 2), Scale(2).execute]
)
def test_every_form_of_a_coroutine_function_is_awaited(backend: str, ordered: bool, given: Any) -> None:
    """A plain coroutine function, a class with arguments, an instance, and whatever else `async def` was written in."""
    function, *args = given if isinstance(given, tuple) else (given,)
    results = mapped(backend, range(2500), function, *args, ordered=ordered)
    assert (results if ordered else sorted(results)) == [value * 2 for value in range(2500)]


def test_none_is_a_value(backend: str) -> None:
    """Like `map`: the number of records never changes."""

    async def nothing(value: int) -> None:
        return None

    assert mapped(backend, range(3), nothing) == [None, None, None]


records = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), max_size=40)


@given(records=records, concurrency=st.integers(1, 9), ordered=st.booleans(), parallelism=st.integers(1, 3))
def test_results_are_those_of_map(
    records: list[tuple[int, int]], concurrency: int, ordered: bool, parallelism: int
) -> None:
    """Whatever each coroutine takes: in order the list that `map` gives, else the same records; never too many run."""
    running, most = 0, 0

    async def after(record: tuple[int, int]) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await turns(record[1])
        running -= 1
        return record[0]

    results = mapped("local", records, after, concurrency=concurrency, ordered=ordered)
    expected = [value for value, _ in records]
    assert (results if ordered else Counter(results)) == (expected if ordered else Counter(expected))
    assert most <= min(concurrency, len(records))
    many = mapped("local", records, after, concurrency=concurrency, ordered=ordered, parallelism=parallelism)
    assert Counter(many) == Counter(expected)


@settings(max_examples=40)
@given(records=records, concurrency=st.integers(1, 9), parallelism=st.integers(1, 3))
def test_the_order_of_each_key_is_kept_across_an_exchange(
    records: list[tuple[int, int]], concurrency: int, parallelism: int
) -> None:
    """Records of a key meet in one subtask, and leave it as they came."""

    async def after(record: tuple[int, tuple[int, int]]) -> tuple[int, tuple[int, int]]:
        await turns(record[1][1])
        return record

    env = LocalEnvironment("keys")
    stream = env.from_batch(list(enumerate(records))).keyby(lambda record: record[1][0])
    results = stream.map_async(after, concurrency=concurrency, parallelism=parallelism).collect()
    env.submit(autostop=True)
    assert sorted(results) == list(enumerate(records))
    for key in {value for value, _ in records}:
        numbers = [number for number, (value, _) in results if value == key]
        assert numbers == sorted(numbers)


def test_as_many_run_at_once_as_asked_for() -> None:
    """The first coroutines end only when the last that fits has begun."""
    begun: list[int] = []

    async def meet(value: int) -> int:
        begun.append(value)
        await until(lambda: len(begun) == 8)
        return value

    assert mapped("local", range(8), meet, concurrency=8) == list(range(8))


def test_unordered_results_leave_as_they_come() -> None:
    """The first record waits for the result of the second to have arrived."""
    arrived = threading.Event()

    async def overtake(value: int) -> int:
        if value == 0:
            await until(arrived.is_set)
        return value

    results: list[int] = []

    def note(value: int) -> None:
        results.append(value)
        arrived.set()

    env = LocalEnvironment("overtake")
    env.from_batch(range(2)).map_async(overtake, ordered=False).sink(note)
    env.submit(autostop=True)
    assert results == [1, 0]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_result_does_not_wait_for_company(ordered: bool) -> None:
    """It arrives while the coroutine of the next record is under way, and no input follows."""
    arrived = threading.Event()

    class OneByOne(SourceFunction):
        def __init__(self) -> None:
            self.given = 0

        def execute(self) -> Any:
            self.given += 1
            return self.given if self.given <= 2 else STOP

    async def wait(value: int) -> int:
        if value == 2:
            await until(arrived.is_set)
        return value

    results: list[int] = []

    def note(value: int) -> None:
        results.append(value)
        arrived.set()

    env = LocalEnvironment("latency")
    env.from_source(OneByOne).map_async(wait, ordered=ordered).sink(note)
    env.submit(autostop=True)
    assert results == [1, 2]


def test_inline_runs_one_coroutine_after_the_other() -> None:
    """In the caller's thread, each to its end, and its result to the end of the pipeline before the next is read."""
    events: list[Any] = []

    def read() -> Iterator[int]:
        for number in range(3):
            events.append(("read", number))
            yield number

    async def note(value: int) -> int:
        assert threading.current_thread() is threading.main_thread()
        events.append(("begin", value))
        await turns(3)
        events.append(("end", value))
        return value

    env = LocalEnvironment("inline", "inline")
    env.from_batch(read).map_async(note).sink(lambda value: events.append(("sink", value)))
    env.submit(autostop=True)
    assert events == [(what, number) for number in range(3) for what in ("read", "begin", "end", "sink")]


def test_inline_runs_inside_another_loop() -> None:
    """As in a notebook, whose own loop runs on the thread from which the job is submitted."""

    async def notebook() -> list[int]:
        results = mapped("inline", range(3), double)
        await asyncio.sleep(0)
        return results

    assert asyncio.run(notebook()) == [0, 2, 4]


class Gate:
    """Coroutines that go on when they are let: for tests that look at what is under way."""

    def __init__(self) -> None:
        self.reached = threading.Semaphore(0)
        self.opened = threading.Event()

    async def __call__(self, value: Any) -> Any:
        self.reached.release()
        await until(self.opened.is_set)
        return value

    def await_(self, count: int) -> None:
        for _ in range(count):
            assert self.reached.acquire(timeout=LIMIT)


def quiet(growing: list[Any]) -> None:
    """Return once a list has not grown for a while."""
    pause, before = threading.Event(), -1
    while before != len(growing):
        before = len(growing)
        pause.wait(0.3)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_fast_source_does_not_run_ahead(ordered: bool) -> None:
    """No more records are taken than there is room for; the rest waits in channels that are bounded."""
    read: list[int] = []
    gate = Gate()

    def source() -> Iterator[int]:
        for number in range(50_000):
            read.append(number)
            yield number

    env = LocalEnvironment("fast")
    results = env.from_batch(source).map_async(gate, concurrency=4, ordered=ordered).collect()
    job = started(env)
    gate.await_(4)
    quiet(read)
    assert len(read) <= (CREDITS + 2) * BATCH_SIZE
    operator = next(item for item in job.metrics().operators if item.kind == "map_async")
    assert (operator.records_in, operator.records_out) == (4, 0)
    assert not gate.reached.acquire(blocking=False)
    gate.opened.set()
    assert job.join(LIMIT) and job.state == "completed"
    assert (results if ordered else sorted(results)) == list(range(50_000))


def test_what_waits_for_its_turn_is_bounded() -> None:
    """While the first of many is under way, the others go on for a while, and no further."""
    opened = threading.Event()
    ended: list[int] = []

    async def first(value: int) -> int:
        if value == 0:
            await until(opened.is_set)
        ended.append(value)
        return value

    env = LocalEnvironment("line")
    results = env.from_batch(range(100)).map_async(first, concurrency=4).collect()
    job = started(env)
    quiet(ended)
    assert ended == list(range(1, 8))
    opened.set()
    assert job.join(LIMIT) and job.state == "completed"
    assert results == list(range(100))


def test_a_slow_consumer_holds_the_coroutines_up() -> None:
    """Results that nobody takes leave no room for further records; nothing is lost when they are taken."""
    opened, taken = threading.Event(), list[int]()
    begun: list[int] = []

    async def note(value: int) -> int:
        begun.append(value)
        return value

    def slow(value: int) -> None:
        assert opened.wait(LIMIT)
        taken.append(value)

    env = LocalEnvironment("slow")
    env.from_batch(range(40_000)).map_async(note, concurrency=8).sink(slow)
    job = started(env)
    quiet(begun)
    assert len(begun) <= (CREDITS + 3) * BATCH_SIZE
    opened.set()
    assert job.join(LIMIT) and job.state == "completed"
    assert taken == list(range(40_000))


def opened_task(env: LocalEnvironment) -> tuple[Task, MapAsyncOperator, Task]:
    """A source's task and the task of the ``map_async`` behind it, opened, to be stepped by hand."""
    plan = make_plan(env._builder.build())
    wiring = wire(TaskSet(plan, plan.tasks), Attempt("job"), {}, print)
    source, task = wiring.tasks[:2]
    source.open()
    task.open()
    operator = task.chain.awaiting
    assert operator is not None
    return task, operator, source


@pytest.mark.parametrize("ordered", [True, False])
def test_what_is_in_flight_can_be_listed(ordered: bool) -> None:
    """In the order of the records, with their keys, until their results are put out: what a snapshot has to keep."""
    gate = asyncio.Event

    class Wait(AsyncMapFunction[int, int]):
        async def open(self, context: Any) -> None:
            self.events = [gate() for _ in range(5)]

        async def execute(self, value: int) -> int:
            await self.events[value].wait()
            return value

    env = LocalEnvironment("in flight")
    env.from_batch(range(5)).keyby(lambda value: f"key{value}").map_async(
        Wait, concurrency=3, ordered=ordered
    ).collect()
    task, operator, source = opened_task(env)
    while source.step() != "done":
        pass
    while task.step() != "wait":
        pass
    assert operator.in_flight() == [(0, "key0"), (1, "key1"), (2, "key2")]
    task.idle()  # lets them begin
    operator.function.events[1].set()
    while not operator._held or sum(call.done for call in operator._held) < 1:
        task.idle()
    assert operator.in_flight() == [(0, "key0"), (1, "key1"), (2, "key2")]
    while task.step() != "wait":
        pass
    rest = [(0, "key0"), (1, "key1"), (2, "key2"), (3, "key3")]
    assert operator.in_flight() == (rest if ordered else [item for item in rest if item[0] != 1])
    assert operator.waiting_at() is None or "execute" in str(operator.waiting_at())
    task.close()


@pytest.mark.parametrize("concurrency", [1, 2, 8])
def test_what_was_in_flight_is_done_again(concurrency: int) -> None:
    """Before all that follows, in its order, with its keys; also where fewer may run at once than before."""

    class Wait(AsyncMapFunction[int, tuple[str, int]]):
        def open(self, context: Any) -> None:
            self.calls = 0

        async def execute(self, value: int) -> tuple[str, int]:
            if not released:
                await asyncio.sleep(LIMIT * 10)
            return self.context.key, value

    def build(count: int, at_once: int, start: int = 0) -> tuple[LocalEnvironment, list[Any]]:
        env = LocalEnvironment("again")
        keyed = env.from_batch(range(start, start + count)).keyby(lambda value: f"key{value}")
        return env, keyed.map_async(Wait, concurrency=at_once, uid="wait").collect()

    released = False
    task, _, source = opened_task(build(5, 5)[0])
    while source.step() != "done":
        pass
    while task.step() != "wait":
        pass
    task.idle()
    saved = task.snapshot()
    task.close()
    released = True
    env, results = build(3, concurrency, start=5)
    attempt = Attempt(env.env_uuid, env.name, restored={uid: [snapshot] for uid, snapshot in saved.items()})
    job = Coordinator(env._builder.build(), LocalBackend(), attempt)
    job.start()
    assert job.join(LIMIT) and job.state == "completed", job.failure
    assert results == [(f"key{value}", value) for value in range(8)]
    operator_metrics = next(item for item in job.metrics().operators if item.kind == "map_async")
    assert (operator_metrics.records_in, operator_metrics.records_out) == (8, 8)


def test_what_belongs_to_the_loop_is_no_state() -> None:
    """A lock that was held when it was saved would be held for ever."""

    class Locked(AsyncMapFunction[int, int]):
        def __init__(self) -> None:
            self.lock = asyncio.Lock()
            self.count = 0

        async def execute(self, value: int) -> int:
            async with self.lock:
                self.count += 1
                await asyncio.sleep(LIMIT * 10)
            return value

    env = LocalEnvironment("lock")
    env.from_batch(range(2)).map_async(Locked).collect()
    task, operator, source = opened_task(env)
    while source.step() != "done":
        pass
    while task.step() != "wait":
        pass
    while not operator.function.count:
        task.idle()
    saved = take_snapshot(operator).attributes
    task.close()
    assert saved is not None and load_attributes(saved, None) == {"count": 1}


def test_keyed_state_is_refused(backend: str) -> None:
    """Coroutines of one key would write into each other's."""

    class Counts(AsyncMapFunction[int, int]):
        def open(self, context: Any) -> None:
            self.count = context.value_state("count", 0)

        async def execute(self, value: int) -> int:
            return value

    env = LocalEnvironment("state", backend)
    env.from_batch(range(2)).keyby(abs).map_async(Counts).collect()
    with pytest.raises(JobFailedError, match="keyed state 'count' cannot be declared") as caught:
        env.submit(autostop=True)
    assert type(caught.value.__cause__) is StateError


def test_metrics_count_the_time_until_the_result(backend: str) -> None:
    """Latency holds the wait of a coroutine; a task whose coroutines only wait is not busy."""

    async def wait(value: int) -> int:
        await asyncio.sleep(0.05)
        return value

    env = LocalEnvironment("metrics", backend)
    env.from_batch(range(4)).map_async(wait, concurrency=2).collect()
    job = Coordinator(env._builder.build(), resolve_backend(backend), Attempt(env.env_uuid, env.name))
    job.start()
    assert job.join(LIMIT) and job.state == "completed"
    operator = next(item for item in job.metrics().operators if item.kind == "map_async")
    assert (operator.records_in, operator.records_out) == (4, 4)
    assert operator.latency.p50 is not None and operator.latency.p50 > 0.04


def test_virtual_time_is_not_waited_for() -> None:
    """On `inline` with the virtual clock a coroutine sleeps for a day, and times out after an hour, at once."""

    async def sleeps(value: int) -> float:
        begun = asyncio.get_running_loop().time()
        await asyncio.sleep(86_400 if value else 60)
        return asyncio.get_running_loop().time() - begun

    env = LocalEnvironment("virtual")
    results = env.from_batch(range(2)).map_async(sleeps).collect()
    late = env.from_batch(range(2)).map_async(sleeps, timeout=3600, on_error=skip()).collect()
    backend = InlineBackend(InlineOptions(clock="virtual"))
    job = Coordinator(env._builder.build(), backend, Attempt(env.env_uuid, env.name))
    job.start()
    assert job.join(LIMIT) and job.state == "completed", job.failure
    assert [round(seconds) for seconds in results] == [60, 86_400]
    assert [round(seconds) for seconds in late] == [60]


def test_short_sleeps_need_no_selectable_file(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process with many open files the loop waits as asyncio does."""
    monkeypatch.setattr(coroutines, "_SELECTABLE", 0)

    async def sleeps(value: int) -> int:
        await asyncio.sleep(0.002)
        return value

    assert mapped(backend, range(5), sleeps) == list(range(5))


# Errors


async def picky(value: int) -> int:
    await turns(value % 3)
    if value == 7:
        raise ValueError("seven")
    return value


@pytest.mark.parametrize("ordered", [True, False])
def test_a_failing_coroutine_fails_the_job_and_is_named(backend: str, ordered: bool) -> None:
    """Record, line and operator, as of any function; the traceback begins in the user's own code."""
    failure, error = failing(backend, range(20), picky, ordered=ordered)
    assert type(error) is ValueError
    assert failure.message == "map_async 'picky' failed: ValueError: seven"
    assert (failure.operator, failure.record, failure.error_type) == ("picky", "7", "ValueError")
    assert failure.location is not None and failure.location.startswith("test_map_async.py:")
    assert failure.traceback is not None
    assert failure.traceback.splitlines()[1].endswith("in picky")
    assert "sage/core" not in failure.traceback and "asyncio" not in failure.traceback


@pytest.mark.parametrize("ordered", [True, False])
def test_policies_apply_record_by_record(backend: str, ordered: bool) -> None:
    """What is skipped or dead-lettered leaves a gap and nothing else; a dead letter names record and reason."""
    kept = [value for value in range(20) if value != 7]
    results = mapped(backend, range(20), picky, ordered=ordered, on_error=skip())
    assert (results if ordered else sorted(results)) == kept
    env = LocalEnvironment("letters", backend)
    stream = env.from_batch(range(20)).map_async(picky, ordered=ordered, on_error=dead_letter())
    results, letters = stream.collect(), stream.dead_letters.collect()
    env.submit(autostop=True)
    assert (results if ordered else sorted(results)) == kept
    assert [(letter.record, letter.failure.error_type) for letter in letters] == [(7, "ValueError")]


def test_budgets_are_kept(backend: str) -> None:
    """One record too many that is given up fails the job, and so does too large a share."""

    async def even(value: int) -> int:
        if value % 2:
            raise ValueError(value)
        return value

    for policy in (skip(at_most=3), skip(ratio=0.25)):
        _, error = failing(backend, range(200), even, on_error=policy)
        assert type(error) is BudgetSpentError
    assert len(mapped(backend, range(200), even, on_error=skip(ratio=0.5))) == 100


class Flaky(AsyncMapFunction[int, tuple[int, int]]):
    """Each record fails a number of times before it succeeds."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.tries: Counter[int] = Counter()

    async def execute(self, value: int) -> tuple[int, int]:
        self.tries[value] += 1
        self.context.side_output("tries", (value, self.tries[value]))
        await turns(value % 4)
        if value % 3 == 0 and self.tries[value] <= self.failures:
            raise ConnectionError(value)
        return value, self.tries[value]


@pytest.mark.parametrize("ordered", [True, False])
def test_retries_keep_the_order_and_release_only_the_last_try(backend: str, ordered: bool) -> None:
    """A record that succeeds in the end is put out in its place, with what its last call put out on the side."""
    env = LocalEnvironment("retry", backend)
    stream = env.from_batch(range(12)).map_async(Flaky, 2, ordered=ordered, on_error=retry(2, backoff=0.001))
    results, aside = stream.collect(), stream.side_output("tries").collect()
    job = env.submit(autostop=True)
    expected = [(value, 1 if value % 3 else 3) for value in range(12)]
    assert (results if ordered else sorted(results)) == expected
    assert (aside if ordered else sorted(aside)) == expected
    assert job.status()["skipped"] == 0
    failure, error = failing(backend, range(12), Flaky, 3, on_error=retry(2, backoff=0))
    assert type(error) is ConnectionError and failure.record == "0"
    assert [value for value, _ in mapped(backend, range(4), Flaky, 9, on_error=retry(1, backoff=0, then=skip()))] == [
        1,
        2,
    ]


def test_a_backoff_holds_up_nobody_else() -> None:
    """While a record waits to be tried again, others are done; it succeeds once they are."""
    done: list[int] = []

    async def wait_for_others(value: int) -> int:
        if value == 0 and len(done) < 9:
            raise ConnectionError("not yet")
        done.append(value)
        return value

    policy = retry(1000, backoff=0.001)
    assert sorted(mapped("local", range(10), wait_for_others, concurrency=2, ordered=False, on_error=policy)) == list(
        range(10)
    )
    assert done[-1] == 0


async def for_ever(value: int) -> int:
    if value == 3:
        await asyncio.sleep(LIMIT * 10)
    return value


@pytest.mark.parametrize("ordered", [True, False])
def test_a_coroutine_that_takes_too_long_is_cancelled(backend: str, ordered: bool) -> None:
    """The record fails by an error of its own kind, whose cause tells where the coroutine was; policies apply."""
    failure, error = failing(backend, range(6), for_ever, timeout=0.05, ordered=ordered, name="fetch")
    assert type(error) is RecordTimeoutError
    assert (error.operator, error.seconds) == ("fetch", 0.05)
    assert failure.message.startswith("map_async 'fetch' failed: ")
    assert "the coroutine of 'fetch' did not end within 0.05 s\n  hint: give it longer" in failure.message
    assert failure.record == "3"
    assert failure.traceback is not None and "in for_ever" in failure.traceback
    results = mapped(backend, range(6), for_ever, timeout=0.05, ordered=ordered, on_error=skip())
    assert (results if ordered else sorted(results)) == [0, 1, 2, 4, 5]


def test_a_time_out_is_retried_like_any_failure(backend: str) -> None:
    """Each try has its own time."""
    tries: list[int] = []

    async def third(value: int) -> int:
        tries.append(value)
        if len(tries) < 3:
            await asyncio.sleep(LIMIT * 10)
        return value

    assert mapped(backend, [5], third, timeout=0.02, on_error=retry(2, backoff=0)) == [5]
    assert tries == [5, 5, 5]


def test_a_result_that_comes_too_late_does_not_count(backend: str) -> None:
    """Also of a coroutine that takes no notice of being cancelled, or fails while it is."""

    async def deaf(value: int) -> int:
        try:
            await asyncio.sleep(LIMIT * 10)
        except asyncio.CancelledError:
            if value:
                raise LookupError("while being cancelled") from None
        return value

    for value in (0, 1):
        failure, error = failing(backend, [value], deaf, timeout=0.02)
        assert type(error) is RecordTimeoutError
        assert ("while being cancelled" in str(failure.traceback)) == bool(value)


def test_the_users_own_time_outs_are_errors_like_others(backend: str) -> None:
    """A TimeoutError of their own stays what it is."""

    async def own(value: int) -> int:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(LIMIT * 10)
        return value

    _, error = failing(backend, [1], own, timeout=LIMIT)
    assert type(error) is TimeoutError


async def gives_up(value: int) -> int:
    raise asyncio.CancelledError("mine")


async def cancels_itself(value: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return value


async def cancels_all(value: int) -> int:
    if value == 0:
        for task in asyncio.all_tasks():
            task.cancel()
    await asyncio.sleep(0)
    return value


@pytest.mark.parametrize("function", [gives_up, cancels_itself, cancels_all])
def test_a_cancelled_error_of_the_users_own_is_a_failure_of_the_record(backend: str, function: Function) -> None:
    """It ends no job quietly, and policies apply to it."""
    failure, error = failing(backend, range(3), function)
    assert type(error) is asyncio.CancelledError
    assert failure.record is not None and failure.error_type == "asyncio.exceptions.CancelledError"
    results = mapped(backend, range(3), function, on_error=retry(1, backoff=0, then=skip()))
    assert set(results) <= {0, 1, 2}


class Fatal(BaseException):
    """Derived from nothing that one catches."""


def deep(value: int) -> int:
    return deep(value) + 1


@pytest.mark.parametrize("policy", [fail(), skip()])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, Fatal])
def test_what_nobody_should_catch_fails_the_job_under_any_policy(
    backend: str, kind: type[BaseException], policy: ErrorPolicy
) -> None:
    """As in `map`; the record is named, and the thread ends in good order."""

    async def fatal(value: int) -> int:
        await asyncio.sleep(0)
        if value == 2:
            raise kind("fatal")
        return value

    env = LocalEnvironment("fatal", backend)
    env.from_batch(range(5)).map_async(fatal, on_error=policy).collect()
    if kind is KeyboardInterrupt and backend == "inline":  # like Ctrl-C that meets the user's code
        with pytest.raises(KeyboardInterrupt, match="fatal"):
            env.submit(autostop=True)
        return
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True)
    assert type(caught.value.__cause__) is kind
    assert caught.value.failure is not None and caught.value.failure.record == "2"


def test_stop_iteration_and_stack_overflow_are_errors_like_others(backend: str) -> None:
    """Python itself makes a RuntimeError of the first; the second is one of many frames."""

    async def stop(value: int) -> int:
        raise StopIteration(value)

    async def overflow(value: int) -> int:
        return deep(value)

    failure, error = failing(backend, [1], stop)
    assert type(error) is RuntimeError and "StopIteration" in failure.message and failure.record == "1"
    failure, error = failing(backend, [1], overflow)
    assert type(error) is RecursionError and failure.record == "1"
    assert mapped(backend, [1], overflow, on_error=skip()) == []


def ends() -> Any:
    return next(iter(()))


class Ending(BaseService):
    def price(self) -> Any:
        return ends()


class PriceOrEnd(AsyncMapFunction[int, Any]):
    async def execute(self, value: int) -> Any:
        return await (asyncio.to_thread(ends) if value == 0 else self.call_service_async("ending").price())


def test_stop_iteration_on_a_thread_does_not_hang(backend: str) -> None:
    """No future can carry it: who awaits the call of a function or a service gets an error like others."""
    for policy, left in ((fail(), None), (skip(), [])):
        env = LocalEnvironment("stop", backend)
        env.register_service("ending", Ending)
        results = env.from_batch([0, 1]).map_async(PriceOrEnd, on_error=policy).collect()
        if left is None:
            with pytest.raises(JobFailedError, match="raised StopIteration") as caught:
                env.submit(autostop=True, timeout=LIMIT)
            assert type(caught.value.__cause__) is RuntimeError
            assert type(caught.value.__cause__.__cause__) is StopIteration
        else:
            env.submit(autostop=True, timeout=LIMIT)
            assert results == left


def test_a_failure_does_not_wait_for_earlier_records() -> None:
    """In order, too, where the first coroutine would never end."""

    async def second(value: int) -> int:
        if value == 1:
            raise ValueError("second")
        await asyncio.sleep(LIMIT * 10)
        return value

    failure, _ = failing("local", range(2), second)
    assert failure.record == "1"


@pytest.mark.parametrize("backend", ["local"])
def test_others_are_cancelled_when_one_fails(backend: str) -> None:
    """Their clean-up runs, and the function is closed after it."""
    events: list[str] = []

    class Cleans(AsyncMapFunction[int, int]):
        async def execute(self, value: int) -> int:
            if value == 3:
                await turns(5)
                raise ValueError("three")
            try:
                await asyncio.sleep(LIMIT * 10)
            finally:
                await asyncio.sleep(0)
                events.append(f"cleaned {value}")
            return value

        def close(self) -> None:
            events.append("closed")

    failure, _ = failing(backend, range(4), Cleans)
    assert failure.record == "3"
    assert sorted(events[:-1]) == ["cleaned 0", "cleaned 1", "cleaned 2"] and events[-1] == "closed"


def test_what_runs_beside_the_coroutines_fails_the_job_too() -> None:
    """A callback on the loop that exits must not end the thread without a word."""

    def leave() -> None:
        raise SystemExit("from a callback")

    async def schedules(value: int) -> int:
        asyncio.get_running_loop().call_soon(leave)
        await asyncio.sleep(LIMIT * 10)
        return value

    failure, error = failing("local", [1], schedules)
    assert type(error) is SystemExit and failure.operator == "schedules"


def test_callbacks_that_exit_while_the_loop_ends_leave_nothing(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    """One for each coroutine: what is cancelled ends all the same."""
    ended = []

    async def schedules(value: int) -> int:
        for _ in range(5):
            asyncio.get_running_loop().call_soon(sys.exit, 3)
        try:
            await asyncio.sleep(LIMIT * 10)
        finally:
            ended.append(value)
        return value

    _, error = failing(backend, [1, 2, 3], schedules)
    assert type(error) is SystemExit
    assert ended == ([1] if backend == "inline" else [1, 2, 3])
    gc.collect()
    assert caplog.messages == []


# Life


def test_open_and_close_may_be_coroutine_functions(backend: str) -> None:
    """They run on the loop on which `execute` does, so that a session can belong to it; or they are plain functions."""
    events: list[Any] = []

    class Session(AsyncMapFunction[int, int]):
        async def open(self, context: Any) -> None:
            await asyncio.sleep(0)
            self.loop = asyncio.get_running_loop()
            self.lock = asyncio.Lock()
            self.poll = asyncio.create_task(asyncio.sleep(LIMIT * 10))
            events.append(context.operator)

        async def execute(self, value: int) -> int:
            async with self.lock:
                assert asyncio.get_running_loop() is self.loop
                return value

        async def close(self) -> None:
            assert asyncio.get_running_loop() is self.loop
            await asyncio.sleep(0)
            events.append("closed")

    class Plain(AsyncMapFunction[int, int]):
        def open(self, context: Any) -> None:
            events.append("open")

        async def execute(self, value: int) -> int:
            return value

        def close(self) -> None:
            events.append("close")

    assert mapped(backend, range(3), Session) == [0, 1, 2]
    assert mapped(backend, range(3), Plain) == [0, 1, 2]
    assert events == ["Session", "closed", "open", "close"]


@pytest.mark.parametrize("phase", ["open", "close"])
def test_what_open_and_close_raise_fails_the_job(backend: str, phase: str) -> None:
    """Also from a coroutine, named by phase."""

    class Broken(AsyncMapFunction[int, int]):
        async def open(self, context: Any) -> None:
            await self.fail("open")

        async def execute(self, value: int) -> int:
            return value

        async def close(self) -> None:
            await self.fail("close")

        async def fail(self, now: str) -> None:
            await asyncio.sleep(0)
            if now == phase:
                raise SystemExit(now)

    failure, error = failing(backend, range(3), Broken)
    assert failure.message == f"map_async 'Broken' failed in {phase}(): SystemExit: {phase}"
    assert type(error) is SystemExit
    assert failure.traceback is not None and failure.traceback.splitlines()[1].endswith(f"in {phase}")


def test_an_open_that_waits_for_ever_can_be_cancelled() -> None:
    """Its coroutine is cancelled like any other, and `close` is called."""
    begun, closed = threading.Event(), threading.Event()

    class Hangs(AsyncMapFunction[int, int]):
        async def open(self, context: Any) -> None:
            begun.set()
            await asyncio.sleep(LIMIT * 10)

        async def execute(self, value: int) -> int:
            return value

        def close(self) -> None:
            closed.set()

    env = LocalEnvironment("hangs")
    env.from_batch([1]).map_async(Hangs).collect()
    job = started(env)
    assert begun.wait(LIMIT)
    job.cancel()
    assert job.join(LIMIT)
    assert job.state == "cancelled" and closed.is_set()


@pytest.mark.parametrize("ordered", [True, False])
def test_cancelling_ends_what_is_under_way(ordered: bool, caplog: pytest.LogCaptureFixture) -> None:
    """At once, without a word of asyncio's about tasks that were left behind."""
    gate = Gate()
    env = LocalEnvironment("cancel")
    results = env.from_batch(range(100)).map_async(gate, concurrency=10, ordered=ordered).collect()
    job = started(env)
    gate.await_(10)
    job.cancel()
    assert job.join(LIMIT)
    assert (job.state, results) == ("cancelled", [])
    gc.collect()
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 300),
    concurrency=st.sampled_from([1, 3, 32]),
    parallelism=st.integers(1, 3),
    ordered=st.booleans(),
    timeout=st.sampled_from([None, 0.002]),
    policy=st.sampled_from([fail(), skip(), retry(2, backoff=0.001, then=skip())]),
)
def test_a_job_can_be_cancelled_at_any_moment(
    count: int,
    concurrency: int,
    parallelism: int,
    ordered: bool,
    timeout: float | None,
    policy: ErrorPolicy,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever is under way then: it ends, nothing is abandoned, and asyncio has nothing to complain of."""
    reached = threading.Event()

    async def mixed(value: int) -> int:
        if value == count // 2:
            reached.set()
        if value % 7 == 0:
            await asyncio.to_thread(abs, value)
        await asyncio.sleep(0.003 if value % 3 else 0)
        if value % 50 == 49:
            raise ValueError(value)
        return value

    env = LocalEnvironment("any moment")
    env.from_batch(range(count)).keyby(lambda value: value % 5).map_async(
        mixed, concurrency=concurrency, parallelism=parallelism, ordered=ordered, timeout=timeout, on_error=policy
    ).collect()
    reasons: list[str | None] = []
    job = Coordinator(
        env._builder.build(),
        LocalBackend(),
        Attempt(env.env_uuid, env.name),
        on_state=lambda state, reason, failure: reasons.append(reason),
    )
    job.start()
    while not (reached.wait(0.01) or job.is_ended):
        pass
    job.cancel()
    assert job.join(LIMIT)
    assert job.state in ("cancelled", "completed", "failed")
    assert not any("abandoned" in str(reason) for reason in reasons)
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


def test_a_coroutine_that_swallows_its_cancellation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job ends when the time to stop is over, and tells where the coroutine is."""
    gate, left = Gate(), threading.Event()

    async def deaf(value: int) -> int:
        while not left.is_set():
            try:
                await gate(value)
            except asyncio.CancelledError:
                continue
        return value

    env = LocalEnvironment("deaf")
    env.from_batch(range(2)).map_async(deaf).collect()
    reasons: list[str | None] = []
    job = Coordinator(
        env._builder.build(),
        LocalBackend(),
        Attempt(env.env_uuid, env.name),
        on_state=lambda state, reason, failure: reasons.append(reason),
    )
    job.start()
    gate.await_(2)
    job.cancel(grace=0.1)
    assert job.join(LIMIT)
    assert job.state == "cancelled"
    assert reasons[-1] is not None and "until (" in reasons[-1] and "and 1 more coroutine" in reasons[-1]
    left.set()
    gate.opened.set()


def test_a_failure_is_told_though_a_coroutine_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets a while to end; then it is left, and named beside the failure."""
    monkeypatch.setattr(map_async, "GRACE", 0.1)

    async def deaf(value: int) -> int:
        if value == 1:
            await asyncio.sleep(0)
            raise ValueError("one")
        while True:
            try:
                await asyncio.sleep(LIMIT * 10)
            except asyncio.CancelledError:
                continue

    failure, error = failing("local", range(2), deaf)
    gc.collect()
    assert type(error) is ValueError and failure.record == "1"
    assert failure.traceback is not None
    assert "did not end within 0.1 s of being cancelled; the first is at deaf (" in failure.traceback


def test_a_coroutine_that_blocks_the_loop_is_named() -> None:
    """While it does not return, the status says so; a cancel does not wait for it."""
    begun, opened = threading.Event(), threading.Event()

    async def block(value: int) -> int:
        begun.set()
        opened.wait(LIMIT)
        return value

    env = LocalEnvironment("block")
    env.from_batch([1]).map_async(block).collect()
    job = started(env)
    assert begun.wait(LIMIT)
    until = time.monotonic() + LIMIT
    while not job.metrics().blocked and time.monotonic() < until:
        threading.Event().wait(0.05)
    assert "has not returned from wait (" in job.metrics().blocked[0]
    job.cancel(grace=0.1)
    assert job.join(LIMIT)
    assert job.state == "cancelled"
    opened.set()


def test_coroutines_that_wait_are_not_called_blocked() -> None:
    """To wait is what they are there for."""
    gate = Gate()
    env = LocalEnvironment("waits")
    env.from_batch([1]).map_async(gate).collect()
    job = started(env)
    gate.await_(1)
    threading.Event().wait(1.5)
    assert job.metrics().blocked == ()
    gate.opened.set()
    assert job.join(LIMIT) and job.state == "completed"


def test_nothing_is_left_of_a_job(backend: str) -> None:
    """Loops are closed with their files, and their threads end."""
    mapped(backend, range(3), on_a_thread)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        mapped(backend, range(3), on_a_thread)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_a_call_on_a_thread_that_does_not_return_holds_nobody_up(tmp_path: Path) -> None:
    """The job is cancelled without it, and the program ends all the same, as with any function that does not return."""
    script = tmp_path / "stuck.py"
    script.write_text(
        """
import asyncio, threading
from sage.core.api import LocalEnvironment, STOP

begun = threading.Event()

def hang():
    begun.set()
    threading.Event().wait()

async def stuck(value):
    await asyncio.to_thread(hang)

env = LocalEnvironment("stuck")
env.from_batch([1]).map_async(stuck).collect()
job = env.submit()
assert begun.wait(60)
job.stop()
print(job.wait()["status"])
"""
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=LIMIT)
    assert (done.stdout, done.stderr, done.returncode) == ("cancelled\n", "", 0)


def test_threads_are_no_more_than_coroutines() -> None:
    """Calls beyond that wait for a thread; what one raises arrives in the coroutine that called it."""
    running, most, guard = 0, 0, threading.Lock()

    def call(value: int) -> int:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.001)
        with guard:
            running -= 1
        if value == 9:
            raise LookupError("nine")
        return value

    async def calls(value: int) -> list[int]:
        return list(await asyncio.gather(*(asyncio.to_thread(call, value) for _ in range(5))))

    assert mapped("local", range(9), calls, concurrency=3) == [[value] * 5 for value in range(9)]
    assert 1 < most <= 3
    failure, error = failing("local", [9], calls)
    assert type(error) is LookupError and failure.record == "9"


async def on_a_thread(value: int) -> int:
    return await asyncio.to_thread(lambda: value)


# Keys, side outputs, services


class Keyed(AsyncMapFunction[int, tuple[Any, Any, Any, Any]]):
    """What its context tells it, at every point of a coroutine."""

    async def execute(self, value: int) -> tuple[Any, Any, Any, Any]:
        first = self.context.key
        await turns(value % 5)
        second, third = await asyncio.gather(self.look(), asyncio.to_thread(lambda: self.context.key))
        return value, first, second, third

    async def look(self) -> Any:
        await asyncio.sleep(0)
        return self.context.key


def test_each_coroutine_sees_the_key_of_its_own_record(backend: str) -> None:
    """Before and after it waited, in tasks that it starts, and on threads that it uses; behind it there is no key."""
    seen: list[Any] = []

    class Look(MapFunction):
        def execute(self, value: Any) -> Any:
            seen.append(self.context.key)
            return value

    env = LocalEnvironment("keys", backend)
    results = env.from_batch(range(30)).keyby(lambda value: f"key{value}").map_async(Keyed).map(Look).collect()
    env.submit(autostop=True)
    assert results == [(value, *[f"key{value}"] * 3) for value in range(30)]
    assert seen == [None] * 30
    assert mapped(backend, range(2), Keyed) == [(value, None, None, None) for value in range(2)]


class Aside(AsyncMapFunction[int, int]):
    """Puts out something before and after waiting; some records fail after that."""

    async def execute(self, value: int) -> int:
        self.context.side_output("aside", ("before", value))
        await turns(5 - value % 5)
        self.context.side_output("aside", ("after", value))
        self.context.side_output("nobody takes it", value)
        if value % 4 == 3:
            raise ValueError(value)
        return value


@pytest.mark.parametrize("ordered", [True, False])
def test_side_outputs_leave_with_the_result_of_their_record(backend: str, ordered: bool) -> None:
    """Never mixed up between records under way; withheld where the record fails."""
    env = LocalEnvironment("aside", backend)
    stream = env.from_batch(range(20)).map_async(Aside, ordered=ordered, on_error=skip())
    results, aside = stream.collect(), stream.side_output("aside").collect()
    env.submit(autostop=True)
    kept = [value for value in range(20) if value % 4 != 3]
    assert (results if ordered else sorted(results)) == kept
    assert aside == [(when, value) for value in results for when in ("before", "after")]


def test_a_side_output_that_comes_too_late_is_an_error(backend: str) -> None:
    """Of a task that the coroutine started and did not wait for: it is told, not lost."""
    errors: list[BaseException | None] = []

    class Late(AsyncMapFunction[int, int]):
        async def execute(self, value: int) -> int:
            if value == 0:
                self.task = asyncio.create_task(self.later())
            else:
                await until(self.task.done)
                errors.append(self.task.exception())
            return value

        async def later(self) -> None:
            await turns(50)
            self.context.side_output("aside", 1)

    env = LocalEnvironment("late", backend)
    stream = env.from_batch(range(2)).map_async(Late, ordered=False, concurrency=1)
    stream.collect()
    aside = stream.side_output("aside").collect()
    env.submit(autostop=True)
    assert aside == []
    assert [type(error) for error in errors] == [PipelineError]


class Prices(BaseService):
    async def of(self, value: int) -> int:
        await asyncio.sleep(0)
        return value * 3

    def plain(self, value: int) -> int:
        return value * 5

    async def fail(self, value: int) -> int:
        raise LookupError(f"no price for {value}")


class Price(AsyncMapFunction[int, int]):
    def __init__(self, method: str) -> None:
        self.method = method

    async def execute(self, value: int) -> int:
        result: int = await getattr(self.call_service_async("prices"), self.method)(value)
        return result


def test_services_can_be_called(backend: str) -> None:
    """Their coroutine methods on the loop, plain ones on threads; what they raise arrives in the coroutine."""
    for method, factor in (("of", 3), ("plain", 5)):
        env = LocalEnvironment("service", backend)
        env.register_service("prices", Prices)
        results = env.from_batch(range(40)).map_async(Price, method).collect()
        env.submit(autostop=True)
        assert results == [value * factor for value in range(40)]
    env = LocalEnvironment("service", backend)
    env.register_service("prices", Prices)
    env.from_batch([4]).map_async(Price, "fail").collect()
    with pytest.raises(JobFailedError, match="no price for 4") as caught:
        env.submit(autostop=True)
    assert caught.value.failure is not None and caught.value.failure.record == "4"


# Graphs


def test_it_is_a_stage_of_its_own() -> None:
    """Other code on its thread would hold up its coroutines, and let their time run out."""
    env = LocalEnvironment("stages")
    env.from_batch([1]).map(abs).map_async(double).map(abs).map_async(double).collect()
    plan = make_plan(env._builder.build())
    kinds = [[plan.operators[number].kind for number in stage.operators] for stage in plan.stages]
    assert kinds == [["collection", "map"], ["map_async"], ["map"], ["map_async"], ["sink"]]


def test_shapes_around_it(backend: str) -> None:
    """Behind a union, before a keyed reduce, branched, and one behind the other."""
    env = LocalEnvironment("shapes", backend)
    both = env.from_batch(range(50)).union(env.from_batch(range(50, 100))).map_async(double, parallelism=2)
    total = both.keyby(lambda value: value % 4).reduce(lambda a, b: a + b, final=True, parallelism=2).collect()
    again = both.map_async(double).collect()
    plain = both.collect()
    env.submit(autostop=True)
    assert sorted(plain) == [value * 2 for value in range(100)]
    assert sorted(again) == [value * 4 for value in range(100)]
    assert sum(total) == sum(plain)


@pytest.mark.parametrize(
    ("given", "keywords", "message"),
    [
        (lambda value: value, {}, "no coroutine function"),
        (abs, {}, "no coroutine function"),
        (double, {"concurrency": 0}, "concurrency must be a whole number from 1, not 0"),
        (double, {"concurrency": True}, "concurrency must be"),
        (double, {"concurrency": 2.5}, "concurrency must be"),
        (double, {"timeout": 0}, "timeout must be a number of seconds above 0, a timedelta, or None, not 0"),
        (double, {"timeout": math.inf}, "timeout must be"),
        (double, {"timeout": math.nan}, "timeout must be"),
        (double, {"timeout": "1"}, "timeout must be"),
        (double, {"ordered": 1}, "ordered must be"),
        (Scale, {"factor": 2, "concurency": 3}, "did you mean concurrency=?"),
    ],
)
def test_what_cannot_run_is_refused(given: Any, keywords: dict[str, Any], message: str) -> None:
    """Before anything runs, with a word about what was meant."""
    env = LocalEnvironment("wrong")
    env.from_batch([1]).map_async(given, **keywords).collect()
    with pytest.raises(GraphError) as caught:
        env.submit()
    assert message in str(caught.value)


def test_coroutine_functions_are_refused_elsewhere_and_others_here() -> None:
    """Each is told where it belongs."""

    async def generator(value: int) -> Any:
        yield value

    class Sync(MapFunction):
        def execute(self, value: int) -> int:
            return value

    class SyncExecute(AsyncMapFunction):
        def execute(self, value: int) -> int:  # type: ignore[override]
            return value

    class AsyncOpen(MapFunction):
        async def open(self, context: Any) -> None:
            pass

        def execute(self, value: int) -> int:
            return value

    env = LocalEnvironment("wrong")
    source = env.from_batch([1])
    stream: Any = source
    stream.map(double).collect()
    stream.map(Scale, 2).collect()
    stream.map(AsyncOpen).collect()
    stream.map_async(generator).collect()
    stream.map_async(Sync).collect()
    stream.map_async(SyncExecute).collect()
    with pytest.raises(GraphError) as caught:
        env.submit()
    text = str(caught.value)
    assert len(caught.value.problems) == 6
    assert text.count(".map_async(…)") >= 2
    assert "its open is a coroutine function, which only map_async awaits" in text
    assert "is an async generator function" in text
    assert "is a map function, but this is a map_async operator" in text
    assert "its execute is no coroutine function" in text


def test_annotations_are_checked() -> None:
    """What the coroutine is annotated to return is what flows on."""

    async def text(value: int) -> str:
        return str(value)

    async def number(value: int) -> int:
        return value

    env = LocalEnvironment("types")
    stream: Any = env.from_batch([1]).map_async(text)
    stream.map_async(number).collect()
    with pytest.raises(GraphError, match="takes int, but gets str from map_async 'text'"):
        env.submit()
