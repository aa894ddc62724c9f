"""The daemon's private folder: where things are, whose it is, and the token in it."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from sage.core.errors import SageError

__all__ = ["Home", "UnsafeFileError", "create_token", "prepare_home", "remove_tree"]

_TOKEN_BYTES = 32
_log = logging.getLogger(__name__)


class UnsafeFileError(SageError):
    """A file or folder that must be private is a link, belongs to somebody else, or can be read by others."""

    code = "unsafe_file"
    exit_code = 5


@dataclass(frozen=True)
class Home:
    """The paths under ``SAGE_HOME`` that the daemon owns."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "jobs.db"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def incoming(self) -> Path:
        """Bodies that are still being received; emptied at each start."""
        return self.jobs / ".incoming"

    @property
    def trash(self) -> Path:
        """Folders of deleted jobs on their way out; emptied at each start."""
        return self.jobs / ".trash"

    @property
    def session_logs(self) -> Path:
        return self.root / "logs" / "jobmanager"

    @property
    def lock(self) -> Path:
        return self.root / "daemon.lock"

    @property
    def daemon_file(self) -> Path:
        return self.root / "daemon.json"

    def job(self, uuid: str) -> Path:
        return self.jobs / uuid


def prepare_home(root: Path) -> Home:
    """Make ``root`` and the folders below it that the daemon needs, each 0700 and ours.

    Raises:
        UnsafeFileError: one of them is a symbolic link, no folder, or belongs to another user.
    """
    home = Home(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    for folder in (root, home.jobs, home.incoming, home.trash, home.session_logs.parent, home.session_logs):
        _private_folder(folder)
    return home


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeFileError(
            f"{folder} is a symbolic link", hint="set SAGE_HOME to the folder it leads to", path=str(folder)
        )
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeFileError(f"{folder} is no folder", hint="move it away or set SAGE_HOME", path=str(folder))
    if found.st_uid != os.geteuid():
        raise UnsafeFileError(
            f"{folder} belongs to user {found.st_uid}, not to user {os.geteuid()} who starts this JobManager",
            hint="give the folder to this user or set SAGE_HOME to another one",
            path=str(folder),
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def remove_tree(folder: Path) -> None:
    """Remove a job's folder with whatever the job has left in it; harmless where it is gone already.

    Folders that even their owner may not change are made so that it can (caches of modules are kept like that). What
    cannot be removed all the same stays, and the log says so.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError:
        for root, names, _ in os.walk(folder):
            for path in (Path(root), *(Path(root, name) for name in names)):
                if not path.is_symlink():
                    path.chmod(0o700)
        try:
            shutil.rmtree(folder)
        except OSError as error:
            _log.warning("%s cannot be removed: %s", folder, error)


def create_token(path: Path) -> bool:
    """Make the administrator's token in ``path`` if nothing is there; True if it was made.

    Raises:
        OSError: it cannot be written there.
    """
    if os.path.lexists(path):
        return False
    token = secrets.token_hex(_TOKEN_BYTES)
    # Under another name first: a start that is killed here leaves no half-written token behind.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    return True
