"""What the job prints: line by line into the pipe to its shim, log records included."""

from __future__ import annotations

import faulthandler
import io
import logging
import signal
import sys

__all__ = ["flush_output", "prepare_output"]


def prepare_output() -> None:
    """Let every line reach the job's log when it is complete, whatever its characters, and a crash leave a trace.

    Log records of SAGE and of user functions' ``self.logger`` are printed from level INFO on. That is left to the
    user's handlers as soon as their code sets up any.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    faulthandler.enable(all_threads=True)
    # The shim terminates what does not stop; then the log shows where it hung. What SIGTERM does is left as it was.
    faulthandler.register(signal.SIGTERM, all_threads=True, chain=True)
    handler = _UntilConfigured()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("sage")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)


def flush_output() -> None:
    """Print what is still buffered."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            # The shim took the other end with it, or the job closed or replaced the stream: nobody to print to.
            continue


class _UntilConfigured(logging.StreamHandler):  # type: ignore[type-arg]
    """Prints to the present ``sys.stderr`` unless the root logger has handlers, which then print the record."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            self.stream = sys.stderr
            super().emit(record)
