"""What human output is made of. A view turns a model into parts; a renderer writes them, cleaned, to a stream.

Named tuples rather than dataclasses, whose making is felt in the start of every command.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Block", "Column", "Fields", "Line", "Part", "Table"]


class Column(NamedTuple):
    """A column of a table.

    ``right`` aligns numbers; ``states`` colours the states of jobs; ``whole`` leaves the folding to other columns where
    a terminal is narrow.
    """

    title: str
    right: bool = False
    states: bool = False
    whole: bool = False


class Table(NamedTuple):
    """Rows under headings. ``empty`` is said instead when there is no row, to people only (on stderr)."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    title: str | None = None
    empty: str | None = None


class Fields(NamedTuple):
    """Names and values, one pair a line."""

    rows: Sequence[tuple[str, str]]
    title: str | None = None


class Block(NamedTuple):
    """Text of several lines, such as a traceback, indented under its title."""

    title: str
    text: str


class Line(NamedTuple):
    """One line as it is."""

    text: str


Part = Table | Fields | Block | Line
