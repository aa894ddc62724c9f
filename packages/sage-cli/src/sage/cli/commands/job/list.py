"""`sage job list`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from sage.cli.context import current

app = typer.Typer()

# The states of `sage.core.models.JOB_STATES`, spelled out because an annotation must (a test compares them).
State = Literal[
    "submitted",
    "queued",
    "starting",
    "running",
    "restarting",
    "stopping",
    "stopped",
    "completed",
    "failing",
    "failed",
    "cancelling",
    "cancelled",
]


@app.command()
def list_jobs(
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    name: Annotated[str | None, typer.Option(help="Only jobs of this name.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only jobs of this owner.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on where an earlier list ended.")] = None,
) -> None:
    """List jobs, newest first. Those that have ended stay listed until they are deleted or cleaned up."""
    context = current()
    page = context.client().jobs(state=state, name=name, owner=owner, cursor=cursor, limit=limit)
    context.emit(page)
    if page.next_cursor and not context.for_machines:
        context.note(f"there are more: --cursor {page.next_cursor}")
