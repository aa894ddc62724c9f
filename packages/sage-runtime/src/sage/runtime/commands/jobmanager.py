"""`sage jobmanager`."""

from __future__ import annotations

from typing import Annotated

import typer

from sage.core.config import sage_home
from sage.core.plugins import command_context, hookimpl
from sage.runtime.commands import daemon, session_log
from sage.runtime.commands._shared import Host, Port, Timeout, restart_daemon, show_status, start_daemon, stop_daemon
from sage.runtime.jobmanager.home import Home

app = typer.Typer(help="Start, stop and look at the JobManager of this host.", no_args_is_help=True)


@hookimpl
def sage_command() -> typer.Typer:
    return app


@app.command()
def start(
    host: Host = None,
    port: Port = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in the foreground, for service managers and containers.")
    ] = False,
) -> None:
    """Start the JobManager in the background and come back when it is ready.

    One is enough for a SAGE_HOME: if one runs, the command ends with 8 and names it.
    """
    context = command_context()
    if foreground:
        daemon.run_foreground(context.config, host=host, port=port)
    start_daemon(host, port)


@app.command()
def stop(timeout: Timeout = 30.0) -> None:
    """Stop the JobManager. Its jobs go on, and the next start takes them over again."""
    stop_daemon(timeout)


@app.command()
def restart(host: Host = None, port: Port = None, timeout: Timeout = 30.0) -> None:
    """Stop the JobManager if it runs, and start it. Its jobs go on meanwhile."""
    restart_daemon(host, port, timeout)


@app.command()
def status() -> None:
    """Tell how the JobManager does; the exit code is 0 if it is up, 4 if down, 10 if unhealthy."""
    show_status()


@app.command()
def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 100,
) -> None:
    """Print the last lines of the newest session log: what the JobManager did, and what its jobs print."""
    context = command_context()
    daemon.require_this_host(context.config, "its log cannot be read from here")
    home = sage_home()
    path = Home(home).session_logs / "latest.log"
    try:
        if follow:
            context.follow(session_log.follow(path, lines))
        else:
            context.emit(session_log.last_lines(path, lines))
    except FileNotFoundError:
        context.fail("not_found", f"no JobManager has run in {home} yet", "sage jobmanager start")
