"""Where SAGE keeps its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sage.core.errors import ConfigError

__all__ = ["config_path", "sage_home"]


def sage_home(env: Mapping[str, str] | None = None) -> Path:
    """The folder of configuration, token and jobs: ``SAGE_HOME``, else ``~/.sage``. It need not exist.

    Raises:
        ConfigError: ``SAGE_HOME`` is a relative path, or there is no home folder to put it in.
    """
    given = (os.environ if env is None else env).get("SAGE_HOME")
    try:
        home = Path(given or "~/.sage").expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"SAGE has no home folder: {error}", hint="set SAGE_HOME to an absolute path", path="SAGE_HOME"
        ) from error
    if not home.is_absolute():
        raise ConfigError(
            f"SAGE_HOME is {given!r}, a relative path",
            hint="set SAGE_HOME to an absolute path: commands and the JobManager do not share a working folder",
            path="SAGE_HOME",
        )
    return home


def config_path(env: Mapping[str, str] | None = None) -> Path:
    """The configuration file, ``config.yaml`` in SAGE_HOME. It need not exist."""
    return sage_home(env) / "config.yaml"
