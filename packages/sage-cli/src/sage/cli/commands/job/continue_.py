"""`sage job continue`, and its alias `resume`."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from sage.cli.arguments import Ref
from sage.cli.context import current
from sage.cli.render.parts import Line, Part
from sage.core.models import JobInfo

app = typer.Typer()


@app.command()
def continue_job(ref: Ref) -> None:
    """Let a stopped or failed job go on from its savepoint or its newest checkpoint.

    A JobManager of this version writes neither, and answers that the job's state does not allow it (exit code 8).
    """
    context = current()
    context.emit(context.client().continue_(ref), view=_view)


def _view(job: JobInfo) -> Sequence[Part]:
    return [Line(f"job {job.number} ({job.name}): {job.state}, attempt {job.attempt}")]
