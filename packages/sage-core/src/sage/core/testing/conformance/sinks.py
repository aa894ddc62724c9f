"""The sink of a connector that is tried by its name: what it has written is read by the connector's own source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sage.core.connectors.api import Sink
from sage.core.testing.conformance.named import NamedConnector
from sage.core.testing.connectors import SinkConformance, read_source

__all__ = ["OfTheConnector"]


class OfTheConnector(SinkConformance):
    """Its sink, made with the options given."""

    connector: NamedConnector

    @pytest.fixture(autouse=True)
    def _take(self, sage_connector: NamedConnector) -> None:
        for there, lack in (
            (sage_connector.writes, f"'{sage_connector.name}' has no sink"),
            (sage_connector.reads, f"'{sage_connector.name}' has no source to read what its sink has written"),
            (sage_connector.records, "there is nothing to write: --sage-connector-records FILE"),
        ):
            if not there:
                pytest.skip(lack)
        self.connector = sage_connector

    def sink(self) -> Sink:
        return self.connector.sink()

    def records(self) -> Sequence[Any]:
        return self.connector.records

    def published(self) -> Sequence[Any]:
        return read_source(self.connector.source())
