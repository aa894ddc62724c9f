"""What a job's folder tells: its counts, its graph, its history and its failures."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sage.core.client.package import read_manifest
from sage.core.errors import InternalError, SageError
from sage.core.models import FailureInfo, JobInfo, JobMetrics, Latency
from sage.runtime.jobmanager.home import Home
from sage.runtime.jobmanager.offload import Offload
from sage.runtime.jobmanager.store import Row
from sage.runtime.shim.events import EventsCorruptError, read_events
from sage.runtime.shim.failure import clean_failure
from sage.runtime.shim.files import read_json

__all__ = ["Records", "Totals", "info_of", "job_json"]

_CACHED = 256
_LARGEST_METRICS = 8 * 1024 * 1024
_LARGEST_COUNT = 1 << 63
_MOST_BUCKETS = 1000
_UNSTARTED = frozenset({"submitted", "queued"})
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Totals:
    """Records a job has read at its sources and delivered to its sinks."""

    records_in: int = 0
    records_out: int = 0


class Records:
    """Reads jobs' folders, off the event loop, with a small memory of what does not change.

    Everything in a folder but the package was written by the job's shim from what the job said, so none of it is
    trusted to be well formed.
    """

    def __init__(self, home: Home, offload: Offload) -> None:
        self._home = home
        self._offload = offload
        self._ends: OrderedDict[str, _Ends] = OrderedDict()

    async def info(self, row: Row) -> JobInfo:
        """The job as clients see it; counts of one that runs are as fresh as its last report."""
        if row.is_ended or row.state in _UNSTARTED:
            return info_of(row)
        metrics = await self.metrics(row)
        totals = await self.totals(row, metrics)
        return _info(row, metrics.tasks or row.tasks, metrics.services or row.services, totals)

    async def metrics(self, row: Row) -> JobMetrics:
        """The newest counts; all zero while there are none."""
        metrics = await self._offload.read(_read_metrics, self._home.job(row.uuid) / "metrics.json")
        return _at_rest(metrics) if row.is_ended else metrics

    async def totals(self, row: Row, metrics: JobMetrics) -> Totals:
        """Records in and out of the whole job, from the counts of its operators."""
        if not metrics.operators:
            return Totals(row.records_in, row.records_out)
        ends = self._ends.get(row.uuid)
        if ends is None:
            try:
                ends = _ends_of(await self.graph(row))
            except (SageError, OSError) as error:
                # Totals are not worth failing for: whoever asks for the graph itself is told.
                _log.warning("job %d: its package cannot be read: %s", row.number, error)
                return Totals(row.records_in, row.records_out)
            self._ends[row.uuid] = ends
            while len(self._ends) > _CACHED:
                self._ends.popitem(last=False)
        return Totals(
            _sum(item.records_out for item in metrics.operators if item.uid in ends.sources),
            _sum(item.records_in for item in metrics.operators if item.uid in ends.sinks),
        )

    async def graph(self, row: Row) -> Mapping[str, Any]:
        """The public graph, from the manifest of the job's package."""
        manifest = await self._offload.read(read_manifest, self._home.job(row.uuid) / "package.zip")
        return manifest.graph

    async def events(self, row: Row, after: int = 0) -> list[dict[str, Any]]:
        """The lines of the events file after sequence number ``after``.

        Raises:
            InternalError: the file was damaged from outside.
        """
        try:
            return await self._offload.read(read_events, self._home.job(row.uuid) / "events.jsonl", after)
        except EventsCorruptError as error:
            raise InternalError(
                f"the history of job {row.number} is damaged: {error}", hint="the job's log and package are still there"
            ) from error

    async def failures(self, row: Row) -> list[dict[str, Any]]:
        """Every failure in the job's history, each with its time and attempt."""
        found = []
        for event in await self.events(row):
            if event["state"] == "failed" and isinstance(event.get("failure"), dict):
                failure = FailureInfo.from_json(clean_failure(event["failure"])).to_json()
                found.append({**failure, "time": event.get("time"), "attempt": event.get("attempt", 1)})
        return found


@dataclass(frozen=True)
class _Ends:
    sources: frozenset[str]
    sinks: frozenset[str]


def job_json(job: JobInfo) -> dict[str, Any]:
    """What `JobInfo.to_json` gives, without its deep copies: lists are long."""
    return {**vars(job), "failure": None if job.failure is None else dict(vars(job.failure))}


def info_of(row: Row) -> JobInfo:
    """The job as the index has it: the counts of one that runs are not there."""
    return _info(row, row.tasks, row.services, Totals(row.records_in, row.records_out))


def _info(row: Row, tasks: int, services: int, totals: Totals) -> JobInfo:
    return JobInfo(
        number=row.number,
        uuid=row.uuid,
        name=row.name,
        state=row.state,
        mark=row.mark,
        reason=row.reason,
        backend=row.backend,
        owner=row.owner,
        attempt=row.attempt,
        restarts=row.restarts,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        running=row.state == "running",
        tasks=tasks,
        services=services,
        records_in=totals.records_in,
        records_out=totals.records_out,
        failure=row.failure,
        env_vars=tuple(sorted(row.options.get("env_vars", ()))),
    )


def _sum(counts: Iterable[int]) -> int:
    """What the index can hold of a sum."""
    return min(sum(counts), _LARGEST_COUNT - 1)


def _read_metrics(path: Path) -> JobMetrics:
    try:
        metrics = JobMetrics.from_json(read_json(str(path), limit=_LARGEST_METRICS))
        _check(metrics)
    except FileNotFoundError:
        return JobMetrics()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        _log.warning("%s cannot be read: %s", path, error)
        return JobMetrics()
    return metrics


def _at_rest(metrics: JobMetrics) -> JobMetrics:
    """The last report of a job that has ended: its process may not have lived to write one of its end."""
    return replace(
        metrics,
        running_tasks=0,
        services=0,
        operators=tuple(replace(item, rate_in=0.0, rate_out=0.0) for item in metrics.operators),
        edges=tuple(replace(edge, fill=0.0) for edge in metrics.edges),
        blocked=(),
    )


def _check(metrics: JobMetrics) -> None:
    """Whether they are what a job tells of itself; others rely on the types of all fields.

    Raises:
        ValueError: they are not.
    """
    counts: list[object] = [metrics.tasks, metrics.running_tasks, metrics.services]
    amounts: list[object] = []
    texts: list[object] = []
    latencies: list[Latency] = []
    for item in metrics.operators:
        counts += [item.parallelism, item.records_in, item.records_out]
        counts += [item.retried, item.skipped, item.dead_lettered, item.late, item.errors]
        if item.watermark is not None:
            amounts.append(abs(item.watermark) if type(item.watermark) in (int, float) else item.watermark)
        amounts += [item.busy, item.backpressured, item.rate_in, item.rate_out]
        texts += [item.uid, item.name, item.kind]
        latencies.append(item.latency)
    for edge in metrics.edges:
        counts += [edge.records, edge.batches]
        amounts.append(edge.fill)
        texts += [edge.source, edge.target, edge.exchange]
        latencies.append(edge.wait)
    for latency in latencies:
        if len(latency.buckets) > _MOST_BUCKETS:
            raise ValueError("there are too many buckets")
        counts += [latency.count, *(count for _, count in latency.buckets)]
        amounts += [latency.seconds, latency.p50, latency.p95, latency.p99, *(bound for bound, _ in latency.buckets)]
    if not all(type(count) is int and 0 <= count < _LARGEST_COUNT for count in counts):
        raise ValueError("a count is no number")
    if not all(type(amount) in (int, float) and 0 <= amount < _LARGEST_COUNT for amount in amounts):  # type: ignore[operator]
        raise ValueError("an amount is no number")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name is no text")


def _ends_of(graph: Mapping[str, Any]) -> _Ends:
    try:
        operators = {operator["id"]: str(operator["uid"]) for operator in graph["operators"]}
        with_input = {edge["target"] for edge in graph["edges"]}
        with_output = {edge["source"] for edge in graph["edges"]}
    except (KeyError, TypeError):
        # A graph by another hand than ours: the job may run all the same, it just has no totals.
        return _Ends(frozenset(), frozenset())
    return _Ends(
        frozenset(uid for number, uid in operators.items() if number not in with_input),
        frozenset(uid for number, uid in operators.items() if number not in with_output),
    )
