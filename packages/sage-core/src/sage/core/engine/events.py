"""What a coordinator and the tasks of a job say to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sage.core.engine.event_time import MIN_TIME
from sage.core.engine.histogram import Histogram
from sage.core.engine.snapshot import OperatorSnapshot
from sage.core.models import FailureInfo
from sage.core.plan.model import TaskId

__all__ = ["Attempt", "Command", "HostInfo", "InputCounts", "OperatorCounts", "TaskCounts", "TaskEvent"]


@dataclass(frozen=True)
class Attempt:
    """One deployment of a job.

    Attributes:
        job: uuid of the job.
        name: name of its environment.
        attempt: rises with each continue, from 1.
        epoch: rises with every deployment, from 1.
        package: where other processes find the job's package; None if it never leaves this one.
        restored: by uid, what the operator's subtasks have saved, to go on from; empty for a beginning.
        partitions: by uid, the partitions of each source that has some: looked up once, for all of its subtasks.
        max_operator_state: bytes that a subtask of an operator may keep for its keys, by the size when saved.
    """

    job: str
    name: str = "job"
    attempt: int = 1
    epoch: int = 1
    package: Path | None = None
    partitions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    restored: Mapping[str, Sequence[OperatorSnapshot]] = field(default_factory=dict)
    max_operator_state: int = 256 << 20


@dataclass(frozen=True)
class Command:
    """What a coordinator asks of a task: ``start`` (let records flow), ``report`` (send counts), ``commit``, ``align``.

    ``commit`` comes once all tasks that are left are ``prepared``: what they have written is to be published. ``align``
    tells the watermark of the slowest of the sources that wait for each other, ``time`` in microseconds.
    """

    kind: Literal["start", "report", "commit", "align"]
    time: int = MIN_TIME


@dataclass(frozen=True)
class HostInfo:
    """Where a task runs."""

    name: str
    pid: int


@dataclass(frozen=True)
class OperatorCounts:
    """What one operator has counted in one subtask.

    Attributes:
        given_up: the newest failures of records given up.
        failed: exceptions of its functions that ended the task, or came while it ended.
        late: records that came too late.
        watermark: the event time of its input, in microseconds.
    """

    records_in: int = 0
    records_out: int = 0
    retried: int = 0
    skipped: int = 0
    dead_lettered: int = 0
    given_up: tuple[FailureInfo, ...] = ()
    failed: int = 0
    late: int = 0
    watermark: int = MIN_TIME


@dataclass(frozen=True)
class InputCounts:
    """What one task has counted of an edge that leads to it.

    Attributes:
        fill: share of the credits in use now, from 0 to 1, of the fullest channel.
        waits: how long batches waited until they were taken.
    """

    fill: float = 0.0
    waits: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True)
class TaskCounts:
    """What one task has counted.

    Attributes:
        operators: by uid.
        edges: by edge of the plan, (records, batches) sent.
        inputs: by edge of the plan that leads to the task.
        busy, backpressured: shares of the time since it was started, from 0 to 1.
        latency: of records, from their arrival at the task to the end of the slice that processed them.
        draining: at the head of a loop whose input has ended, that records still go round; None elsewhere.
    """

    operators: Mapping[str, OperatorCounts] = field(default_factory=dict)
    edges: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    busy: float = 0.0
    backpressured: float = 0.0
    inputs: Mapping[int, InputCounts] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)
    draining: str | None = None


@dataclass(frozen=True)
class TaskEvent:
    """What a task tells its coordinator.

    Attributes:
        task: who.
        kind: ``running`` (opened, waits for ``start``), ``counts``, ``time``, ``collected``, ``prepared`` (all its
            input is processed, and what it has written to connectors waits for ``commit``), or how it ended:
            ``finished``, ``failed``, ``cancelled``, ``abandoned`` (did not stop within the grace; it may still run).
        uid, records: with ``collected``, the sink of a ``collect()``, and what it has taken.
        time: with ``time``, the watermark of a source that waits for slower ones, in microseconds.
        counts: with ``counts`` and all endings, but for a task whose thread ended without telling how.
        failure: with ``failed``; with ``cancelled`` if closing failed.
        error: the exception itself, where the task runs in the coordinator's process.
        where: with ``abandoned``, what the task was doing; with ``counts``, which call of user code has not
            returned for more than a second.
    """

    task: TaskId
    kind: Literal["running", "counts", "time", "collected", "prepared", "finished", "failed", "cancelled", "abandoned"]
    counts: TaskCounts | None = None
    failure: FailureInfo | None = None
    error: BaseException | None = None
    where: str | None = None
    time: int = MIN_TIME
    uid: str | None = None
    records: Sequence[Any] = ()
