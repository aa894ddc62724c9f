"""The hooks of SAGE, all on this page; ``docs/reference/hooks.md`` has a complete example of each.

A plugin is a module, or an object in one, that an entry point of one of the groups below leads to, and whose functions
are marked with `hookimpl`. An implementation may leave out arguments it does not need. The signatures here are public:
arguments are only ever added.

The first three hooks are called on the one plugin that a name leads to; returning None is an error there. Those of the
group ``sage.plugins`` are called on every plugin of that group that implements them, sorted by the names of the entry
points (``tryfirst`` and ``trylast`` go before that). Each is called by itself, so hook wrappers are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from sage.core.backends.api import Backend, BackendOptions
    from sage.core.connectors.api import Connector
    from sage.core.errors import Problem
    from sage.core.graph.model import LogicalGraph
    from sage.core.models import CheckpointInfo, FailureInfo, JobInfo
    from sage.core.plugins.target import Target

__all__ = [
    "HOOKS",
    "PROJECT",
    "SAGE_API",
    "hookimpl",
    "hookspec",
    "sage_backend",
    "sage_command",
    "sage_connector",
    "sage_graph_check",
    "sage_graph_rewrite",
    "sage_job_checkpoint",
    "sage_job_failure",
    "sage_job_state",
]

PROJECT = "sage"
SAGE_API = 1
"""The version of the hooks; a plugin may say which it was written for by a ``sage_api`` attribute."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def sage_backend(name: str, options: BackendOptions) -> Backend:  # type: ignore[empty-body]
    """Make the backend `name` (group ``sage.backends``). Nothing is started yet: `Backend.deploy` does that.

    Raises:
        SageError: the options are wrong; the user is told just that.
    """


@hookspec
def sage_connector(name: str) -> Connector:  # type: ignore[empty-body]
    """Return the connector `name` (group ``sage.connectors``), whose `source` and `sink` users reach by its name.

    ``env.from_connector("acme", topic="orders")`` reads from ``connector.source(topic="orders")``, and
    ``stream.to_connector("acme", topic="bills")`` writes to ``connector.sink(topic="bills")``.
    """


@hookspec
def sage_command(name: str) -> Any:
    """Return the `typer.Typer` of the command `name` (group ``sage.commands``); ``job.export`` is `sage job export`."""


@hookspec
def sage_graph_rewrite(graph: LogicalGraph, target: Target) -> LogicalGraph | None:
    """Change a pipeline before it is checked and submitted (group ``sage.plugins``); None leaves it as it is.

    Called at `submit`, in the user's program, within 30 s. Graphs are immutable: make another with
    `dataclasses.replace`. It is validated again, and one that cannot run is an error that names the plugin.
    """


@hookspec
def sage_graph_check(graph: LogicalGraph, target: Target) -> list[Problem]:  # type: ignore[empty-body]
    """Say what speaks against running a pipeline (group ``sage.plugins``).

    Called at `submit`, in the user's program, within 30 s, after all plugins have rewritten the graph. A problem of the
    level ``error`` refuses the pipeline; others are shown as warnings. An empty list says that all is well.
    """


@hookspec
def sage_job_state(job: JobInfo, old: str, new: str, reason: str | None) -> None:
    """A job has gone from one state to another (group ``sage.plugins``).

    Of a job's first state, `old` is ``created``. Like all job hooks it is called where the job is looked after: in the
    JobManager, or in the program itself for jobs that run there; in the order in which things happened, on a thread of
    the plugin's own, and never in the way of the job. A plugin that does not keep up misses the oldest events, and the
    log says how many.
    """


@hookspec
def sage_job_failure(job: JobInfo, failure: FailureInfo) -> None:
    """A job has failed (group ``sage.plugins``); called right after its `sage_job_state` with the state ``failed``."""


@hookspec
def sage_job_checkpoint(job: JobInfo, checkpoint: CheckpointInfo) -> None:
    """A checkpoint or savepoint of a job is complete (group ``sage.plugins``).

    This version takes no checkpoints, so it is not called yet.
    """


HOOKS = {
    "sage.backends": ("sage_backend",),
    "sage.commands": ("sage_command",),
    "sage.connectors": ("sage_connector",),
    "sage.plugins": (
        "sage_graph_rewrite",
        "sage_graph_check",
        "sage_job_state",
        "sage_job_failure",
        "sage_job_checkpoint",
    ),
}
"""The hooks that an entry point of each group implements: the one, or of several at least one."""
