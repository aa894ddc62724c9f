"""What `jobmanager` and `deploy` have in common."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from sage.core.plugins import command_context
from sage.runtime.commands import daemon

__all__ = ["Host", "Port", "Timeout", "no_cluster", "restart_daemon", "show_status", "start_daemon", "stop_daemon"]

_PARTLY_DONE = 10

Host = Annotated[str | None, typer.Option(help="Listen on this address instead of the configured one.")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Listen on this port instead of the configured one; 0: a free one.")
]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait at most for its end.")]


def start_daemon(host: str | None, port: int | None) -> None:
    """Start the JobManager and tell where it is."""
    context = command_context()
    started = daemon.start(context.config, host=host, port=port)
    context.emit(started.status)
    if port not in (None, 0, context.config.daemon.port):
        context.note(f"clients look for it on port {context.config.daemon.port}: sage config set daemon.port {port}")


def stop_daemon(timeout: float) -> None:
    """Stop the JobManager and say so; that none runs is said, and is no error."""
    context = command_context()
    stopped = daemon.stop(context.config, timeout=timeout)
    if stopped is None:
        context.note("no JobManager runs here")
    else:
        context.note(f"the JobManager (pid {stopped.pid}) has ended; {_what_goes_on(daemon.jobs_under_way())}")


def _what_goes_on(jobs: int) -> str:
    if not jobs:
        return "no job was under way"
    return "its job goes on" if jobs == 1 else f"its {jobs} jobs go on"


def restart_daemon(host: str | None, port: int | None, timeout: float) -> None:
    """Stop the JobManager if it runs, and start it; one that could not start again is not stopped."""
    daemon.check_start(command_context().config, host=host, port=port)
    stop_daemon(timeout)
    start_daemon(host, port)


def show_status() -> None:
    """Print how the JobManager does, and end the command with 4 if it is down, with 10 if it is unhealthy."""
    context = command_context()
    found = daemon.status(context.config)
    context.emit(found)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def no_cluster(done: str) -> NoReturn:
    """End the command with 10: what concerns workers is not there yet, which is said after what was done."""
    command_context().note(f"{done}: this version of SAGE manages no workers; jobs run on the JobManager's own host")
    raise typer.Exit(_PARTLY_DONE)
