"""What is logged in a worker is handled in the job's process, as its program has set that up."""

from __future__ import annotations

import logging
import pickle
import queue
import threading
from contextlib import suppress
from typing import Any

from sage_plugins_example.processes.line import Line
from sage_plugins_example.processes.orders import LOG

__all__ = ["FromWorkers", "ToJob", "levels"]

_log = logging.getLogger(__name__)

_MOST_WAITING = 1 << 24
"""Bytes that may wait to be sent: whoever logs more than is taken has to wait."""


_MOST_RECORDS = 10_000
_PATIENCE = 5.0

_PLAIN = (str, int, float, type(None))


class ToJob(logging.Handler):
    """Sends log records to the job's process, as texts."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        if self._line.is_forked:
            return
        try:
            values = dict(vars(record))
            values |= {"msg": record.getMessage(), "args": None, "exc_info": None}
            if record.exc_info:
                values["exc_text"] = self._formatter.formatException(record.exc_info)
            plain = {name: value for name, value in values.items() if isinstance(value, _PLAIN)}
            self._line.post(LOG, parts=[pickle.dumps(plain)])
            if (
                not self._line.is_sent_by_this_thread
            ):  # it would wait for itself, where a record logs as it is unpickled
                self._line.wait_for_room(_MOST_WAITING)
        except Exception:
            self.handleError(record)


def levels() -> dict[str, int]:
    """The levels that loggers of this process were given, by name: a worker's get the same."""
    loggers: dict[str, Any] = {"": logging.getLogger(), **logging.getLogger().manager.loggerDict}
    return {
        name: logger.level for name, logger in loggers.items() if isinstance(logger, logging.Logger) and logger.level
    }


class FromWorkers:
    """Handles records of workers, on a thread of its own: slow handlers are to hold up nothing else.

    Args:
        name: of the thread, which begins with the first record.
    """

    def __init__(self, name: str) -> None:
        self._waiting: queue.Queue[Any] = queue.Queue(_MOST_RECORDS)
        self._left_out = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def take(self, data: Any) -> None:
        """A record has come. Never blocks: what there is no room for is left out, and told in the end."""
        if self._thread.ident is None:
            self._thread.start()
        try:
            self._waiting.put_nowait(data)
        except queue.Full:
            self._left_out += 1

    def close(self) -> None:
        """Wait, for a while, until all that has come is handled."""
        if self._thread.ident is not None:
            with suppress(queue.Full):
                self._waiting.put(None, timeout=_PATIENCE)
                self._thread.join(_PATIENCE)
        if self._left_out:
            _log.warning("%d log records of workers were left out: the handlers are too slow", self._left_out)

    def _run(self) -> None:
        while (data := self._waiting.get()) is not None:
            record = logging.makeLogRecord(pickle.loads(data))  # noqa: S301 - from a process that this one has started
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)
