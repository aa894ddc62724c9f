"""The shim's way from its command line to the end of its job."""

from __future__ import annotations

import json
import os

from sage.runtime.shim.events import EventsCorruptError, EventsFile, EventsFileBusyError
from sage.runtime.shim.job_file import JobFile, JobFileError
from sage.runtime.shim.notes import Notes
from sage.runtime.shim.supervisor import ENDED_STATES, Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_USAGE = "usage: python -I -S <__main__.py of sage.runtime.shim> [--ready-fd N] <job folder>"


class _RefusedError(Exception):
    """The job is not to be started; ``code`` tells machines why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def main(arguments: Sequence[str]) -> int:
    """Run the shim; returns its exit status: 0 the job's end was written, 1 refused, 2 usage, 70 a bug."""
    note = Notes()
    arguments = list(arguments)
    ready = -1
    if len(arguments) == 3 and arguments[0] == "--ready-fd" and arguments[1].isdecimal():
        ready = int(arguments[1])
        os.set_inheritable(ready, False)
        del arguments[:2]
    if len(arguments) != 1:
        note(_USAGE)
        return 2
    umask = os.umask(0o077)
    _close_inherited({0, 1, 2, ready})
    try:
        supervisor = _prepare(arguments[0], umask, note)
    except (_RefusedError, OSError, JobFileError, EventsFileBusyError, EventsCorruptError) as error:
        code = error.code if isinstance(error, _RefusedError) else "failed"
        _tell(ready, {"ok": False, "code": code, "message": str(error)}, note)
        note(f"not started: {error}")
        return 1
    try:
        supervisor.start()
        _tell(ready, {"ok": True}, note)
        ready = -1
        supervisor.run()
    except Exception as error:
        import traceback

        note(f"a bug in the shim: {traceback.format_exc()}")
        code = "ended" if supervisor.abandon(repr(error)) else "failed"
        _tell(ready, {"ok": False, "code": code, "message": f"a bug in the shim: {error!r}"}, note)
        return 70
    return 0


def _prepare(folder: str, umask: int, note: Notes) -> Supervisor:
    """Everything that can be refused: the job's file, its lock, what it went through, its log, the socket."""
    job = JobFile(folder)
    try:
        events = EventsFile(job.path("events.jsonl"))
    except EventsFileBusyError as error:
        raise _RefusedError("busy", str(error)) from None
    last = events.last or {}
    state = last.get("state")
    if state in ENDED_STATES:
        raise _RefusedError("ended", f"the job has ended already ({state})")
    attempt, epoch = last.get("attempt", job.attempt), last.get("epoch", job.epoch)
    lost = "the shim before this one ended without warning"
    if state in ("cancelling", "stopping", "failing"):
        # All that is left to do is to write what its predecessor was about to.
        end = "failed" if state == "failing" else "cancelled"
        more = {"failure": last["failure"]} if "failure" in last else {}
        events.append(end, reason=f"{last.get('reason') or state}; {lost}", attempt=attempt, epoch=epoch, **more)
        raise _RefusedError("ended", f"the job was {state}; {lost}: it is {end} now")
    if state in ("starting", "running"):
        events.append("restarting", reason=lost, attempt=attempt, epoch=epoch)
    return Supervisor(job, events, note=note, umask=umask)


def _close_inherited(keep: set[int]) -> None:
    """Whatever the daemon had open is none of the job's business."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - pathlib would cost a third of the start
        if int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                # The descriptor of this very listing.
                continue


def _tell(ready: int, answer: dict[str, object], note: Notes) -> None:
    """Answer whoever started this shim, and let go of it."""
    if ready < 0:
        return
    try:
        os.write(ready, json.dumps(answer).encode() + b"\n")
    except BrokenPipeError:
        note("whoever started this shim is gone; the job goes on")
    os.close(ready)
