"""Places where tests make the daemon fail: ``SAGE_FAILPOINT=name:kill`` and the like, read once at start.

Each name marks a step of a job's way after which nothing of the step before may be lost. In normal use no variable is
set and a failpoint is one comparison.
"""

from __future__ import annotations

import errno
import os
import signal

__all__ = ["failpoint"]

_NAME, _, _ACTION = os.environ.get("SAGE_FAILPOINT", "").partition(":")
_failed: set[str] = set()


def failpoint(name: str) -> None:
    """Fail here if this failpoint is armed.

    ``kill`` ends the process at once, ``enospc`` raises that error, ``once`` raises one that passes, the first time.
    """
    if name != _NAME:
        return
    if _ACTION == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif _ACTION == "enospc":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    elif _ACTION == "once":
        if name not in _failed:
            _failed.add(name)
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    else:
        raise ValueError(f"SAGE_FAILPOINT={name}:{_ACTION}: there are the actions kill, enospc and once")
