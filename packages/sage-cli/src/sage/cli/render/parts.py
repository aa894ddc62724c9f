"""What human output is made of. A view turns a model into parts; a renderer writes them, cleaned, to a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Block", "Column", "Fields", "Line", "Part", "Table"]


@dataclass(frozen=True)
class Column:
    """A column of a table. ``right`` aligns numbers; ``states`` colours the states of jobs."""

    title: str
    right: bool = False
    states: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under headings. ``empty`` is said instead when there is no row, to people only (on stderr)."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    title: str | None = None
    empty: str | None = None


@dataclass(frozen=True)
class Fields:
    """Names and values, one pair a line."""

    rows: Sequence[tuple[str, str]]
    title: str | None = None


@dataclass(frozen=True)
class Block:
    """Text of several lines, such as a traceback, indented under its title."""

    title: str
    text: str


@dataclass(frozen=True)
class Line:
    """One line as it is."""

    text: str


Part = Table | Fields | Block | Line
