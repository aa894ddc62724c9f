"""The error that tells of a failed job."""

from __future__ import annotations

from sage.core.engine.failures import told_by_python
from sage.core.errors import JobFailedError
from sage.core.models import FailureInfo

__all__ = ["job_failed"]


def job_failed(uuid: str, name: str, failure: FailureInfo | None, cause: BaseException | None = None) -> JobFailedError:
    """Names the job, the operator, the record, and ends with the traceback from where it happened.

    What Python shows of ``cause`` anyway, right before this error, is not told again.
    """
    lines = [f"job '{name}' ({uuid}) failed"]
    if failure is not None:
        lines[0] += f": {failure.message}"
        if failure.uid is not None:
            lines.append(f"  operator {failure.uid}, declared at {failure.location}, subtask {failure.subtask}")
        if failure.record is not None:
            lines.append(f"  record: {failure.record}")
        if failure.traceback is not None:
            lines.append(failure.traceback.removeprefix(told_by_python(cause)).strip("\n"))
    return JobFailedError("\n".join(filter(None, lines)), job=uuid, failure=failure)
