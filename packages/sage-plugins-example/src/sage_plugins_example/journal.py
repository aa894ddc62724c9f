"""A hook that keeps a journal: a JSON line for each state of each job, in the file that the user names.

Jobs of a JobManager are written by it, so the variable has to be set where that is started.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from sage.core.plugins import JobInfo, hookimpl

__all__ = ["JOURNAL", "sage_job_state"]

JOURNAL = "SAGE_EXAMPLE_JOURNAL"
"""The environment variable that names the file; without it nothing is written."""


@hookimpl
def sage_job_state(job: JobInfo, new: str, reason: str | None) -> None:
    path = os.environ.get(JOURNAL)
    if path:
        line = json.dumps({"job": job.uuid, "name": job.name, "state": new, "reason": reason})
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
