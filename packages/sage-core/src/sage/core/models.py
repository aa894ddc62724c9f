"""What the JobManager tells about jobs: frozen dataclasses that mirror the REST models field for field.

A running job fills them in, the JobManager passes them on as JSON, and its client hands them to people.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

__all__ = [
    "API_VERSION",
    "ENDED_STATES",
    "JOB_STATES",
    "CheckpointInfo",
    "DaemonInfo",
    "EdgeMetrics",
    "FailureInfo",
    "JobInfo",
    "JobMetrics",
    "Latency",
    "LogChunk",
    "OperatorMetrics",
    "Page",
    "StateChange",
]

API_VERSION = 1
"""Of the REST interface that speaks of these models."""

JOB_STATES = (
    "submitted",
    "queued",
    "starting",
    "running",
    "restarting",
    "stopping",
    "stopped",
    "completed",
    "failing",
    "failed",
    "cancelling",
    "cancelled",
)
"""All states of a job, in the order of a life."""

ENDED_STATES = frozenset({"stopped", "completed", "failed", "cancelled"})
"""The states in which nothing of a job runs any more."""


class _Model:
    """JSON in and out; unknown fields of a newer peer are ignored, since fields are only ever added."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        known = {item.name for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: value for name, value in data.items() if name in known})

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)  # type: ignore[call-overload,no-any-return]


@dataclass(frozen=True)
class FailureInfo(_Model):
    """Why a job failed.

    Attributes:
        kind: ``user_code`` (an exception in a function), ``process`` (the job's process exited or was killed),
            ``load`` (the package could not be opened), ``backend`` or ``internal``.
        message: one line that says what happened.
        operator, uid, subtask, location: the operator, and the user's source line that added it.
        record: a bounded ``repr`` of the record that was being processed.
        error_type: qualified name of the exception's class.
        traceback: as Python prints it where it happened.
        exit_status, signal: how the process ended, for ``process``.
    """

    kind: str
    message: str
    operator: str | None = None
    uid: str | None = None
    subtask: int | None = None
    location: str | None = None
    record: str | None = None
    error_type: str | None = None
    traceback: str | None = None
    exit_status: int | None = None
    signal: str | None = None


@dataclass(frozen=True)
class JobInfo(_Model):
    """A job as the JobManager knows it. Times are RFC 3339 in UTC."""

    number: int
    uuid: str
    name: str
    state: str
    mark: str | None = None
    reason: str | None = None
    backend: str = "local"
    owner: str | None = None
    attempt: int = 1
    restarts: int = 0
    created_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    running: bool = False
    tasks: int = 0
    services: int = 0
    records_in: int = 0
    records_out: int = 0
    last_checkpoint: int | None = None
    failure: FailureInfo | None = None
    env_vars: tuple[str, ...] = ()
    """Names of the environment variables that were given to it."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        info = super().from_json(data)
        info = dataclasses.replace(info, env_vars=tuple(info.env_vars))
        if isinstance(info.failure, Mapping):
            info = dataclasses.replace(info, failure=FailureInfo.from_json(info.failure))
        return info

    @property
    def is_ended(self) -> bool:
        return self.state in ENDED_STATES


@dataclass(frozen=True)
class CheckpointInfo(_Model):
    """A complete checkpoint or savepoint of a job.

    Attributes:
        n: its number; of a job's life, counted from 1.
        kind: ``checkpoint`` or ``savepoint``.
        epoch: which start of the job took it.
        created_at: RFC 3339 in UTC.
        path: the folder of its manifest.
    """

    n: int
    kind: str
    epoch: int
    created_at: str
    path: str | None = None


@dataclass(frozen=True)
class Latency(_Model):
    """How long something took, over all the time since the start.

    Attributes:
        count: how often that was measured.
        seconds: all of it together.
        p50, p95, p99: seconds that 50, 95 and 99 % did not exceed, to 10 %.
        buckets: pairs of an upper bound in seconds and how many lie between it and the bucket below; without those
            that are empty. What came between two reports is the difference of their buckets.
    """

    count: int = 0
    seconds: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    buckets: tuple[tuple[float, int], ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        latency = super().from_json(data)
        return dataclasses.replace(latency, buckets=tuple((bound, count) for bound, count in latency.buckets))


@dataclass(frozen=True)
class OperatorMetrics(_Model):
    """What was counted and measured of one operator, over its subtasks.

    Attributes:
        retried, skipped, dead_lettered: what its error policy did: calls made again, records left out, and records
            sent as dead letters.
        busy, backpressured: the share of time, from 0 to 1, that its tasks spent in the pipeline's functions, and
            waiting for those who come after; the mean over subtasks. Chained operators share a task.
        errors: exceptions that its functions raised: one for each call made again, each record given up, and each that
            failed a task.
        rate_in, rate_out: records per second, between this report and the one before; 0 once the job has ended.
        latency: of records, from their arrival at the task to the end of the slice that processed them. Chained
            operators share a task.
        late: records that came to its windows when all of those were gone, or to a join when their time was over.
        watermark: the event time of its input, in seconds since 1970, of the subtask that is furthest behind; None
            where there is none, none is known yet, or all time is over.
    """

    uid: str
    name: str
    kind: str
    parallelism: int
    records_in: int = 0
    records_out: int = 0
    retried: int = 0
    skipped: int = 0
    dead_lettered: int = 0
    busy: float = 0.0
    backpressured: float = 0.0
    errors: int = 0
    rate_in: float = 0.0
    rate_out: float = 0.0
    latency: Latency = Latency()
    late: int = 0
    watermark: float | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        metrics = super().from_json(data)
        return dataclasses.replace(metrics, latency=Latency.from_json(data.get("latency", {})))


@dataclass(frozen=True)
class EdgeMetrics(_Model):
    """What was counted and measured of one exchange between tasks.

    Attributes:
        fill: the share of the buffer in use, from 0 to 1, in the fullest channel.
        wait: how long batches lay in the buffer.
    """

    source: str
    target: str
    exchange: str
    records: int = 0
    batches: int = 0
    fill: float = 0.0
    wait: Latency = Latency()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        metrics = super().from_json(data)
        return dataclasses.replace(metrics, wait=Latency.from_json(data.get("wait", {})))


@dataclass(frozen=True)
class JobMetrics(_Model):
    """What a job's tasks have counted so far; ``at`` is when (RFC 3339).

    ``blocked`` names loops that have not drained, and calls of user code that have not returned for more than a second;
    ``given_up`` holds the newest failures of records that were skipped or dead-lettered, at most 100. As text it is a
    table of the operators, for people.
    """

    at: str | None = None
    tasks: int = 0
    running_tasks: int = 0
    services: int = 0
    operators: tuple[OperatorMetrics, ...] = ()
    edges: tuple[EdgeMetrics, ...] = ()
    blocked: tuple[str, ...] = ()
    given_up: tuple[FailureInfo, ...] = ()

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("operator", "kind", "in", "out", "late", "errors", "busy", "p99")]
        for item in self.operators:
            counts = (f"{count:,}" for count in (item.records_in, item.records_out, item.late, item.errors))
            slow = f"{item.latency.p99 * 1000:,.3g} ms" if item.latency.count else "-"
            rows.append((item.name, item.kind, *counts, f"{item.busy:.0%}", slow))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                text.ljust(width) if column < 2 else text.rjust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([f"{self.running_tasks} of {self.tasks} tasks running", *lines, *self.blocked])

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        metrics = super().from_json(data)
        return dataclasses.replace(
            metrics,
            operators=tuple(OperatorMetrics.from_json(item) for item in data.get("operators", ())),
            edges=tuple(EdgeMetrics.from_json(item) for item in data.get("edges", ())),
            blocked=tuple(data.get("blocked", ())),
            given_up=tuple(FailureInfo.from_json(item) for item in data.get("given_up", ())),
        )


@dataclass(frozen=True)
class StateChange(_Model):
    """One move of a job, as its history and the event stream tell it."""

    seq: int
    time: str
    state: str
    reason: str | None = None
    attempt: int = 1
    epoch: int = 0


@dataclass(frozen=True)
class LogChunk(_Model):
    """A piece of what a job has printed.

    Attributes:
        text: the piece, decoded.
        offset, next_offset: where it begins and where the next one does, in bytes since the job's first one.
        end: the job has ended and this piece reaches the end of its log.
        truncated: what lay between the offset asked for and `offset` is no longer kept.
    """

    text: str
    offset: int
    next_offset: int
    end: bool = False
    truncated: bool = False


@dataclass(frozen=True)
class DaemonInfo(_Model):
    """What a JobManager says of itself."""

    sage: str
    api: int
    python: str
    implementation: str
    cloudpickle: str
    pid: int
    started_at: str
    session_log: str
    backends: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        info = super().from_json(data)
        return dataclasses.replace(info, backends=tuple(info.backends))


@dataclass(frozen=True)
class Page(_Model):
    """One page of jobs."""

    items: tuple[JobInfo, ...]
    next_cursor: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(tuple(JobInfo.from_json(item) for item in data["items"]), data.get("next_cursor"))
