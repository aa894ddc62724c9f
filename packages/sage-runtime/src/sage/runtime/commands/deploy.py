"""`sage deploy`: for now the JobManager of this host; workers are said to be missing."""

from __future__ import annotations

from typing import Annotated

import typer

from sage.core.plugins import hookimpl
from sage.runtime.commands._shared import (
    Host,
    Port,
    Timeout,
    no_cluster,
    restart_daemon,
    show_status,
    start_daemon,
    stop_daemon,
)

app = typer.Typer(
    help="Start, stop and look at a SAGE deployment: the JobManager and its workers.", no_args_is_help=True
)

WithWorkers = Annotated[bool, typer.Option("--with-workers", help="Also the workers on the configured hosts.")]


@hookimpl
def sage_command() -> typer.Typer:
    return app


@app.command()
def start(host: Host = None, port: Port = None, with_workers: WithWorkers = False) -> None:
    """Start the JobManager. This version starts no workers: with --with-workers it says so and ends with 10."""
    start_daemon(host, port)
    if with_workers:
        no_cluster("the JobManager runs, but no workers were started")


@app.command()
def stop(timeout: Timeout = 30.0, with_workers: WithWorkers = False) -> None:
    """Stop the JobManager. Its jobs go on, and the next start takes them over again."""
    stop_daemon(timeout)
    if with_workers:
        no_cluster("no workers were stopped")


@app.command()
def restart(host: Host = None, port: Port = None, timeout: Timeout = 30.0, with_workers: WithWorkers = False) -> None:
    """Stop the JobManager if it runs, and start it. Its jobs go on meanwhile."""
    restart_daemon(host, port, timeout)
    if with_workers:
        no_cluster("the JobManager runs, but no workers were restarted")


@app.command()
def status(with_workers: WithWorkers = False) -> None:
    """Tell how the JobManager does; the exit code is 0 if it is up, 4 if down, 10 if unhealthy."""
    show_status()
    if with_workers:
        no_cluster("the JobManager is up, but there are no workers to look at")
