"""Files as sources and sinks: lines of text, JSON Lines and CSV."""

from __future__ import annotations

from sage.core.connectors.files.csv import CsvSink, CsvSource
from sage.core.connectors.files.jsonl import JsonlSink, JsonlSource
from sage.core.connectors.files.text import TextSink, TextSource

__all__ = ["CsvSink", "CsvSource", "JsonlSink", "JsonlSource", "TextSink", "TextSource"]
