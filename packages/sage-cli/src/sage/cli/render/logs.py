"""Writes the pieces of one log as they come."""

from __future__ import annotations

from collections.abc import Callable

from sage.cli.render.text import LogFilter

__all__ = ["LogPrinter"]


class LogPrinter:
    """Raw where stdout is a file or a pipe, filtered for a terminal, line by line where a prefix tells logs apart.

    Args:
        write: takes what is ready.
        terminal: a terminal reads it.
        prefix: stands before each line.
    """

    def __init__(self, write: Callable[[str], None], *, terminal: bool, prefix: str = "") -> None:
        self._write = write
        self._filter = LogFilter() if terminal else None
        self._prefix = prefix
        self._line = ""

    def feed(self, text: str) -> None:
        """Write a piece."""
        self._put(self._filter.feed(text) if self._filter else text)

    def close(self) -> None:
        """Write what was held back."""
        if self._filter:
            self._put(self._filter.close())
        if self._line:
            self._write(f"{self._prefix}{self._line}\n")
            self._line = ""

    def _put(self, text: str) -> None:
        if not self._prefix:
            if text:
                self._write(text)
            return
        *lines, self._line = (self._line + text).split("\n")
        if lines:
            self._write("".join(f"{self._prefix}{line}\n" for line in lines))
