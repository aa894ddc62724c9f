"""Finding and ending all processes of a job, those that wandered off with ``setsid`` included.

A process belongs to a job if it is in the job process's session, or if its environment at start named the job's
folder (`JOB_FOLDER`), which children inherit. Only processes of the same user are looked at.
"""

# pathlib would cost the shim a third of its start.
# ruff: noqa: PTH123

from __future__ import annotations

import os
import signal
import time

from sage.runtime.shim.environment import JOB_FOLDER
from sage.runtime.shim.processes import ProcessIdentity, boot_id, read_stat, send_signal, wait_end

__all__ = ["end_processes", "find_processes"]


def find_processes(job_folder: str, session: int | None = None) -> list[ProcessIdentity]:
    """The live processes of the job in ``job_folder`` (and of ``session``), the caller itself never among them."""
    marker = b"\0" + os.fsencode(f"{JOB_FOLDER}={os.path.realpath(job_folder)}") + b"\0"
    boot = boot_id()
    me, uid = os.getpid(), os.geteuid()
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal() or int(entry.name) == me:
            continue
        pid = int(entry.name)
        try:
            if entry.stat().st_uid != uid:
                continue
            stat = read_stat(pid)
            if stat is None or stat.state in ("Z", "X"):
                continue
            if session is None or stat.session != session:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    if marker not in b"\0" + file.read():
                        continue
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            # It ended meanwhile, or changed its user: the first is what is wanted, the second not ours to touch.
            continue
        found.append(ProcessIdentity(pid, stat.start_time, boot))
    return found


def end_processes(job_folder: str, *, grace: float = 2.0, timeout: float = 10.0) -> list[ProcessIdentity]:
    """End what is left of the job in ``job_folder`` after its shim has died; blocks, so not for an event loop.

    Waits ``grace`` seconds for the processes to end by themselves (the job process does when its shim is gone), then
    kills them. Returns those that still live after ``timeout`` seconds, which is none but in a broken kernel.
    """
    deadline = time.monotonic() + timeout
    kill_at = min(time.monotonic() + grace, deadline)
    while True:
        left = find_processes(job_folder)
        now = time.monotonic()
        if not left or now >= deadline:
            return left
        if now >= kill_at:
            for identity in left:
                send_signal(identity, signal.SIGKILL)
            _await_ends(left, min(deadline, now + 1.0))
        else:
            _await_ends(left, kill_at)


def _await_ends(processes: list[ProcessIdentity], deadline: float) -> None:
    """Wait until all ``processes`` have ended or the monotonic ``deadline`` has passed."""
    for identity in processes:
        wait_end(identity, deadline - time.monotonic())
