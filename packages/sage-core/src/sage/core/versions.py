"""Versions of installed distributions, found without `importlib.metadata` where that is possible.

Importing `importlib.metadata` takes longer than packing a small pipeline or all else that ``sage version`` does, and
the name of a wheel's ``*.dist-info`` folder already holds the version.
"""

from __future__ import annotations

import os
import sys

__all__ = ["version_of"]

_SUFFIX = ".dist-info"


def version_of(distribution: str) -> str | None:
    """The installed version of ``distribution``, or None where it is not installed.

    The first entry of ``sys.path`` that holds it wins, as it does for imports.
    """
    prefix = distribution.replace("-", "_") + "-"
    for entry in sys.path:
        try:
            with os.scandir(entry or os.curdir) as items:
                names = [item.name for item in items]
        except OSError:
            continue  # an entry that is no folder: a zip file, or gone
        for name in names:
            if name.startswith(prefix) and name.endswith(_SUFFIX):
                return name[len(prefix) : -len(_SUFFIX)]
    # Installed by other means (an egg, a distribution's own finder): ask the slow, complete way.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
