"""`sage hello`: a command group of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from sage.core.plugins import command_context, hookimpl

__all__ = ["sage_command"]

app = typer.Typer(help="Greet the world, or the jobs that run.")


@dataclass(frozen=True)
class Greeting:
    """What is printed: a table for people, its fields for machines."""

    whom: str
    text: str


@app.command()
def world(name: Annotated[str, typer.Argument(help="Whom to greet.")] = "world") -> None:
    """Greet somebody; needs no JobManager."""
    command_context().emit(Greeting(name, f"Hello, {name}!"))


@app.command()
def jobs() -> None:
    """Greet every job that runs."""
    context = command_context()
    greetings, cursor = [], None
    while True:
        page = context.client().jobs(state="running", cursor=cursor)
        greetings += [Greeting(job.name, f"Hello, job {job.number}!") for job in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    if not greetings:
        context.note("no job is running")
    context.emit(greetings)


@hookimpl
def sage_command() -> typer.Typer:
    return app
