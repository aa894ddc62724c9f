"""A worker process as the job's process has it: how it is started, whether it is alive, how it has ended."""

from __future__ import annotations

import fcntl
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from sage.core.backends.api import FailureInfo, HostInfo, TaskId
from sage_plugins_example.processes.line import Line

__all__ = ["WorkerProcess", "socket_pair", "spawn"]


class WorkerProcess:
    """One worker.

    Args:
        number: its own.
        process: which.
        tasks: that it runs.
        runs: the names of their operators, for people.

    Attributes:
        line: to it.
        left: tasks that have not told how they have ended.
        leave_by: when it has to have ended by itself, since its tasks have.
        silent: seconds that it has given no sign of life.
        why: why it was killed, if it was by us.
        descriptor: can be read once it has ended, where the system has such descriptors.
    """

    line: Line

    def __init__(self, number: int, process: subprocess.Popen[bytes], tasks: Iterable[TaskId], runs: str) -> None:
        self.number = number
        self.process = process
        self.info = HostInfo(f"worker {number}", process.pid)
        self.left = set(tasks)
        self.leave_by = math.inf
        self.silent = 0.0
        self.why: str | None = None
        self.descriptor: int | None = None
        self._runs = runs
        self._worked: float | None = None

    def has_worked(self) -> bool:
        """Whether it has used a processor since this was asked last: then it is alive, although it may not answer."""
        before, self._worked = self._worked, _processor_time(self.process.pid)
        return self._worked != before

    def kill(self, why: str) -> None:
        """End it at once."""
        if self.why is None:
            self.why = why
        self.process.kill()

    def wait(self) -> None:
        """Wait for its end."""
        self.process.wait()
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def failure(self) -> FailureInfo:
        """What it means that it has ended, which it has."""
        status = self.process.returncode
        name = _signal_name(-status) if status < 0 else None
        how, hint = f"has ended with exit status {status}", "its output may tell why"
        if self.why is not None:
            how, hint = self.why, "what it was doing is not known; the option lease says how long it may be silent"
        elif name == "SIGKILL":
            how = "was killed by SIGKILL"
            hint = "that is what the system does when memory runs out: its log tells (dmesg); or somebody has killed it"
        elif name in _CRASHES:
            how, hint = f"was killed by {name}", "a crash in a library's own code prints its Python traceback before"
        elif name is not None:
            how, hint = f"was killed by {name}", "somebody has sent it that signal: another program, or user code"
        return FailureInfo(
            kind="process",
            message=f"lost worker {self.number} (process {self.info.pid}), which ran {self._runs}: it {how}"
            f"\n  hint: {hint}",
            exit_status=status if status >= 0 else None,
            signal=name,
        )


_STDERR = 2

_CRASHES = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")

_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(256 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
"""Lets the C library keep memory that was freed instead of giving it back: arrays come and go all the time in a worker,
and the system fills anew with zeros what it gives out again. What the user has set stands."""


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """A socket pair that a child can inherit, also where this program has closed its standard streams.

    Raises:
        OSError: there are too many open files.
    """
    pair = socket.socketpair()
    if min(map(socket.socket.fileno, pair)) > _STDERR:
        return pair
    with pair[0], pair[1]:  # the child's own streams would take their place
        first, second = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1) for end in pair)
        return socket.socket(fileno=first), socket.socket(fileno=second)


def spawn(arguments: list[str], descriptors: list[int]) -> subprocess.Popen[bytes]:
    """Start a worker that inherits ``descriptors`` and nothing else.

    It is a new interpreter: a fork would copy locks that threads of this process hold just now, and nobody would ever
    release them there.

    Raises:
        OSError: it cannot be started.
    """
    command = [sys.executable, "-P", "-m", "sage_plugins_example.processes.worker", *arguments]
    # Ctrl-C reaches all processes of the terminal. A worker does not heed it, and shall not before it can say so.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=descriptors, env=_MEMORY | os.environ)  # noqa: S603 - our own
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _processor_time(pid: int) -> float | None:
    """In ticks of the system's clock; None where that is not told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return float(fields[11]) + float(fields[12])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
