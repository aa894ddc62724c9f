"""Starting a shim from the daemon, detached from it."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

from sage.core.errors import SageError
from sage.runtime.detached import READY_FD, log_tail, start_detached
from sage.runtime.shim.environment import allowed
from sage.runtime.shim.processes import ProcessIdentity, identify, read_stat

__all__ = ["ShimStartError", "reap", "start_shim"]

# The file rather than its folder: running a folder costs the import of runpy, a fifth of the start.
_PROGRAM = Path(__file__).with_name("__main__.py")

_PASSING = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC})


class ShimStartError(SageError):
    """A shim did not come up; ``reason`` is ``busy`` when another process owns the job, ``ended`` when the job has
    ended already, else ``failed``."""

    code = "shim_start"
    reason: str = "failed"


def start_shim(job_folder: str | Path, *, python: str = sys.executable, timeout: float = 10.0) -> ProcessIdentity:
    """Start the shim of the job in ``job_folder`` and wait until it listens; blocks for some tens of milliseconds.

    ``job.json`` must be written and no `EventsFile` of the job be open any more. The shim runs in a session of its
    own with no descriptor of ours; it is our child, so whoever starts it reaps it (`reap`, or `client.wait_exit`).

    Raises:
        ShimStartError: it did not come up within ``timeout`` seconds; nothing of it is left running.
        OSError: the system has no process, descriptor or memory left, or no room; that may pass.
    """
    folder = Path(job_folder)
    logs = folder / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    log = logs / "shim.log"
    try:
        pid, answer = start_detached(
            [python, "-I", "-S", str(_PROGRAM), "--ready-fd", str(READY_FD), str(folder)],
            environment=allowed(os.environ),
            log=log,
            timeout=timeout,
        )
    except OSError as error:
        if error.errno in _PASSING:
            raise
        raise ShimStartError(
            f"cannot start a shim with {python}: {error.strerror}",
            hint="is that Python still installed, and may this user start more processes?",
        ) from error
    identity = identify(pid)
    if answer is None:
        answer = {"message": f"it was not ready within {timeout:g} s"}
    if answer.get("ok") is True and identity is not None:
        return identity
    _end(pid)
    message = answer.get("message") or f"it ended without a word; see {log}{log_tail(log)}"
    raise ShimStartError(f"the shim of {folder.name} did not start: {message}", reason=answer.get("code", "failed"))


def reap(identity: ProcessIdentity) -> bool:
    """Collect an ended shim that this process started; True if it has ended and was ours."""
    stat = read_stat(identity.pid)
    if stat is None or stat.start_time != identity.start_time:
        return False
    try:
        return os.waitpid(identity.pid, os.WNOHANG)[0] == identity.pid
    except ChildProcessError:
        return False


def _end(pid: int) -> None:
    # Our own child, not yet reaped: its id cannot have been given to anybody else.
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
