"""Prints what jobs write, until they have ended, and tells how they did."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sage.cli.context import Context
from sage.cli.render.logs import LogPrinter
from sage.cli.render.text import clean
from sage.core.models import JobInfo, LogChunk

if TYPE_CHECKING:
    from sage.core.client import JobManagerClient

__all__ = ["exit_code_of", "exit_code_of_all", "follow", "follow_all", "print_log", "telling_what_goes_on"]

_EXIT_CODES: Mapping[str, int] = {"failed": 1, "stopped": 7, "cancelled": 7}
_CLOSING = 2.0  # seconds that followers have to notice that the command was interrupted


def exit_code_of(job: JobInfo) -> int:
    """What a command that waited for the job ends with: 1 failed, 7 stopped or cancelled, else 0."""
    return _EXIT_CODES.get(job.state, 0)


def exit_code_of_all(jobs: Sequence[JobInfo]) -> int:
    """The same for several jobs: 1 if any failed, else 7 if any was stopped or cancelled."""
    codes = {exit_code_of(job) for job in jobs}
    return 1 if 1 in codes else max(codes, default=0)


def print_log(context: Context, client: JobManagerClient, ref: str, *, offset: int = 0) -> None:
    """Print what a job has written so far, from `offset` on; for machines one object."""
    uuid = client.job(ref).uuid
    printer = context.log_printer()
    pieces: list[LogChunk] = []
    truncated = False
    while True:
        chunk = client.logs(uuid, offset=offset)
        truncated = truncated or chunk.truncated
        if context.for_machines:
            pieces.append(chunk)
        else:
            printer.feed(chunk.text)
        if chunk.end or chunk.next_offset <= offset:
            break
        offset = chunk.next_offset
    if context.for_machines:
        text = "".join(piece.text for piece in pieces)
        context.emit(dataclasses.replace(chunk, text=text, offset=pieces[0].offset, truncated=truncated))
        return
    printer.close()
    if truncated:
        context.note("the oldest part of the log is no longer kept")


def follow(context: Context, client: JobManagerClient, job: JobInfo, *, offset: int = 0, prefix: str = "") -> JobInfo:
    """Print what a job writes until it has ended; for machines one object a line, the job itself last.

    Returns:
        the job as it ended.
    """
    printer = _printer(context, job, prefix)
    with telling_what_goes_on(context, [job]):
        for text in client.follow_logs(job.uuid, offset=offset):
            printer.feed(text)
        printer.close()
        ended = client.wait(job.uuid)
    if context.for_machines:
        context.emit_next(ended)
    else:
        _tell_end(context, ended)
    return ended


def follow_all(context: Context, jobs: Sequence[tuple[JobManagerClient, JobInfo]]) -> Sequence[JobInfo]:
    """Follow several jobs at once, each line under its job's number.

    Returns:
        the jobs as they ended, in the order given.
    """
    if len(jobs) == 1:
        [(client, job)] = jobs
        return [follow(context, client, job)]
    ends: dict[str, JobInfo] = {}
    errors: list[BaseException] = []

    def work(client: JobManagerClient, job: JobInfo) -> None:
        try:
            ends[job.uuid] = follow(context, client, job, prefix=f"job {job.number} | ")
        except BaseException as error:  # handed to the thread that waits, which raises it
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=item, name=f"sage-follow-{item[1].number}", daemon=True) for item in jobs
    ]
    for thread in threads:
        thread.start()
    try:
        with telling_what_goes_on(context, [job for _, job in jobs]):
            for thread in threads:
                thread.join()
    except KeyboardInterrupt:
        context.close()  # ends their streams
        for thread in threads:
            thread.join(_CLOSING)
        raise
    if errors:
        raise errors[0]
    return [ends[job.uuid] for _, job in jobs]


@contextmanager
def telling_what_goes_on(context: Context, jobs: Sequence[JobInfo]) -> Iterator[None]:
    """If Ctrl-C ends the waiting, say that it does not end the jobs."""
    try:
        yield
    except KeyboardInterrupt:
        if not context.for_machines:
            context.leave_line()
            for job in jobs:
                context.note(f"job {job.number} ({clean(job.name)}) goes on: sage job logs -f {job.number}")
        raise


def _tell_end(context: Context, job: JobInfo) -> None:
    text = f"job {job.number} ({clean(job.name)}): {job.state}"
    if job.failure is not None:
        text += f": {clean(job.failure.message)}\n  hint: sage job show {job.number}"
    context.note(text)


class _Documents:
    """Writes the pieces of one log for machines."""

    def __init__(self, context: Context, job: JobInfo) -> None:
        self._context = context
        self._job = job

    def feed(self, text: str) -> None:
        piece: dict[str, Any] = {"job": self._job.number, "uuid": self._job.uuid, "text": text}
        self._context.emit_next(piece, kind="Log")

    def close(self) -> None:
        """Nothing is held back."""


def _printer(context: Context, job: JobInfo, prefix: str) -> LogPrinter | _Documents:
    return _Documents(context, job) if context.for_machines else context.log_printer(prefix)
