"""Starting a process of ours that outlives us, and hearing from it how its start went."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["READY_FD", "log_tail", "start_detached"]

READY_FD = 3
"""The descriptor to which the process writes one line of JSON once it is ready, or cannot be."""

_LONGEST_ANSWER = 1 << 16
_LONGEST_TAIL = 4096


def start_detached(
    command: list[str], *, environment: Mapping[str, str], log: Path, timeout: float, new_log: bool = False
) -> tuple[int, dict[str, Any] | None]:
    """Start ``command`` in a session of its own and wait for what it writes to `READY_FD`.

    It gets no other descriptor of ours; its standard error goes to ``log``. It is our child, hence ours to reap.

    Args:
        log: a file, private if it is made here.
        timeout: seconds to wait for the answer.
        new_log: begin the file anew.

    Returns:
        its process id; and its answer, ``{}`` if it gave none and has let go of the descriptor, None if it took longer.

    Raises:
        OSError: it could not be started.
    """
    read_end, write_end = os.pipe()
    try:
        try:
            # A number above the one it shall get: a copy onto itself would stay close-on-exec in some C libraries.
            high = fcntl.fcntl(write_end, fcntl.F_DUPFD_CLOEXEC, 16)
        finally:
            os.close(write_end)
        try:
            pid = os.posix_spawn(
                command[0],
                command,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, str(log), _log_flags(new_log), 0o600),
                    (os.POSIX_SPAWN_DUP2, high, READY_FD),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD),
            )
        finally:
            os.close(high)
        return pid, _answer(read_end, timeout)
    finally:
        os.close(read_end)


def log_tail(log: Path) -> str:
    """The end of a log, to be put behind the words that lead to it; empty if there is none."""
    try:
        data = log.read_bytes()[-_LONGEST_TAIL:]
    except OSError:
        return ""
    text = data.decode(errors="replace").strip()
    return f":\n{text}" if text else ""


def _log_flags(new: bool) -> int:
    return os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if new else 0)


def _answer(descriptor: int, timeout: float) -> dict[str, Any] | None:
    deadline = time.monotonic() + timeout
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    data = b""
    while not data.endswith(b"\n") and len(data) < _LONGEST_ANSWER:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return None
        chunk = os.read(descriptor, 4096)
        if not chunk:
            return {}
        data += chunk
    try:
        answer = json.loads(data)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
