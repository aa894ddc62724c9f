"""Parts on a terminal, through rich: colours, and tables that fit the width. Imported only to write to a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from sage.cli.render.parts import Block, Column, Fields, Line, Part, Table
from sage.cli.render.text import clean, clean_block

__all__ = ["console", "renderable"]

_GAP = 2
_FOLDED = 8
"""Columns of the terminal that are worth having for a cell that is folded."""
_STATES = {
    "running": "green",
    "completed": "bold green",
    "failing": "red",
    "failed": "bold red",
    "cancelling": "yellow",
    "cancelled": "yellow",
    "stopping": "yellow",
    "stopped": "yellow",
    "restarting": "magenta",
    "up": "bold green",
    "down": "bold red",
    "unhealthy": "bold yellow",
}


def console(stream: TextIO, *, colors: bool, terminal: bool | None = None) -> Console:
    """A console that adds nothing of its own: no markup, no highlighting, no emoji.

    Args:
        stream: where to write.
        colors: whether colours may be used.
        terminal: whether to treat the stream as a terminal; None asks it.
    """
    return Console(
        file=stream, no_color=not colors, force_terminal=terminal, highlight=False, markup=False, emoji=False
    )


def renderable(parts: Sequence[Part]) -> RenderableType:
    """All parts as one thing that rich can draw, an empty line between them as in plain text."""
    items: list[RenderableType] = []
    before: Part | None = None
    for part in parts:
        drawn = list(_draw(part))
        if not drawn:
            continue
        if before is not None and not (isinstance(before, Line) and isinstance(part, Line)):
            items.append(Text())
        items += drawn
        before = part
    return Group(*items)


def _draw(part: Part) -> Iterator[RenderableType]:
    # Text objects, never strings: what a job supplies must not be read as markup.
    if isinstance(part, Line):
        yield Text(clean(part.text))
    elif isinstance(part, Block):
        yield Text(clean(part.title), style="bold")
        yield Padding(Text(clean_block(part.text).rstrip("\n")), (0, 0, 0, 2), expand=False)
    elif isinstance(part, Fields):
        yield from _titled(part.title)
        grid = RichTable.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in part.rows:
            grid.add_row(Text(clean(name)), Text(clean_block(value), style=_STATES.get(value, "")))
        yield Padding(grid, (0, 0, 0, 2 if part.title else 0), expand=False)
    elif part.rows:
        yield from _titled(part.title)
        yield _Grid(part)


class _Grid:
    """A table in the room that there is: where it can, it folds only columns that need not stay whole."""

    def __init__(self, part: Table) -> None:
        self._columns = part.columns
        self._rows = [
            [_cell(cell, column) for cell, column in zip(row, part.columns, strict=True)] for row in part.rows
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        widths = [
            max(len(column.title), *(cell.cell_len for cell in cells))
            for column, *cells in zip(self._columns, *self._rows, strict=True)
        ]
        kept = [column.whole or width <= _FOLDED for column, width in zip(self._columns, widths, strict=True)]
        least = sum(width if keep else _FOLDED for width, keep in zip(widths, kept, strict=True))
        fits = least + _GAP * (len(widths) - 1) <= options.max_width
        table = RichTable(
            box=SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold"
        )
        for column, keep in zip(self._columns, kept, strict=True):
            justify: JustifyMethod = "right" if column.right else "left"
            table.add_column(column.title, justify=justify, overflow="fold", no_wrap=fits and keep)
        for row in self._rows:
            table.add_row(*row)
        yield table


def _titled(title: str | None) -> Iterator[RenderableType]:
    if title:
        yield Text(clean(title), style="bold")


def _cell(text: str, column: Column) -> Text:
    return Text(clean(text), style=_STATES.get(text, "") if column.states else "")
