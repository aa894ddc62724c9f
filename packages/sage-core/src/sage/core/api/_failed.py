"""The error that tells of a failed job."""

from __future__ import annotations

from sage.core.errors import JobFailedError
from sage.core.models import FailureInfo

__all__ = ["job_failed"]


def job_failed(uuid: str, name: str, failure: FailureInfo | None) -> JobFailedError:
    """Names the job, the operator, the record, and ends with the traceback from where it happened."""
    lines = [f"job '{name}' ({uuid}) failed"]
    if failure is not None:
        lines[0] += f": {failure.message}"
        if failure.uid is not None:
            lines.append(f"  operator {failure.uid}, declared at {failure.location}, subtask {failure.subtask}")
        if failure.record is not None:
            lines.append(f"  record: {failure.record}")
        if failure.traceback is not None:
            lines.append(failure.traceback.rstrip())
    return JobFailedError("\n".join(lines), job=uuid, failure=failure)
