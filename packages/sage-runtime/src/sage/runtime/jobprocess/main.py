"""The job process's way from its command line to its last message."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sage.core.errors import SageError
from sage.runtime.jobprocess.failures import describe_failure
from sage.runtime.jobprocess.job import Job
from sage.runtime.jobprocess.line import Line
from sage.runtime.jobprocess.output import flush_output, prepare_output
from sage.runtime.shim.environment import SHIM_FD

if TYPE_CHECKING:
    from sage.core.engine.coordinator import Coordinator, StateListener
    from sage.core.graph.model import LogicalGraph

__all__ = ["main", "run_job"]

_ORPHAN_GRACE = 5.0


def main(arguments: Sequence[str]) -> int:
    """Run the job whose folder is the one argument; returns the exit status: 0 told how it ended, 2 usage."""
    if len(arguments) != 1 or SHIM_FD not in os.environ:
        print("a job's shim starts this; to run a pipeline use: sage run SCRIPT", file=sys.stderr)
        return 2
    prepare_output()
    line = Line()
    job = Job(line.send)
    ended, orphaned = threading.Event(), threading.Event()

    def command(message: dict[str, Any]) -> None:
        if message.get("command") == "cancel":
            job.cancel(float(message.get("grace", _ORPHAN_GRACE)))

    def shim_gone() -> None:
        orphaned.set()
        job.cancel(_ORPHAN_GRACE)
        ended.wait(_ORPHAN_GRACE * 2)
        _end_group()

    line.listen(command, shim_gone)
    run_job(job, Path(arguments[0]))
    ended.set()
    flush_output()
    if orphaned.is_set():
        _end_group()
    if job.cancelled:
        # What did not stop when it was cancelled shall not hold up the interpreter's end either.
        os._exit(0)
    return 0


def run_job(job: Job, folder: Path) -> None:
    """Open the package, make the backend, run; whatever goes wrong on the way becomes the job's one failure."""
    kind, doing = "internal", "the job's order cannot be read"
    try:
        order = json.loads((folder / "job.json").read_bytes())
        kind, doing = "load", "the job's package cannot be opened"
        graph = _open_package(folder)
        kind, doing = "backend", f"the backend {order['backend']!r} cannot run this job"
        make = _prepare(folder, order, graph)
        job.run(make)
    except SageError as error:
        job.fail(describe_failure(kind, error, doing=doing))
    except BaseException as error:
        # All of them: a module of the user's may raise SystemExit when it is imported, and that must be told as well.
        job.fail(describe_failure(kind if kind == "load" else "internal", error, doing=doing))


def _open_package(folder: Path) -> LogicalGraph:
    from sage.core.client.code import open_package
    from sage.core.client.package import check_versions, read_manifest

    package = folder / "package.zip"
    # Before anything is unpickled: a pickle of another Python may crash this one instead of raising.
    check_versions(read_manifest(package), peer="the job's process")
    return open_package(package, folder / "code")[1]


def _prepare(folder: Path, order: Mapping[str, Any], graph: LogicalGraph) -> Callable[[StateListener], Coordinator]:
    from sage.core.backends.api import BackendOptions
    from sage.core.config import load
    from sage.core.engine.coordinator import Coordinator
    from sage.core.engine.events import Attempt
    from sage.core.plugins import backend

    where = backend(order["backend"], BackendOptions(order["options"]))
    attempt = Attempt(
        order["uuid"],
        order["name"],
        order["attempt"],
        order["epoch"],
        package=folder / "package.zip",
        max_operator_state=load().checkpoints.max_operator_state,
    )
    return lambda on_state: Coordinator(graph, where, attempt, on_state=on_state)


def _end_group() -> NoReturn:
    """The shim is gone: nobody reads, and nobody will look after what this process has started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
