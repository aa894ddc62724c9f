"""The client's bearer token, read from a file that only its owner may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sage.core.config.places import sage_home
from sage.core.config.schema import Config
from sage.core.errors import NotAllowedError

__all__ = ["read_token", "token_path"]

_MAX_BYTES = 4096


def token_path(config: Config) -> Path:
    """``daemon.token_file``, else ``token`` in SAGE_HOME. It need not exist."""
    return config.daemon.token_file or sage_home() / "token"


def read_token(config: Config) -> str | None:
    """The token with which this host's user speaks to the JobManager; None if there is no token file.

    Raises:
        NotAllowedError: others may read the file, someone else owns it, it cannot be read, or it holds no token.
            Its ``path`` names the file.
    """
    path = token_path(config)
    try:
        # A pipe in its place must not block the opening; what was opened is then judged, not what the name now means.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotAllowedError(f"the token file {path} cannot be read: {error.strerror}", path=str(path)) from error
    try:
        _judge(os.fstat(descriptor), path)
        raw = os.read(descriptor, _MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    token = raw.decode("ascii", "replace").strip()
    if not token or len(raw) > _MAX_BYTES or not token.isascii() or not token.isprintable() or " " in token:
        raise NotAllowedError(
            f"the token file {path} holds no token",
            hint="it must hold one word of ASCII; remove it and restart the JobManager to get a new one",
            path=str(path),
        )
    return token


def _judge(facts: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise NotAllowedError(f"the token file {path} is no regular file", path=str(path))
    if facts.st_uid != os.geteuid():
        raise NotAllowedError(
            f"the token file {path} belongs to another user (uid {facts.st_uid}, this process has {os.geteuid()})",
            hint="use a token file of your own: daemon.token_file, or another SAGE_HOME",
            path=str(path),
        )
    if facts.st_mode & 0o077:
        raise NotAllowedError(
            f"the token file {path} may be used by others (mode {stat.S_IMODE(facts.st_mode):04o})",
            hint=f"chmod 600 {path}; if others may have read it, remove it and restart the JobManager to get a new one",
            path=str(path),
        )
