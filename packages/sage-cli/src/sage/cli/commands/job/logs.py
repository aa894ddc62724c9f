"""`sage job logs`."""

from __future__ import annotations

from typing import Annotated

import typer

from sage.cli.arguments import Ref
from sage.cli.context import current
from sage.cli.following import exit_code_of, follow, print_log

app = typer.Typer()


@app.command()
def logs(
    ref: Ref,
    follow_: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended; the exit code tells how.")
    ] = False,
    offset: Annotated[int, typer.Option(min=0, help="Skip this many bytes from the job's first one.")] = 0,
) -> None:
    """Print what a job has written, from its first byte on, as far as it is kept.

    On a terminal colours pass and other control sequences are shown instead of obeyed; elsewhere the text is as
    the job wrote it.
    """
    context = current()
    client = context.client()
    if follow_:
        status = exit_code_of(follow(context, client, client.job(ref), offset=offset))
        if status:
            raise typer.Exit(status)
    else:
        print_log(context, client, ref, offset=offset)
