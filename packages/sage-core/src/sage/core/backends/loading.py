"""The tasks of a job in another process than the one that has submitted it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sage.core.client.code import open_package
from sage.core.client.package import read_manifest
from sage.core.engine.events import Attempt
from sage.core.engine.wiring import TaskSet
from sage.core.errors import InvalidPackageError
from sage.core.plan.model import TaskId
from sage.core.plan.planner import make_plan

__all__ = ["load_tasks"]


def load_tasks(package: Path, task_ids: Iterable[TaskId], attempt: Attempt) -> TaskSet:
    """Open the package of a job, once in a process, and take some of its tasks.

    This runs code of the author's: classes are imported, what lived in ``__main__`` becomes this process's.

    Args:
        package: where it is; its code is unpacked beside it, once for all processes.
        task_ids: the tasks that are to run here.
        attempt: the deployment, as the coordinator has it.

    Raises:
        SageError: the package is not valid, or not this attempt's, or the author's code cannot be loaded here.
        OSError: there is no package, or no room beside it.
    """
    packed = read_manifest(package).job.uuid
    if packed != attempt.job:  # before any of its code runs
        raise InvalidPackageError(f"the package is of job {packed}, the attempt of job {attempt.job}")
    _, graph = open_package(package, package.with_name("code"))
    return TaskSet(make_plan(graph), tuple(task_ids))
