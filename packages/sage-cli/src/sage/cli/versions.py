"""Which of SAGE's distributions are installed, and in which version.

Read from the names of the ``….dist-info`` folders on `sys.path`, which the packaging standard fixes: importing
`importlib.metadata` for this takes longer than all else that ``sage version`` does.
"""

from __future__ import annotations

import os
import sys

__all__ = ["DISTRIBUTIONS", "installed"]

DISTRIBUTIONS = ("sage-cli", "sage-core", "sage-runtime")


def installed(distribution: str) -> str | None:
    """The version of an installed distribution; None if it is not installed."""
    prefix = distribution.replace("-", "_").lower() + "-"
    for place in sys.path:
        try:
            names = os.listdir(place or ".")  # noqa: PTH208 - names are all that is wanted
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        for name in names:
            if name.lower().startswith(prefix) and name.endswith(".dist-info"):
                return name[len(prefix) : -len(".dist-info")]
    return None
