"""The private folder for this SAGE_HOME's Unix sockets: short, since a socket's path holds 107 bytes at most."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from sage.core.errors import ConfigError

__all__ = ["job_socket", "run_dir"]

_LONGEST_PATH = 107


def run_dir(sage_home: str | Path, *, env: Mapping[str, str] | None = None) -> Path:
    """The folder for the sockets of ``sage_home``, made with mode 0700 if it is not there.

    It lies in ``$XDG_RUNTIME_DIR`` where that is a folder of ours, else in ``/tmp``; its name is drawn from the real
    path of ``sage_home``, so that two homes never meet.

    Raises:
        ConfigError: what lies there is a link, no folder, somebody else's, or its path is too long for a socket.
    """
    env = os.environ if env is None else env
    digest = hashlib.sha256(os.fsencode(os.path.realpath(sage_home))).hexdigest()[:10]
    runtime = env.get("XDG_RUNTIME_DIR")
    if runtime and _is_private_folder(Path(runtime)):
        path = Path(runtime) / f"sage-{digest}"
    else:
        path = Path(f"/tmp/sage-{os.getuid()}-{digest}")  # noqa: S108 - the checks below make it safe
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(
            f"cannot make the folder {path} for the sockets of running jobs: {error.strerror}",
            hint="make it writable, or point XDG_RUNTIME_DIR at a private folder of yours",
        ) from error
    _check(path)
    return path


def job_socket(folder: Path, uuid: str) -> Path:
    """The socket of the job ``uuid`` inside the run dir ``folder``.

    Raises:
        ConfigError: the path is too long for a Unix socket.
    """
    path = folder / f"{uuid[:12]}.sock"
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ConfigError(
            f"{path} is too long for a Unix socket ({_LONGEST_PATH} bytes at most)",
            hint="point XDG_RUNTIME_DIR at a folder with a shorter path",
        )
    return path


def _is_private_folder(path: Path) -> bool:
    try:
        info = path.stat()
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid() and not info.st_mode & 0o022


def _check(path: Path) -> None:
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode):
        problem = "is a link" if stat.S_ISLNK(info.st_mode) else "is not a folder"
    elif info.st_uid != os.getuid():
        problem = f"belongs to user id {info.st_uid}, not to {os.getuid()}"
    else:
        if info.st_mode & 0o077:
            path.chmod(0o700)
        return
    raise ConfigError(
        f"{path}, the folder for the sockets of running jobs, {problem}",
        hint="remove it, or point XDG_RUNTIME_DIR at a private folder of yours",
    )
