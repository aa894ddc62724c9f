"""A connector that is tried by its name, with the options that its source and its sink are made with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage.core.connectors.api import Sink, Source
from sage.core.plugins import connector

__all__ = ["NamedConnector"]


class NamedConnector:
    """What the command line says of a connector.

    Args:
        name: of its entry point.
        options: of its source and its sink; of one of them alone where the key begins with ``source.`` or ``sink.``.
        records: JSON Lines with what its sink can write; None where it is not tried.

    Raises:
        PluginError: there is no such connector, or it is broken.
    """

    def __init__(self, name: str, options: Mapping[str, Any], records: Path | None) -> None:
        self.name = name
        self._connector = connector(name)
        self._options = options
        self.records = [] if records is None else [json.loads(line) for line in records.read_text().splitlines()]

    @property
    def reads(self) -> bool:
        return hasattr(self._connector, "source")

    @property
    def writes(self) -> bool:
        return hasattr(self._connector, "sink")

    def source(self) -> Source:
        return self._connector.source(**self._of("source"))

    def sink(self) -> Sink:
        return self._connector.sink(**self._of("sink"))

    def _of(self, part: str) -> dict[str, Any]:
        found = {}
        for key, value in self._options.items():
            whose, dot, rest = key.partition(".")
            if not dot:
                found[key] = value
            elif whose == part:
                found[rest] = value
        return found
