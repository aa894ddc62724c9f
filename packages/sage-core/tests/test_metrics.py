"""What is measured of operators and edges, on real runs; where time matters, by a clock that the test sets."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import Job, LocalEnvironment, MapFunction, dead_letter, retry, skip
from sage.core.engine.clock import VirtualClock
from sage.core.engine.coordinator import Coordinator
from sage.core.engine.events import Attempt, InputCounts, OperatorCounts, TaskCounts
from sage.core.engine.histogram import ERROR, Histogram
from sage.core.engine.links import CREDITS, Inbox, LocalLink
from sage.core.engine.messages import Batch, EndOfInput
from sage.core.engine.metrics import JobMeter, RateMeter, counts_of_inputs
from sage.core.engine.wiring import TaskSet, wire
from sage.core.models import JobMetrics, Latency, OperatorMetrics
from sage.core.plan.model import TaskId
from sage.core.plan.planner import make_plan
from sage.core.plugins import backend as resolve_backend

LIMIT = 60.0


def by_uid(metrics: JobMetrics) -> dict[str, OperatorMetrics]:
    return {item.uid: item for item in metrics.operators}


def ran(env: LocalEnvironment, backend: str) -> JobMetrics:
    """The metrics of a pipeline that has run to its end, whatever that was."""
    job = Coordinator(env._builder.build(), resolve_backend(backend), Attempt("job"))
    job.start()
    assert job.join(LIMIT)
    return job.metrics()


def until(job: Job, holds: Callable[[JobMetrics], bool]) -> JobMetrics:
    """The first metrics for which ``holds``."""
    pause, metrics = threading.Event(), job.metrics()
    for _ in range(int(LIMIT / 0.01)):
        if holds(metrics):
            return metrics
        pause.wait(0.01)
        metrics = job.metrics()
    raise AssertionError(f"it never came to that: {metrics}")


def test_every_record_and_batch_is_measured_once(backend: str) -> None:
    """Latencies are counted per record, waits per batch; nothing is left in a buffer, nothing flows any more."""
    env = LocalEnvironment("all")
    out: list[int] = []
    env.from_batch(range(5_000)).map(lambda x: x + 1).keyby(lambda x: x % 7).map(lambda x: x, parallelism=2).sink(
        out.append
    )
    metrics = ran(env, backend)
    operators, edges = by_uid(metrics), metrics.edges
    assert len(out) == 5_000
    assert {item.latency.count for item in operators.values()} == {5_000}
    assert [edge.wait.count for edge in edges] == [edge.batches for edge in edges]
    assert [edge.records for edge in edges] == [5_000, 5_000]
    for latency in (*(item.latency for item in operators.values()), *(edge.wait for edge in edges)):
        assert 0 < latency.p50 <= latency.p95 <= latency.p99
        assert sum(count for _, count in latency.buckets) == latency.count
        assert latency.seconds > 0
    assert {edge.fill for edge in edges} == {0}
    assert {(item.rate_in, item.rate_out, item.errors) for item in operators.values()} == {(0, 0, 0)}


def test_operators_of_a_task_share_its_latency(backend: str) -> None:
    """Chained operators work on a slice together, so they are measured together."""
    env = LocalEnvironment("chain")
    env.from_batch(range(100)).map(str).map(len).sink(lambda x: None)
    assert len({item.latency for item in ran(env, backend).operators}) == 1


class Later(MapFunction):
    """Takes two virtual seconds for each record."""

    clock: VirtualClock

    def execute(self, value: int) -> int:
        self.clock._now += 2.0
        return value


def test_latency_is_from_arrival_to_the_end_of_the_slice() -> None:
    """What waited three seconds and took two more was there for five; the batch waited for three."""
    clock = Later.clock = VirtualClock(100.0)
    env = LocalEnvironment()
    env.from_batch([]).map(Later, parallelism=2).sink(lambda x: None, parallelism=2)
    plan = make_plan(env._builder.build())
    wiring = wire(TaskSet(plan, plan.tasks), Attempt("job"), {}, print, clock=clock)
    task = next(task for task in wiring.tasks if task.chain.source is None)
    inbox = next(inbox for channel, inbox in wiring.inboxes.items() if channel.target == task.id.subtask)
    task.open()
    inbox.put(Batch([7]))
    assert task.counts().inputs == {inbox.edge: InputCounts(1 / CREDITS)}
    clock._now += 3.0
    assert task.step() == "wait"
    counts = task.counts()
    assert counts.latency.seconds == 5.0
    assert counts.inputs[inbox.edge].waits.seconds == 3.0
    assert counts.inputs[inbox.edge].fill == 0.0
    assert counts.busy == 1.0  # since its first step
    task.close()


def test_a_source_is_measured_from_the_start_of_its_slice() -> None:
    """Its records arrive when it begins to make them; each of a slice is there until the slice ends."""
    clock = Later.clock = VirtualClock()
    env = LocalEnvironment()
    env.from_batch([1, 2, 3]).map(Later).sink(lambda x: None)
    plan = make_plan(env._builder.build())
    (task,) = wire(TaskSet(plan, plan.tasks), Attempt("job"), {}, print, clock=clock).tasks
    task.open()
    while task.step() != "done":
        pass
    assert task.counts().latency.count == 3
    assert task.counts().latency.seconds == 6.0  # slices of one record, since they are slow


def test_a_blocked_sink_fills_the_buffer_before_it() -> None:
    """The buffer is full, the producer waits, the sink is busy with a call that has not returned: all seen at once."""
    opened = threading.Event()

    def blocked(value: int) -> None:
        assert opened.wait(LIMIT)

    env = LocalEnvironment("blocked", "local")
    env.from_batch(range(50_000)).rebalance().sink(blocked, parallelism=2)
    job = env.submit()
    try:
        # each subtask has only taken the batch that it has in hand
        until(job, lambda metrics: metrics.edges[0].fill == 1.0 and metrics.edges[0].wait.count == 2)
        metrics = until(
            job, lambda metrics: metrics.operators[0].backpressured > 0.1 and metrics.operators[-1].busy > 0.1
        )
        assert metrics.edges[0].fill == 1.0
        assert metrics.edges[0].wait.count == 2
        assert metrics.operators[-1].latency.count == 0
    finally:
        opened.set()
        job.wait(LIMIT)
    assert job.metrics().edges[0].fill == 0.0
    assert job.metrics().operators[-1].latency.count == 50_000


def test_fill_is_that_of_the_fullest_channel() -> None:
    """A producer stops at the first channel without credits, so that is the one to know of."""
    inboxes = [Inbox(lambda: None, edge=edge) for edge in (3, 3, 4)]
    for inbox, credits in zip(inboxes, (4, 4, None), strict=True):
        LocalLink(inbox, credits).offer(EndOfInput())
    for _ in range(2):
        inboxes[0].put(Batch([1]))
    assert {edge: counts.fill for edge, counts in counts_of_inputs(inboxes).items()} == {3: 0.75, 4: 0.0}


def test_only_batches_wait() -> None:
    """The end of input is no batch; inboxes that share a histogram are not counted twice."""
    shared = Histogram()
    one, two = (Inbox(lambda: None, edge=1, waits=shared) for _ in range(2))
    for inbox in (one, two):
        inbox.put(Batch([1]))
        inbox.put(EndOfInput())
        assert (inbox.take(), inbox.take(), inbox.take()) == (Batch([1]), EndOfInput(), None)
    assert counts_of_inputs([one, two])[1].waits.count == 2


def test_rates_are_of_the_last_interval_of_a_second_or_more() -> None:
    """Sooner than that the rate stays what it was; the first interval begins with the job."""
    times = iter([100.0, 100.4, 102.0, 102.5, 103.9, 104.0, 106.0])
    meter = RateMeter(lambda: next(times))
    assert meter.rates({"a": (5, 0)}) == {}
    assert meter.rates({"a": (10, 4)}) == {"a": [5.0, 2.0]}
    assert meter.rates({"a": (1000, 4)}) == {"a": [5.0, 2.0]}
    assert meter.rates({"a": (29, 4), "b": (19, 0)}) == {"a": [10.0, 0.0], "b": [10.0, 0.0]}
    assert meter.rates({}) == {"a": [10.0, 0.0], "b": [10.0, 0.0]}
    assert meter.rates({"a": (30, 5)}) == {"a": [round(1 / 2.1, 3), round(1 / 2.1, 3)]}


def test_an_ended_job_has_no_rate_and_no_fill() -> None:
    """Subtasks are summed and merged while the job runs, and what is left of them does not flow."""
    env = LocalEnvironment()
    env.from_batch([]).keyby(lambda x: x).map(lambda x: x, parallelism=2).sink(lambda x: None, parallelism=2)
    plan, now = make_plan(env._builder.build()), [0.0]
    meter = JobMeter(plan, clock=lambda: now[0])
    uid = plan.graph.operators[-1].uid
    latency = Histogram()
    latency.add(0.25, 30)
    tasks = [task for task in plan.tasks if task.stage == plan.stages[-1].id]
    counts = {
        task: TaskCounts({uid: OperatorCounts(30, failed=1, skipped=2)}, inputs={0: InputCounts(fill)}, latency=latency)
        for task, fill in zip(tasks, (0.5, 0.75), strict=True)
    }
    now[0] = 2.0
    metrics = meter.report(counts, set(tasks), ["slow"])
    sink = by_uid(metrics)[uid]
    assert (sink.records_in, sink.rate_in, sink.errors, sink.skipped) == (60, 30.0, 6, 4)
    assert (sink.latency.count, sink.latency.seconds) == (60, 15.0)
    assert sink.latency.p50 == sink.latency.p99 == pytest.approx(0.25, rel=ERROR + 0.005)
    assert (metrics.edges[0].fill, metrics.running_tasks, metrics.blocked) == (0.75, 2, ("slow",))
    now[0] = 3.0
    ended = meter.report(counts, set[TaskId](), [])
    assert (by_uid(ended)[uid].rate_in, ended.edges[0].fill, ended.running_tasks) == (0.0, 0.0, 0)


def odd(value: int) -> int:
    if value % 2:
        raise ValueError(value)
    return value


async def odd_later(value: int) -> int:
    return odd(value)


class Unopened(MapFunction):
    def open(self, context: Any) -> None:
        raise OSError("no")

    def execute(self, value: int) -> int:
        return value


ERRORS: dict[str, tuple[Callable[[Any], Any], int]] = {
    "skipped": (lambda stream: stream.map(odd, name="it", on_error=skip()), 5),
    "dead letters": (lambda stream: stream.map(odd, name="it", on_error=dead_letter("dead.jsonl")), 5),
    "tried again": (lambda stream: stream.map(odd, name="it", on_error=retry(2, backoff=0, then=skip())), 15),
    "tried again, then fails": (lambda stream: stream.map(odd, name="it", on_error=retry(2, backoff=0)), 3),
    "fails": (lambda stream: stream.map(odd, name="it"), 1),
    "budget": (lambda stream: stream.map(odd, name="it", on_error=skip(at_most=2)), 3),
    "open": (lambda stream: stream.map(Unopened, name="it"), 1),
    "awaited, skipped": (lambda stream: stream.map_async(odd_later, name="it", on_error=skip()), 5),
    "awaited, tried again": (
        lambda stream: stream.map_async(odd_later, name="it", on_error=retry(2, backoff=0, then=skip())),
        15,
    ),
    "awaited, fails": (lambda stream: stream.map_async(odd_later, name="it", concurrency=1), 1),
    "batches": (
        lambda stream: stream.map_batches(
            lambda batch: [odd(x) for x in batch], max_size=5, name="it", on_error=skip()
        ),
        10,  # a batch counts with all its records
    ),
    "none": (lambda stream: stream.map(str, name="it"), 0),
}


@pytest.mark.parametrize("what", ERRORS)
def test_errors_are_the_exceptions_of_the_operators_functions(
    what: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one that the engine has met is counted once, whatever became of it, and for no other operator."""
    monkeypatch.chdir(tmp_path)
    build, expected = ERRORS[what]
    env = LocalEnvironment("errors")
    build(env.from_batch(range(10))).sink(lambda x: None)
    errors = {item.name: item.errors for item in ran(env, backend).operators}
    assert errors.pop("it") == expected
    assert set(errors.values()) == {0}


def test_metrics_travel_as_json() -> None:
    """What comes back is equal; a report of an older SAGE lacks fields, and is read all the same."""
    env = LocalEnvironment("travels")
    env.from_batch(range(10)).keyby(lambda x: x).map(odd, on_error=skip(), parallelism=2).sink(lambda x: None)
    metrics = ran(env, "inline")
    assert JobMetrics.from_json(json.loads(json.dumps(metrics.to_json()))) == metrics
    data = metrics.to_json()
    for item in data["operators"]:
        del item["latency"], item["errors"]
    old = JobMetrics.from_json(data)
    assert {(item.latency, item.errors) for item in old.operators} == {(Latency(), 0)}


def test_metrics_are_shown_as_a_table() -> None:
    """One line for each operator under a heading, and who holds records up; `repr` has all of it."""
    mapped = OperatorMetrics("map:f", "f", "map", 1, records_in=12_000, records_out=11_999, late=0, errors=1, busy=0.5)
    timed = OperatorMetrics("r", "reader", "read", 1, records_out=12_000, latency=Latency(2, 0.1, p99=0.0421))
    metrics = JobMetrics(tasks=3, running_tasks=1, operators=(timed, mapped), blocked=("map 'f' is slow",))
    assert str(metrics).splitlines() == [
        "1 of 3 tasks running",
        "operator  kind      in     out  late  errors  busy      p99",
        "reader    read       0  12,000     0       0    0%  42.1 ms",
        "f         map   12,000  11,999     0       1   50%        -",
        "map 'f' is slow",
    ]
    assert repr(metrics).startswith("JobMetrics(")
