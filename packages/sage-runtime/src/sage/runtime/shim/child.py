"""Starting the job process: fork and exec, with nothing inherited that was not meant to be."""

from __future__ import annotations

import errno
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["start_process"]

_RESET = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def start_process(
    command: Sequence[str], *, environment: Mapping[str, str], folder: str, output: int, control: int, umask: int
) -> int:
    """Start ``command`` in ``folder`` as leader of a session of its own; returns its process id.

    Its standard input is empty, ``output`` takes what it prints, ``control`` is the only other descriptor it gets
    (under the same number). Signals are as in a new process.

    There is no PR_SET_PDEATHSIG: the end of ``control`` tells the process that its shim is gone, which lets it stop
    in order; what does not listen is ended by the daemon (`sage.runtime.shim.sweep`).

    Raises:
        OSError: it could not be started (no such program, no room for a process, …).
    """
    report, report_end = os.pipe()
    try:
        # Safe, since this process has one thread. subprocess would take as long to import as all else together.
        pid = os.fork()
        if pid == 0:
            _become(command, environment, folder, output, control, umask, report_end)
        os.close(report_end)
        report_end = -1
        failure = os.read(report, 16)
        if failure:
            os.waitpid(pid, 0)
            number = int(failure)
            raise OSError(number, os.strerror(number), command[0])
        return pid
    finally:
        os.close(report)
        if report_end >= 0:
            os.close(report_end)


def _become(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: str,
    output: int,
    control: int,
    umask: int,
    report: int,
) -> None:
    """In the child: turn into ``command``, or tell ``report`` the error's number and end; never returns."""
    number = errno.EINVAL
    try:
        os.setsid()
        for each in _RESET:
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.set_inheritable(control, True)
        os.chdir(folder)
        os.umask(umask)
        os.execve(command[0], list(command), dict(environment))  # noqa: S606 - a list, and no shell
    except OSError as error:
        number = error.errno or errno.EINVAL
    finally:
        # Whatever else was raised must not run on in a copy of the shim.
        os.write(report, str(number).encode())
        os._exit(127)
