"""`sage job show`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from sage.cli.arguments import Ref
from sage.cli.context import current
from sage.cli.render.parts import Part
from sage.core.models import JobInfo, JobMetrics, StateChange

app = typer.Typer()


@dataclass(frozen=True)
class _Details:
    job: JobInfo
    graph: Mapping[str, Any] | None = None
    metrics: JobMetrics | None = None
    history: Sequence[StateChange] | None = None

    def to_json(self) -> Mapping[str, Any]:
        """The job, and a field more for each that was asked for."""
        more: dict[str, Any] = {}
        if self.graph is not None:
            more["graph"] = self.graph
        if self.metrics is not None:
            more["metrics"] = self.metrics.to_json()
        if self.history is not None:
            more["history"] = [change.to_json() for change in self.history]
        return {**self.job.to_json(), **more}


@app.command()
def show(
    ref: Ref,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Also its history, and what its operators and exchanges measure."),
    ] = False,
    graph: Annotated[
        bool,
        typer.Option("--graph", help="Also what it was declared as: its operators, and where their records come from."),
    ] = False,
) -> None:
    """Show one job: its state, what it runs, what it has counted, and why it failed if it did."""
    context = current()
    client = context.client()
    job = client.job(ref)
    if not verbose and not graph:
        context.emit(job)
        return
    details = _Details(
        job,
        client.graph(job.uuid) if graph else None,
        client.metrics(job.uuid) if verbose else None,
        client.history(job.uuid) if verbose else None,
    )
    context.emit(details, kind="Job", view=_view)


def _view(details: _Details) -> Sequence[Part]:
    from sage.cli.render import jobs

    parts = [*jobs.details(details.job)]
    if details.graph is not None:
        parts += jobs.graph_table(details.graph)
    if details.metrics is not None:
        parts += jobs.metrics_tables(details.metrics)
    if details.history is not None:
        parts += jobs.history_table(details.history)
    return parts
