"""Parts as plain text: aligned columns, nothing cut off, no colours; for pipes, files and tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sage.cli.render.parts import Block, Column, Fields, Line, Part, Table
from sage.cli.render.text import clean, clean_block

__all__ = ["render"]

_GAP = "  "


def render(parts: Sequence[Part]) -> str:
    """All parts as text, an empty line between them (none between two single lines)."""
    text = ""
    before: Part | None = None
    for part in parts:
        lines = [line.rstrip() for line in _lines(part)]
        if not lines:
            continue
        if before is not None and not (isinstance(before, Line) and isinstance(part, Line)):
            text += "\n"
        text += "".join(f"{line}\n" for line in lines)
        before = part
    return text


def _lines(part: Part) -> Iterator[str]:
    if isinstance(part, Line):
        yield clean(part.text)
    elif isinstance(part, Block):
        yield f"{clean(part.title)}:"
        yield from (f"  {line}" for line in clean_block(part.text).rstrip("\n").split("\n"))
    elif isinstance(part, Fields):
        yield from _titled(part.title)
        yield from _fields(part)
    elif part.rows:
        yield from _titled(part.title)
        yield from _table(part)


def _titled(title: str | None) -> Iterator[str]:
    if title:
        yield f"{clean(title)}:"


def _fields(part: Fields) -> Iterator[str]:
    width = max((len(name) for name, _ in part.rows), default=0) + 1
    indent = _GAP if part.title else ""
    for name, value in part.rows:
        first, *more = clean_block(value).split("\n")
        yield f"{indent}{clean(name) + ':':<{width}}{_GAP}{first}"
        yield from (f"{indent}{'':<{width}}{_GAP}{line}" for line in more)


def _table(part: Table) -> Iterator[str]:
    rows = [[clean(cell) for cell in row] for row in part.rows]
    heads = [column.title for column in part.columns]
    widths = [max(_width(cell) for cell in cells) for cells in zip(heads, *rows, strict=True)]
    indent = _GAP if part.title else ""
    for row in [heads, *rows]:
        yield indent + _GAP.join(_pad(*item) for item in zip(row, widths, part.columns, strict=True))


def _pad(cell: str, width: int, column: Column) -> str:
    space = " " * (width - _width(cell))
    return space + cell if column.right else cell + space


def _width(text: str) -> int:
    """Columns that a terminal needs for the text."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)
