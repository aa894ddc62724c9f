"""Describes file sources and sinks, whose options are judged where the pipeline is written."""

from __future__ import annotations

import os
from typing import Any

from sage.core.errors import ConnectorError
from sage.core.graph.functions import Given, Slip
from sage.core.graph.model import FunctionSpec

__all__ = ["describe_file"]


def describe_file(kind: type, path: str | os.PathLike[str], options: dict[str, Any], name: str) -> Given:
    """A class of `sage.core.connectors.files` with its arguments. A relative path becomes an absolute one here."""
    try:
        made = kind(path, **options)
    except ConnectorError as error:
        return Given(FunctionSpec("class", kind, (path,), options), name, (Slip(error.message, error.hint),))
    return Given(FunctionSpec("class", kind, (made.path,), options), name)
