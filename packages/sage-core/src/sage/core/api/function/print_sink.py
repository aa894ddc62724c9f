"""The sink behind ``stream.print()``."""

from __future__ import annotations

from typing import Any

from sage.core.api.function.sink_function import SinkFunction

__all__ = ["PrintSink"]


class PrintSink(SinkFunction):
    """Prints each record on the standard output of the process that runs the job.

    Args:
        prefix: goes before each record.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def execute(self, value: Any) -> None:
        print(f"{self.prefix}{value}\n", end="")  # in one piece: several tasks may print
