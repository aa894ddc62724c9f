"""`sage cluster`: for now it only says what is not there yet."""

from __future__ import annotations

import typer

from sage.core.plugins import hookimpl
from sage.runtime.commands._shared import no_cluster, show_status

app = typer.Typer(help="Look at the cluster that jobs run on.", no_args_is_help=True)


@hookimpl
def sage_command() -> typer.Typer:
    return app


@app.callback()
def cluster() -> None:
    """Look at the cluster that jobs run on."""


@app.command()
def status() -> None:
    """Tell how the JobManager does. This version manages no workers: it says so and ends with 10 (4 if down)."""
    show_status()
    no_cluster("the JobManager is up, but there is no cluster to look at")
