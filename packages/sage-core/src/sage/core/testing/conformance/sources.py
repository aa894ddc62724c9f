"""The source of a connector that is tried by its name: what it reads first is what it has to read each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sage.core.connectors.api import Source
from sage.core.testing.conformance.named import NamedConnector
from sage.core.testing.connectors import SourceConformance, read_source

__all__ = ["OfTheConnector"]


class OfTheConnector(SourceConformance):
    """Its source, made with the options given."""

    connector: NamedConnector

    @pytest.fixture(autouse=True)
    def _take(self, sage_connector: NamedConnector) -> None:
        if not sage_connector.reads:
            pytest.skip(f"'{sage_connector.name}' has no source")
        self.connector = sage_connector

    def source(self) -> Source:
        return self.connector.source()

    def expected(self) -> Sequence[Any]:
        records = read_source(self.source())
        assert records, "a source is tried by what it reads: give it options by which it has some records"
        return records
