"""How jobs are shown to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sage.cli.render.parts import Block, Column, Fields, Part, Table
from sage.core import timestamps
from sage.core.graph.model import way_of
from sage.core.models import FailureInfo, JobInfo, JobMetrics, Latency, StateChange

__all__ = ["details", "duration", "graph_table", "history_table", "metrics_tables", "moment", "table"]


_NEWEST = 10
"""How many given-up records `job show -v` lists; ``--json`` has all that are kept."""


def table(jobs: Sequence[JobInfo], *, empty: str | None = "no jobs") -> Sequence[Table]:
    """One row a job."""
    columns = [
        Column("NUMBER", right=True, whole=True),
        Column("NAME"),
        Column("STATE", states=True, whole=True),
        Column("BACKEND"),
        Column("CREATED (UTC)", whole=True),
        Column("DURATION", right=True, whole=True),
        Column("UUID", whole=True),
    ]
    rows = [
        [str(job.number), job.name, _state(job), job.backend, moment(job.created_at), duration(job), job.uuid[:8]]
        for job in jobs
    ]
    return [Table(columns, rows, empty=empty)]


def details(job: JobInfo) -> Sequence[Part]:
    """One job with all it says of itself, and its failure."""
    rows = [
        ("job", str(job.number)),
        ("name", job.name),
        ("uuid", job.uuid),
        ("state", _state(job)),
        ("reason", "" if job.failure is not None and job.failure.message == job.reason else job.reason or ""),
        ("backend", job.backend),
        ("owner", job.owner or ""),
        ("attempt", str(job.attempt)),
        ("restarts", str(job.restarts)),
        ("created", _utc(job.created_at)),
        ("started", _utc(job.started_at)),
        ("ended", _utc(job.ended_at)),
        ("duration", duration(job)),
        ("running", "yes" if job.running else "no"),
        ("tasks", str(job.tasks)),
        ("services", str(job.services)),
        ("variables", ", ".join(job.env_vars)),
        ("records in", str(job.records_in)),
        ("records out", str(job.records_out)),
        ("checkpoint", "" if job.last_checkpoint is None else str(job.last_checkpoint)),
    ]
    parts: list[Part] = [Fields([(name, value) for name, value in rows if value])]
    if job.failure is not None:
        parts += _failure(job.failure)
    return parts


def graph_table(graph: Mapping[str, Any]) -> Sequence[Part]:
    """The operators as they were declared, and where their records come from, as far as the job's client told it."""
    operators = [item for item in graph.get("operators", ()) if isinstance(item, Mapping)]
    names = {str(item.get("id")): str(item.get("uid")) for item in operators}
    sources: dict[str, list[str]] = {}
    for edge in graph.get("edges", ()):
        if isinstance(edge, Mapping):
            exchange, tag, source = edge.get("exchange"), edge.get("tag"), str(edge.get("source"))
            way = way_of(str(exchange), None if tag is None else str(tag), back=bool(edge.get("back")))
            sources.setdefault(str(edge.get("target")), []).append(
                f"{names.get(source, source)}{f' ({way})' if way else ''}"
            )
    columns = [Column("OPERATOR"), Column("TASKS", right=True, whole=True), Column("LINE"), Column("RECORDS FROM")]
    rows = [
        [
            *(str(item.get(field)) for field in ("uid", "parallelism", "location")),
            ", ".join(sources.get(str(item.get("id")), ())),
        ]
        for item in operators
    ]
    return [Table(columns, rows, title="graph")]


def metrics_tables(metrics: JobMetrics) -> Sequence[Part]:
    """What operators and exchanges have counted and measured, and the user code that keeps records from moving."""
    operators = Table(
        [Column("OPERATOR"), Column("KIND", whole=True), *_numbers("TASKS", "IN", "OUT", "ERRORS"), Column("UID")],
        [
            [
                item.name,
                item.kind,
                str(item.parallelism),
                str(item.records_in),
                str(item.records_out),
                str(item.errors),
                item.uid,
            ]
            for item in metrics.operators
        ],
        title="operators, with records in and out",
    )
    flow = Table(
        [Column("OPERATOR"), *_numbers("IN/S", "OUT/S", "BUSY", "WAITS", "P50", "P99")],
        [
            [
                item.uid,
                _rate(item.rate_in),
                _rate(item.rate_out),
                f"{item.busy:.0%}",
                f"{item.backpressured:.0%}",
                *_percentiles(item.latency),
            ]
            for item in metrics.operators
        ],
        title="flow, with latency",
    )
    edges = Table(
        [
            Column("FROM"),
            Column("TO"),
            Column("EXCHANGE", whole=True),
            *_numbers("RECORDS", "BATCHES", "FILL", "P50", "P99"),
        ],
        [
            [
                item.source,
                item.target,
                item.exchange,
                str(item.records),
                str(item.batches),
                f"{item.fill:.0%}",
                *_percentiles(item.wait),
            ]
            for item in metrics.edges
        ],
        title="exchanges, with waits in the buffer",
    )
    parts: list[Part] = [operators, flow, edges]
    troubled = [item for item in metrics.operators if item.retried or item.skipped or item.dead_lettered]
    if troubled:
        columns = [Column("OPERATOR"), *(Column(name, right=True) for name in ("RETRIED", "SKIPPED", "DEAD LETTERS"))]
        rows = [[item.uid, str(item.retried), str(item.skipped), str(item.dead_lettered)] for item in troubled]
        parts.append(Table(columns, rows, title="records whose function raised"))
    late = [[item.uid, str(item.late)] for item in metrics.operators if item.late]
    if late:
        columns = [Column("OPERATOR"), Column("LATE", right=True)]
        parts.append(Table(columns, late, title="records whose windows were all gone"))
    if metrics.given_up:
        newest = [f"{item.uid}: {item.message} (record: {item.record})" for item in metrics.given_up[-_NEWEST:]]
        parts.append(Block("newest records given up", "\n".join(newest)))
    if metrics.blocked:
        parts.append(Block("calls that have not returned for more than a second", "\n".join(metrics.blocked)))
    return parts


def _numbers(*titles: str) -> list[Column]:
    return [Column(title, right=True, whole=True) for title in titles]


def _rate(rate: float) -> str:
    """Records per second, in at most six characters."""
    if 0 < rate < 10:
        return f"{rate:.1f}"
    for divisor, unit in ((1e9, "G"), (1e6, "M")):
        if rate >= divisor:
            return f"{rate / divisor:.1f}{unit}"
    return f"{rate:.0f}"


def _percentiles(latency: Latency) -> list[str]:
    return [_time(latency.p50), _time(latency.p99)] if latency.count else ["-", "-"]


def _time(seconds: float) -> str:
    """Two digits, which is what a histogram knows."""
    seconds = float(f"{seconds:.2g}")
    for unit, scale in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if seconds < 1000 * scale:
            return f"{seconds / scale:.3g}{unit}"
    return f"{seconds / 60:.0f}min"


def history_table(changes: Sequence[StateChange]) -> Sequence[Part]:
    """Every move of a job."""
    columns = [Column("TIME (UTC)"), Column("STATE", states=True), Column("ATTEMPT", right=True), Column("REASON")]
    rows = [[moment(item.time, millis=True), item.state, str(item.attempt), item.reason or ""] for item in changes]
    return [Table(columns, rows, title="history")]


def moment(time: str | None, *, millis: bool = False) -> str:
    """An RFC 3339 time as people read it, in UTC; as it came if it is none."""
    if not time:
        return "-"
    at = _parse(time)
    if at is None:
        return time
    return at.strftime("%Y-%m-%d %H:%M:%S") + (f".{at.microsecond // 1000:03d}" if millis else "")


def duration(job: JobInfo) -> str:
    """How long the job ran, or runs by now; ``-`` before its start."""
    started = _parse(job.started_at)
    if started is None:
        return "-"
    ended = _parse(job.ended_at) or datetime.now(UTC)
    seconds = max(0.0, (ended - started).total_seconds())
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02d}h"
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def _failure(failure: FailureInfo) -> Sequence[Part]:
    rows = [
        ("kind", failure.kind),
        ("message", failure.message),
        ("operator", failure.operator),
        ("uid", failure.uid),
        ("subtask", failure.subtask),
        ("location", failure.location),
        ("record", failure.record),
        ("error", failure.error_type),
        ("exit status", failure.exit_status),
        ("signal", failure.signal),
    ]
    parts: list[Part] = [Fields([(name, str(value)) for name, value in rows if value is not None], title="failure")]
    if failure.traceback:
        parts.append(Block("traceback", failure.traceback))
    return parts


def _state(job: JobInfo) -> str:
    return f"{job.state} ({job.mark})" if job.mark else job.state


def _utc(time: str | None) -> str:
    return f"{moment(time)} UTC" if time else ""


def _parse(time: str | None) -> datetime | None:
    try:
        return timestamps.parse(time or "")
    except ValueError:
        return None
