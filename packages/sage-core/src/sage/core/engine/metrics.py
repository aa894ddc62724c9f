"""What is measured of a task, and how that of all tasks becomes the metrics of a job."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from sage.core import timestamps
from sage.core.engine.event_time import MIN_TIME, to_seconds
from sage.core.engine.events import InputCounts, OperatorCounts, TaskCounts
from sage.core.engine.histogram import Histogram, upper_bound
from sage.core.engine.links import Inbox
from sage.core.graph.model import Operator
from sage.core.models import EdgeMetrics, FailureInfo, JobMetrics, Latency, OperatorMetrics
from sage.core.plan.model import ExecutionPlan, PlanEdge, TaskId

__all__ = ["JobMeter", "RateMeter", "counts_of_inputs"]

_LISTED = 100
_SHORTEST = 1.0
"""Seconds: over less than that, a rate says more about the moment than about the job."""


def counts_of_inputs(inboxes: Iterable[Inbox]) -> Mapping[int, InputCounts]:
    """By edge, what a task's inboxes tell; any thread may ask."""
    fills: dict[int, float] = defaultdict(float)
    waits: dict[int, Histogram] = {}
    for inbox in inboxes:
        fills[inbox.edge] = max(fills[inbox.edge], inbox.fill)
        waits[inbox.edge] = inbox.waits  # which the inboxes of an edge share
    return {edge: InputCounts(fill, waits[edge].copy()) for edge, fill in fills.items()}


class RateMeter:
    """Turns counts that rise into rates, between one look and the next that comes at least a second later.

    Args:
        clock: seconds, never less than before.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._before: Mapping[str, Sequence[int]] = {}
        self._rates: Mapping[str, Sequence[float]] = {}

    def rates(self, counts: Mapping[str, Sequence[int]]) -> Mapping[str, Sequence[float]]:
        """By name, how much each of its ``counts`` rises in a second; sooner than after a second, as it was before."""
        now = self._clock()
        elapsed = now - self._since
        if elapsed >= _SHORTEST:
            self._rates = {
                name: [
                    round((count - before) / elapsed, 3)
                    for count, before in zip(new, self._before.get(name, [0] * len(new)), strict=True)
                ]
                for name, new in counts.items()
            }
            self._since, self._before = now, counts
        return self._rates


class JobMeter:
    """Makes the metrics of a job out of what its tasks have told last. Any thread may ask.

    Args:
        plan: of the job.
        clock: for rates.
    """

    def __init__(self, plan: ExecutionPlan, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._rates = RateMeter(clock)
        self._lock = threading.Lock()

    def report(
        self, counts: Mapping[TaskId, TaskCounts], running: Collection[TaskId], blocked: Sequence[str]
    ) -> JobMetrics:
        """The metrics as of now.

        Args:
            counts: what each task has told last.
            running: the tasks that run.
            blocked: in words, the calls that do not return, and the loops that do not drain.
        """
        plan = self._plan
        operators, given_up = list[OperatorMetrics](), list[FailureInfo]()
        for stage in plan.stages:
            tasks = [item for task, item in counts.items() if task.stage == stage.id]
            latency = _latency(_merged(item.latency for item in tasks))
            for number in stage.operators:
                operator = plan.operators[number]
                found = [item.operators[operator.uid] for item in tasks if operator.uid in item.operators]
                given_up += [failure for item in found for failure in item.given_up]
                operators.append(_operator(operator, found, tasks, latency))
        in_order = {operator.uid: number for number, operator in enumerate(plan.graph.operators)}
        operators.sort(key=lambda item: in_order[item.uid])
        return JobMetrics(
            at=timestamps.now(),
            tasks=len(plan.tasks),
            running_tasks=len(running),
            services=len(plan.graph.services) if running else 0,
            operators=tuple(self._with_rates(operators) if running else operators),
            edges=tuple(_edge(plan, edge, counts, running) for edge in plan.edges),
            blocked=tuple(blocked),
            given_up=tuple(given_up[-_LISTED:]),
        )

    def _with_rates(self, operators: Iterable[OperatorMetrics]) -> Iterable[OperatorMetrics]:
        operators = list(operators)
        with self._lock:
            rates = self._rates.rates({item.uid: (item.records_in, item.records_out) for item in operators})
        for item in operators:
            rate_in, rate_out = rates.get(item.uid, (0.0, 0.0))
            yield replace(item, rate_in=rate_in, rate_out=rate_out)


def _operator(
    operator: Operator, found: Sequence[OperatorCounts], tasks: Sequence[TaskCounts], latency: Latency
) -> OperatorMetrics:
    retried = sum(item.retried for item in found)
    skipped = sum(item.skipped for item in found)
    dead_lettered = sum(item.dead_lettered for item in found)
    return OperatorMetrics(
        uid=operator.uid,
        name=operator.name,
        kind=operator.kind,
        parallelism=operator.parallelism,
        records_in=sum(item.records_in for item in found),
        records_out=sum(item.records_out for item in found),
        retried=retried,
        skipped=skipped,
        dead_lettered=dead_lettered,
        late=sum(item.late for item in found),
        watermark=_watermark(item.watermark for item in found),
        errors=retried + skipped + dead_lettered + sum(item.failed for item in found),
        busy=_mean([item.busy for item in tasks]),
        backpressured=_mean([item.backpressured for item in tasks]),
        latency=latency,
    )


def _watermark(times: Iterable[int]) -> float | None:
    time = to_seconds(min(times, default=MIN_TIME))
    return time if math.isfinite(time) else None


def _edge(
    plan: ExecutionPlan, edge: PlanEdge, counts: Mapping[TaskId, TaskCounts], running: Collection[TaskId]
) -> EdgeMetrics:
    sent = [item.edges[edge.id] for item in counts.values() if edge.id in item.edges]
    taken = {task: item.inputs[edge.id] for task, item in counts.items() if edge.id in item.inputs}
    return EdgeMetrics(
        source=plan.operators[edge.source].uid,
        target=plan.operators[edge.target].uid,
        exchange=edge.exchange,
        records=sum(item[0] for item in sent),
        batches=sum(item[1] for item in sent),
        fill=round(max((item.fill for task, item in taken.items() if task in running), default=0.0), 4),
        wait=_latency(_merged(item.waits for item in taken.values())),
    )


def _merged(histograms: Iterable[Histogram]) -> Histogram:
    whole = Histogram()
    for histogram in histograms:
        whole.merge(histogram)
    return whole


def _latency(histogram: Histogram) -> Latency:
    p50, p95, p99 = (_short(histogram.percentile(share)) for share in (0.5, 0.95, 0.99))
    return Latency(
        count=histogram.count,
        seconds=round(histogram.seconds, 6),
        p50=p50,
        p95=p95,
        p99=p99,
        buckets=tuple((upper_bound(index), count) for index, count in enumerate(histogram.counts) if count),
    )


def _short(seconds: float) -> float:
    """Three digits are more than is known."""
    return float(f"{seconds:.3g}")


def _mean(shares: Sequence[float]) -> float:
    return round(sum(shares) / len(shares), 4) if shares else 0.0
