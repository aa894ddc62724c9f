"""What a program is told of its job: the same keys wherever that runs."""

from __future__ import annotations

from typing import Any

from sage.core.models import JobInfo, JobMetrics

__all__ = ["status_of"]


def status_of(info: JobInfo, metrics: JobMetrics | None) -> dict[str, Any]:
    """A job's status as a mapping; without metrics, what they would tell is None."""
    operators = () if metrics is None else metrics.operators
    return {
        "status": info.state,
        **info.to_json(),
        "number": info.number or None,  # a job without a JobManager has none
        "blocked": None if metrics is None else list(metrics.blocked),
        "skipped": None if metrics is None else sum(item.skipped for item in operators),
        "dead_lettered": None if metrics is None else sum(item.dead_lettered for item in operators),
    }
