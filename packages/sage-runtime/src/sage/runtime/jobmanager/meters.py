"""What ``/metrics`` shows, in Prometheus' text format, from a registry of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sage.core.models import JOB_STATES, JobMetrics, Latency

__all__ = ["METRICS_MEDIA_TYPE", "JobCounts", "Meters"]

METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class JobCounts:
    """The counts of one job, and whether it has ended."""

    number: int
    name: str
    metrics: JobMetrics
    ended: bool = False


class Meters:
    """Counts requests and submissions as they come; job figures are taken anew for each scrape.

    Args:
        readers: how many wait for events now.
    """

    def __init__(self, readers: Callable[[], int]) -> None:
        # A time stamp for each counter is of no use here.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "sage_requests", "Answered requests.", ["method", "route", "status"], registry=self._registry
        )
        self._submissions = Counter(
            "sage_submissions", "Submissions by what became of them.", ["result"], registry=self._registry
        )
        waiting = Gauge("sage_readers", "Long polls and event streams that wait.", registry=self._registry)
        waiting.set_function(readers)
        self._jobs = _JobCollector()
        self._registry.register(self._jobs)

    def request(self, method: str, route: str | None, status: int) -> None:
        """Count an answered request; ``route`` is the pattern it met, so that the label stays bounded."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route or "none", str(status)).inc()

    def submission(self, result: str) -> None:
        """Count a submission: ``new``, ``same`` or ``refused``."""
        self._submissions.labels(result).inc()

    def render(self, by_state: Mapping[str, int], jobs: Sequence[JobCounts]) -> bytes:
        """The page: ``by_state`` counts all jobs, ``jobs`` are those shown one by one."""
        self._jobs.take(by_state, jobs)
        return generate_latest(self._registry)


_BOUNDS = [4.0**exponent for exponent in range(-9, 6)]
"""Seconds, from 4 µs to 17 min: bounds that the buckets of a job have as well."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _JobCollector(Collector):
    def __init__(self) -> None:
        self._by_state: Mapping[str, int] = {}
        self._jobs: Sequence[JobCounts] = ()

    def take(self, by_state: Mapping[str, int], jobs: Sequence[JobCounts]) -> None:
        self._by_state = by_state
        self._jobs = jobs

    def collect(self) -> Iterable[Metric]:
        states = GaugeMetricFamily("sage_jobs", "Jobs listed, by state.", labels=["state"])
        for state in JOB_STATES:
            states.add_metric([state], self._by_state.get(state, 0))
        yield states
        yield from self._figures_of_jobs()
        yield from self._durations()

    def _figures_of_jobs(self) -> Iterable[Metric]:
        tasks = GaugeMetricFamily("sage_job_running_tasks", "Tasks of a job that run.", labels=["job", "name"])
        records = CounterMetricFamily(
            "sage_job_records",
            "Records of an operator, in and out.",
            labels=["job", "name", "operator", "direction"],
        )
        errors = CounterMetricFamily(
            "sage_job_errors",
            "Exceptions of an operator's functions, by what became of them.",
            labels=["job", "name", "operator", "outcome"],
        )
        late = CounterMetricFamily(
            "sage_job_late_records",
            "Records that came to an operator's windows when all of those were gone.",
            labels=["job", "name", "operator"],
        )
        shares = GaugeMetricFamily(
            "sage_job_time_share",
            "Share of time that the tasks of an operator were busy, or waited for those who come after.",
            labels=["job", "name", "operator", "of"],
        )
        rates = GaugeMetricFamily(
            "sage_job_records_per_second",
            "Records of an operator, in and out, between the last two reports of the job.",
            labels=["job", "name", "operator", "direction"],
        )
        edges = ["job", "name", "edge", "source", "target"]
        sent = CounterMetricFamily("sage_job_edge_records", "Records sent from task to task.", labels=edges)
        batches = CounterMetricFamily("sage_job_edge_batches", "Batches sent from task to task.", labels=edges)
        fill = GaugeMetricFamily(
            "sage_job_edge_fill_ratio", "Share of the buffer in use, in the fullest channel of an edge.", labels=edges
        )
        for job in self._jobs:
            tasks.add_metric([str(job.number), job.name], job.metrics.running_tasks)
            for operator in job.metrics.operators:
                labels = [str(job.number), job.name, operator.uid]
                records.add_metric([*labels, "in"], operator.records_in)
                records.add_metric([*labels, "out"], operator.records_out)
                errors.add_metric([*labels, "retried"], operator.retried)
                errors.add_metric([*labels, "skipped"], operator.skipped)
                errors.add_metric([*labels, "dead_lettered"], operator.dead_lettered)
                given_up = operator.skipped + operator.dead_lettered
                errors.add_metric([*labels, "failed"], max(0, operator.errors - operator.retried - given_up))
                late.add_metric(labels, operator.late)
                rates.add_metric([*labels, "in"], operator.rate_in)
                rates.add_metric([*labels, "out"], operator.rate_out)
                shares.add_metric([*labels, "busy"], operator.busy)
                shares.add_metric([*labels, "backpressured"], operator.backpressured)
            for number, edge in enumerate(job.metrics.edges):
                labels = [str(job.number), job.name, str(number), edge.source, edge.target]
                sent.add_metric(labels, edge.records)
                batches.add_metric(labels, edge.batches)
                fill.add_metric(labels, edge.fill)
        yield from (tasks, records, rates, errors, late, shares, sent, batches, fill)

    def _durations(self) -> Iterable[Metric]:
        """Histograms, which are many lines each: only of jobs that have not ended."""
        latency = HistogramMetricFamily(
            "sage_job_latency_seconds",
            "From a record's arrival at an operator's task to the end of the slice that processed it.",
            labels=["job", "name", "operator"],
        )
        wait = HistogramMetricFamily(
            "sage_job_edge_wait_seconds",
            "How long batches lay in the buffer of an edge.",
            labels=["job", "name", "edge", "source", "target"],
        )
        for job in self._jobs:
            if job.ended:
                continue
            for operator in job.metrics.operators:
                _add(latency, [str(job.number), job.name, operator.uid], operator.latency)
            for number, edge in enumerate(job.metrics.edges):
                _add(wait, [str(job.number), job.name, str(number), edge.source, edge.target], edge.wait)
        yield from (latency, wait)


def _add(family: HistogramMetricFamily, labels: Sequence[str], latency: Latency) -> None:
    counts = [
        # Told to six digits, and a fifth apart, bounds are the same where they are near.
        (f"{bound:.6g}", float(sum(count for upper, count in latency.buckets if upper < 1.01 * bound)))
        for bound in _BOUNDS
    ]
    every = float(sum(count for _, count in latency.buckets))
    family.add_metric(labels, [*counts, ("+Inf", every)], latency.seconds)
