"""``job.json``: what the daemon wants done, read and checked by the shim."""

# pathlib would cost the shim a third of its start.
# ruff: noqa: PTH118

from __future__ import annotations

import os

from sage.runtime.shim.files import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["JobFile", "JobFileError"]


class JobFileError(Exception):
    """``job.json`` is missing or a field of it is wrong. (No SageError: the shim has no sage-core.)"""


class JobFile:
    """The fields of ``job.json`` that the shim needs.

    Attributes:
        folder: the real path of the job's folder.
        attempt, epoch: which try of the job.
        python: the interpreter of the job process.
        socket: where the shim listens.
        grace: seconds a job is given to stop by itself when the shim is told to end.
        log_max_bytes, log_keep: the bounds of the job's log.
        env_vars: environment variables that the job was given.
    """

    def __init__(self, folder: str) -> None:
        """Raises `JobFileError`."""
        self.folder = os.path.realpath(folder)
        path = self.path("job.json")
        try:
            data = read_json(path)
        except (OSError, ValueError) as error:
            raise JobFileError(f"{path}: {error}") from error
        if not isinstance(data, dict):
            raise JobFileError(f"{path}: not an object")
        log = _field(data, "log", dict, path)
        self.attempt: int = _field(data, "attempt", int, path)
        self.epoch: int = _field(data, "epoch", int, path)
        self.python: str = _field(data, "python", str, path)
        self.socket: str = _field(data, "socket", str, path)
        self.grace: float = float(_field(data, "grace", (int, float), path))
        self.log_max_bytes: int = _field(log, "max_bytes", int, f"{path}: log")
        self.log_keep: int = _field(log, "keep", int, f"{path}: log")
        given = _field(data, "env_vars", dict, path)
        # Checked when the package was taken; what is no text would be an error only when the process starts.
        self.env_vars: dict[str, str] = {name: value for name, value in given.items() if isinstance(value, str)}

    def path(self, *names: str) -> str:
        """The path of something in the job's folder."""
        return os.path.join(self.folder, *names)


def _field(data: dict[str, Any], name: str, kind: Any, where: str) -> Any:
    value = data.get(name)
    if not isinstance(value, kind):
        raise JobFileError(f"{where} -> {name}: {value!r} is not what belongs there")
    return value
