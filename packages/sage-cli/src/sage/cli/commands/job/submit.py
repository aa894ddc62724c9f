"""`sage job submit`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sage.cli.arguments import ScriptArgs
from sage.cli.context import Context, current
from sage.cli.failures import misuse, refuse
from sage.cli.following import exit_code_of_all, follow_all
from sage.cli.render.text import clean
from sage.cli.scripts import check_script, run_script
from sage.core.errors import SageError
from sage.core.models import JobInfo, Page

if TYPE_CHECKING:
    from sage.core.client import JobManagerClient

app = typer.Typer()

_PACKAGE = ".sagepkg"
_PARTLY = 10
_OPTIONS = ("--wait", "--json", "--output")


@app.command(context_settings={"allow_interspersed_args": False})
def submit(
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="A Python program, or a package it captured before.")],
    args: ScriptArgs = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the jobs until they have ended; the exit code tells how.")
    ] = False,
) -> None:
    """Send every pipeline that a script submits to the JobManager, and do not wait for them.

    The script runs here, but each of its submit() calls makes a package instead of a job; when the script has ended
    well, the packages are sent in order. What it prints goes to stderr. If it fails, nothing is sent.
    """
    context = current()
    check_script(script)
    client = context.client()
    with tempfile.TemporaryDirectory(prefix="sage-submit-") as folder:
        jobs = _send(context, client, _packages(script, args or [], Path(folder)))
    if not wait:
        context.emit(Page(tuple(jobs)))
        return
    if not context.for_machines:
        context.emit(Page(tuple(jobs)))
    status = exit_code_of_all(follow_all(context, [(client, job) for job in jobs]))
    if status:
        raise typer.Exit(status)


def _packages(script: str, args: Sequence[str], folder: Path) -> Sequence[Path]:
    """The packages to send, in the order in which the script submitted them."""
    if script.endswith(_PACKAGE):
        if args:
            misuse(f"{script} is a package, and takes no arguments: {' '.join(args)}")
        package = Path(script)
        try:
            package.open("rb").close()
        except OSError as error:
            raise typer.BadParameter(f"{script} cannot be read: {error.strerror}", param_hint="SCRIPT") from error
        return [package]
    status = run_script(script, args, {"SAGE_CAPTURE": str(folder)}, stdout=sys.stderr)
    if status:
        refuse(
            "script_failed",
            f"{script} ended with status {status}; nothing was sent to the JobManager",
            "the script must reach its end without an error; what it printed is above" + _strayed(args),
            exit_code=status if status > 128 else 9,
        )
    found = sorted(folder.glob(f"*{_PACKAGE}"))
    if not found:
        refuse("nothing_submitted", f"{script} submitted nothing", "call submit() on an environment with a pipeline")
    return found


def _strayed(args: Sequence[str]) -> str:
    """What to know if the script was given what looks like an option of this command."""
    ours = [arg for arg in args if arg in _OPTIONS]
    return f". {ours[0]} went to the script: options of sage job submit stand before it" if ours else ""


def _send(context: Context, client: JobManagerClient, packages: Sequence[Path]) -> list[JobInfo]:
    jobs: list[JobInfo] = []
    for number, package in enumerate(packages, 1):
        try:
            jobs.append(client.submit(package))
        except SageError as error:
            if not jobs:
                raise
            sent = ", ".join(f"{job.number} ({clean(job.name)})" for job in jobs)
            refuse(
                error.code,
                f"the JobManager took {len(jobs)} of {len(packages)} jobs ({sent}); number {number}: {error.message}",
                error.hint,
                exit_code=_PARTLY,
                jobs=[job.to_json() for job in jobs],
            )
    return jobs
