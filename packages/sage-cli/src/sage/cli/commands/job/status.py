"""`sage job status`."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from sage.cli.arguments import Ref
from sage.cli.context import current
from sage.cli.render.parts import Line, Part
from sage.core.models import JobInfo

app = typer.Typer()


@app.command()
def status(ref: Ref) -> None:
    """Print the state of one job, a single word; reason and mark go to stderr."""
    context = current()
    job = context.client().job(ref)
    context.emit(job, view=_view)
    if not context.for_machines:
        for text in (job.mark, job.reason):
            if text:
                context.note(text)


def _view(job: JobInfo) -> Sequence[Part]:
    return [Line(job.state)]
