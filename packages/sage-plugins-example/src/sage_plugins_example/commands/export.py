"""`sage job export`: a command inside a group that SAGE has."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sage.core.client import JobManagerClient
from sage.core.plugins import command_context, hookimpl

__all__ = ["sage_command"]

app = typer.Typer()


@dataclass(frozen=True)
class Export:
    """What was written."""

    job: str
    path: str
    size: int


@app.command()
def export(
    ref: Annotated[str, typer.Argument(help="The job: its number, uuid, or the first 4 or more characters of that.")],
    to: Annotated[Path | None, typer.Option(help="The file; by default job-NUMBER.json in the current folder.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Write all that is known of a job into one JSON file: itself, graph, metrics, history, failures and log.

    A file that is there is only overwritten after a question.
    """
    context = command_context()
    client = context.client()
    job = client.job(ref)
    path = to or Path(f"job-{job.number}.json")
    if path.exists() and not yes:
        context.confirm(f"overwrite {path}?")
    document = {
        "job": job.to_json(),
        "graph": client.graph(job.uuid),
        "metrics": client.metrics(job.uuid).to_json(),
        "history": [change.to_json() for change in client.history(job.uuid)],
        "failures": [failure.to_json() for failure in client.failures(job.uuid)],
        "log": "".join(log_of(client, job.uuid)),
    }
    try:
        size = write_whole(path, document)
    except OSError as error:
        context.fail("not_written", f"{path} could not be written: {error.strerror or error}", "choose another by --to")
    context.emit(Export(job.uuid, str(path), size))


def log_of(client: JobManagerClient, uuid: str) -> Iterator[str]:
    """The text of a job's log, piece by piece."""
    chunk = client.logs(uuid)
    while chunk.text:  # an empty one: that is all for now
        yield chunk.text
        chunk = client.logs(uuid, offset=chunk.next_offset)


def write_whole(path: Path, document: Any) -> int:
    """Write a document so that the file is there whole or not at all. Returns its size in bytes.

    Raises:
        OSError: it could not be written.
    """
    data = json.dumps(document, indent=2).encode()
    with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent, delete=False) as file:
        unfinished = Path(file.name)
        try:
            file.write(data)
            file.flush()
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    return len(data)


@hookimpl
def sage_command() -> typer.Typer:
    return app
