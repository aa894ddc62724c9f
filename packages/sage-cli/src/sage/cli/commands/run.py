"""`sage run`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sage.cli.arguments import ScriptArgs
from sage.cli.context import Context, current
from sage.cli.following import exit_code_of_all, follow_all
from sage.cli.scripts import check_script, run_script
from sage.core.errors import NotFoundError
from sage.core.models import JobInfo

if TYPE_CHECKING:
    from sage.core.client import JobManagerClient

app = typer.Typer()


@dataclass(frozen=True)
class Run:
    """How a script and the jobs it submitted to JobManagers ended."""

    exit_status: int
    jobs: Sequence[JobInfo]


@app.command(context_settings={"allow_interspersed_args": False})
def run(
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="A Python program.")], args: ScriptArgs = None
) -> None:
    """Run a script as `python SCRIPT` would, then show what the jobs it submitted print, until they have ended.

    What the script has read itself (`job.logs()`) is not shown again.

    The exit code is the script's own if that is not 0; else 1 if a job failed, 7 if one was stopped or cancelled.
    With --json or --output yaml the script's own output goes to stderr, and stdout carries results only.
    """
    context = current()
    check_script(script)
    with tempfile.TemporaryDirectory(prefix="sage-run-") as folder:
        report = Path(folder, "jobs.jsonl")
        stdout = sys.stderr if context.for_machines else None
        status = run_script(script, args or [], {"SAGE_RUN_REPORT": str(report)}, stdout=stdout)
        submitted = _read(report)
    if status:
        if submitted and not context.for_machines:
            context.note(f"the script ended with status {status}; what it submitted is in: sage job list")
        _finish(
            context, Run(status, [job for _, job in _jobs(context, submitted)] if context.for_machines else []), status
        )
    jobs = _jobs(context, submitted)
    # Whether a job has ended by now is chance: shown is each whose output the script itself has not read.
    seen = {entry["uuid"] for entry in submitted if entry.get("seen")}
    unseen = [(client, job) for client, job in jobs if not (job.is_ended and job.uuid in seen)]
    ends = {job.uuid: job for job in follow_all(context, unseen)} if unseen else {}
    ended = [ends.get(job.uuid, job) for _, job in jobs]
    _finish(context, Run(status, ended), exit_code_of_all(ended))


def _finish(context: Context, run: Run, status: int) -> None:
    if context.for_machines:
        context.emit_next(run)
    if status:
        raise typer.Exit(status)


def _read(report: Path) -> Sequence[Mapping[str, Any]]:
    """What the script's environments say they submitted, each job once."""
    if not report.exists():
        return []
    entries = [json.loads(line) for line in report.read_text().splitlines()]
    return list({entry["uuid"]: entry for entry in entries}.values())


def _jobs(context: Context, submitted: Sequence[Mapping[str, Any]]) -> Sequence[tuple[JobManagerClient, JobInfo]]:
    """The jobs as they are now; those that the script has deleted are left out."""
    clients: dict[tuple[str, int], JobManagerClient] = {}
    found = []
    for entry in submitted:
        address = (entry["host"], entry["port"])
        if address not in clients:
            clients[address] = context.client(host=address[0], port=address[1])
        try:
            found.append((clients[address], clients[address].job(entry["uuid"])))
        except NotFoundError:
            continue
    return found
