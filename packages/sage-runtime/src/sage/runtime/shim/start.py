"""Starting a shim from the daemon, detached from it."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from sage.core.errors import SageError
from sage.runtime.shim.environment import allowed
from sage.runtime.shim.processes import ProcessIdentity, identify, read_stat

__all__ = ["ShimStartError", "reap", "start_shim"]

# The file rather than its folder: running a folder costs the import of runpy, a fifth of the start.
_PROGRAM = Path(__file__).with_name("__main__.py")
_READY_FD = 3
_LONGEST_ANSWER = 1 << 16
_LONGEST_LOG = 4096


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
    """
    folder = Path(job_folder)
    logs = folder / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    log = logs / "shim.log"
    read_end, write_end = os.pipe()
    # A number above the one it shall get in the shim: a copy onto itself would stay close-on-exec in some C libraries.
    high = fcntl.fcntl(write_end, fcntl.F_DUPFD_CLOEXEC, 16)
    os.close(write_end)
    try:
        pid = os.posix_spawn(
            python,
            [python, "-I", "-S", str(_PROGRAM), "--ready-fd", str(_READY_FD), str(folder)],
            allowed(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, high, _READY_FD),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD),
        )
    except OSError as error:
        os.close(read_end)
        raise ShimStartError(
            f"cannot start a shim with {python}: {error.strerror}",
            hint="is that Python still installed, and may this user start more processes?",
        ) from error
    finally:
        os.close(high)
    identity = identify(pid)
    try:
        answer = _await_answer(read_end, timeout)
    finally:
        os.close(read_end)
    if answer.get("ok") is True and identity is not None:
        return identity
    _end(pid)
    message = answer.get("message") or f"it ended without a word; see {log}{_tail(log)}"
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


def _await_answer(descriptor: int, timeout: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    data = b""
    while not data.endswith(b"\n") and len(data) < _LONGEST_ANSWER:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return {"message": f"it was not ready within {timeout:g} s"}
        chunk = os.read(descriptor, 4096)
        if not chunk:
            return {}
        data += chunk
    try:
        answer = json.loads(data)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _end(pid: int) -> None:
    # Our own child, not yet reaped: its id cannot have been given to anybody else.
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _tail(path: Path) -> str:
    try:
        data = path.read_bytes()[-_LONGEST_LOG:]
    except OSError:
        return ""
    text = data.decode(errors="replace").strip()
    return f"\n{text}" if text else ""
