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
    metrics: JobMetrics
    history: Sequence[StateChange]

    def to_json(self) -> Mapping[str, Any]:
        """The job, and two more fields."""
        history = [change.to_json() for change in self.history]
        return {**self.job.to_json(), "metrics": self.metrics.to_json(), "history": history}


@app.command()
def show(
    ref: Ref,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Also its history, and what its operators and exchanges measure."),
    ] = False,
) -> None:
    """Show one job: its state, what it runs, what it has counted, and why it failed if it did."""
    context = current()
    client = context.client()
    job = client.job(ref)
    if not verbose:
        context.emit(job)
        return
    details = _Details(job, client.metrics(job.uuid), client.history(job.uuid))
    context.emit(details, kind="Job", view=_view)


def _view(details: _Details) -> Sequence[Part]:
    from sage.cli.render import jobs

    return [
        *jobs.details(details.job),
        *jobs.metrics_tables(details.metrics),
        *jobs.history_table(details.history),
    ]
