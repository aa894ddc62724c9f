"""What monitoring sees of jobs: the page for Prometheus, read by its own parser, and the metrics of one job."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from sage.core.models import JobMetrics

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "metrics.md"
LIMIT = 60.0


@pytest.fixture(scope="module")
def stopped_job(make_module_daemon: Callable[..., Any], packages: Any) -> tuple[Any, str]:
    """A daemon, and the uuid of a job of it that has ended."""
    daemon = make_module_daemon().start()
    job = daemon.submitted(packages("quick"))
    daemon.wait(1)
    return daemon, job["uuid"]


def figures(daemon: Any) -> dict[str, Metric]:
    """The families of the page, by name."""
    page = daemon.ask("GET", "/metrics").body.decode()
    return {family.name: family for family in text_string_to_metric_families(page)}


def samples(families: Mapping[str, Metric], name: str, /, **labels: str) -> Iterator[Sample]:
    """The samples called ``name`` that carry ``labels``."""
    for family in families.values():
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                yield sample


def value(families: Mapping[str, Metric], name: str, /, **labels: str) -> float:
    (sample,) = samples(families, name, **labels)
    return sample.value


def metrics_when(daemon: Any, holds: Callable[[JobMetrics], bool]) -> JobMetrics:
    """The metrics of job 1 once ``holds``; it reports every second."""
    deadline = time.monotonic() + LIMIT
    while not holds(metrics := JobMetrics.from_json(daemon.api("GET", "jobs/1/metrics").json())):
        assert time.monotonic() < deadline, metrics
        time.sleep(0.05)
    return metrics


def test_metrics_tell_operators_and_edges(make_daemon: Callable[..., Any], packages: Any) -> None:
    """Each family has its type, its labels, and the numbers that the job itself reports."""
    daemon = make_daemon().start()
    job = daemon.submitted(packages("split"))
    daemon.wait(1, "running")
    told = metrics_when(daemon, lambda metrics: bool(metrics.operators) and metrics.operators[-1].records_in == 3)
    families = figures(daemon)
    assert {name: family.type for name, family in families.items() if name.startswith("sage_job_")} == {
        "sage_job_running_tasks": "gauge",
        "sage_job_records": "counter",
        "sage_job_records_per_second": "gauge",
        "sage_job_errors": "counter",
        "sage_job_late_records": "counter",
        "sage_job_time_share": "gauge",
        "sage_job_edge_records": "counter",
        "sage_job_edge_batches": "counter",
        "sage_job_edge_fill_ratio": "gauge",
        "sage_job_latency_seconds": "histogram",
        "sage_job_edge_wait_seconds": "histogram",
    }
    assert set(re.findall(r"`(sage_\w+)`", PAGE.read_text())) == {
        f"{name}_total" if family.type == "counter" else name
        for name, family in families.items()
        if not name.startswith("process_")
    }
    of_job = {"job": "1", "name": "split"}
    for item in told.operators:
        labels = {**of_job, "operator": item.uid}
        assert value(families, "sage_job_records_total", **labels, direction="in") == item.records_in
        assert value(families, "sage_job_errors_total", **labels, outcome="failed") == 0
        assert value(families, "sage_job_records_per_second", **labels, direction="out") >= 0
        counts = [sample.value for sample in samples(families, "sage_job_latency_seconds_bucket", **labels)]
        assert counts == sorted(counts)
        assert counts[-1] == item.latency.count == 3
        assert value(families, "sage_job_latency_seconds_count", **labels) == 3
        assert value(families, "sage_job_latency_seconds_sum", **labels) == item.latency.seconds > 0
    for number, edge in enumerate(told.edges):
        labels = {**of_job, "edge": str(number), "source": edge.source, "target": edge.target}
        assert value(families, "sage_job_edge_records_total", **labels) == 3
        assert value(families, "sage_job_edge_batches_total", **labels) == edge.batches
        assert value(families, "sage_job_edge_wait_seconds_count", **labels) == edge.wait.count == edge.batches
        assert value(families, "sage_job_edge_fill_ratio", **labels) == 0
    daemon.release(job["uuid"])
    daemon.wait(1)
    families = figures(daemon)
    assert value(families, "sage_job_records_total", **of_job, operator="sink:Print", direction="in") == 3
    assert list(samples(families, "sage_job_latency_seconds_bucket")) == []


def test_a_job_that_was_killed_does_not_flow(make_daemon: Callable[..., Any], packages: Any) -> None:
    """Its last report may be one of full flow; counts stay, rates and fill are told no more."""
    daemon = make_daemon().start()
    job = daemon.submitted(packages("exits"))
    daemon.wait(1)
    flow = {"rate_in": 9.5, "rate_out": 9.5, "records_in": 4, "uid": "u", "name": "n", "kind": "map", "parallelism": 1}
    edge = {"source": "a", "target": "b", "exchange": "hash", "fill": 0.5, "records": 4}
    report = {"running_tasks": 2, "tasks": 2, "operators": [flow], "edges": [edge], "blocked": ["b"]}
    (daemon.folder(job["uuid"]) / "metrics.json").write_text(json.dumps(report))
    metrics = JobMetrics.from_json(daemon.api("GET", "jobs/1/metrics").json())
    (operator,), (edge_told,) = metrics.operators, metrics.edges
    assert (operator.rate_in, operator.rate_out, operator.records_in) == (0, 0, 4)
    assert (edge_told.fill, edge_told.records) == (0, 4)
    assert (metrics.running_tasks, metrics.tasks, metrics.blocked) == (0, 2, ())


@pytest.mark.parametrize(
    "odd",
    [
        {"busy": "1"},
        {"busy": -1},
        {"rate_in": None},
        {"rate_out": 1e400},
        {"errors": 1.5},
        {"uid": 7},
        {"latency": {"p99": "soon"}},
        {"latency": {"buckets": [[1.0, -1]]}},
        {"latency": {"buckets": [[1.0]]}},
        {"latency": {"buckets": [[1.0, 1]] * 1001}},
        {"latency": 5},
    ],
    ids=str,
)
def test_metrics_that_are_none_are_not_passed_on(stopped_job: tuple[Any, str], odd: dict[str, Any]) -> None:
    """What a job writes of itself is checked; whoever asks is answered all the same."""
    daemon, uuid = stopped_job
    operator = {"uid": "u", "name": "n", "kind": "map", "parallelism": 1, **odd}
    (daemon.folder(uuid) / "metrics.json").write_text(json.dumps({"tasks": 1, "operators": [operator]}))
    assert daemon.api("GET", "jobs/1/metrics").json()["operators"] == []
    assert daemon.ask("GET", "/metrics").status == 200
