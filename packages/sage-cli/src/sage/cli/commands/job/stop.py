"""`sage job stop`, and its alias `pause`."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from sage.cli.arguments import Ref
from sage.cli.context import current
from sage.cli.render.parts import Line, Part
from sage.core.models import JobInfo

app = typer.Typer()


@app.command()
def stop(ref: Ref) -> None:
    """Stop a job. For now that cancels it: this version writes no savepoint to continue from.

    The command comes back when the JobManager has taken the request; `sage job wait` waits for the end.
    """
    context = current()
    job = context.client().stop(ref)
    context.emit(job, view=_view)
    if job.state in ("cancelling", "cancelled") and not context.for_machines:
        context.note("the job is cancelled: this version writes no savepoint, so it cannot be continued")


def _view(job: JobInfo) -> Sequence[Part]:
    return [Line(f"job {job.number} ({job.name}): {job.state}")]
