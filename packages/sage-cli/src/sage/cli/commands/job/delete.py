"""`sage job delete`."""

from __future__ import annotations

import typer

from sage.cli.arguments import Force, Ref, Yes
from sage.cli.context import current

app = typer.Typer()


@app.command()
def delete(ref: Ref, yes: Yes = False, force: Force = False) -> None:
    """Remove one job for good: its package, its events and its logs. A job that has not ended is refused (8)."""
    context = current()
    client = context.client()
    job = client.job(ref)
    if not (yes or force):
        context.confirm(f"Delete job {job.number} ({job.name}, {job.state}) with its logs?")
    client.delete(job.uuid, force=force)
    context.emit(job, view=lambda _: [])
    if not context.for_machines:
        context.note(f"job {job.number} ({job.name}) is deleted")
