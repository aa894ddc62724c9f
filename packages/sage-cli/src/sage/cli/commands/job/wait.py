"""`sage job wait`."""

from __future__ import annotations

from typing import Annotated

import typer

from sage.cli.arguments import Ref, seconds
from sage.cli.context import current
from sage.cli.following import exit_code_of, telling_what_goes_on

app = typer.Typer()


@app.command()
def wait(
    ref: Ref,
    timeout: Annotated[
        float | None,
        typer.Option(
            parser=seconds,
            metavar="DURATION",
            help="Wait no longer than this (30, 5m); then end with 6, the job goes on.",
        ),
    ] = None,
) -> None:
    """Wait until a job has ended, show it, and tell by the exit code how it ended."""
    context = current()
    client = context.client()
    job = client.job(ref)
    with telling_what_goes_on(context, [job]):
        job = client.wait(job.uuid, timeout=timeout)
    context.emit(job)
    status = exit_code_of(job)
    if status:
        raise typer.Exit(status)
