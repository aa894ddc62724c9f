"""A job that the daemon looks after, in its memory: what is known of it, and what one can wait for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage.runtime.jobmanager.store import Row
from sage.runtime.shim.processes import ProcessIdentity

__all__ = ["AttendedJob"]

_log = logging.getLogger(__name__)


class AttendedJob:
    """What the daemon knows of one job.

    Attributes:
        row: the job as the index has it.
        seq, last: number and content of the newest event that was brought into the index.
        lock: held while the daemon itself writes the events file or starts the shim.
        moved: notified of each event.
        ended: set when the index has its end.
        gone: set when nothing of it is left, and nothing more will be done for it.
        started: its shim was started, by this daemon or by an earlier one.
        damaged: its events file cannot be read.
        shim: its shim, where this daemon started it.
        tell_end_later: the session log tells its end after the last lines of its output, by `Chronicle.tell_end`.
        end_note: what that is to tell: the state before, and the job as it ended.
    """

    def __init__(self, row: Row, folder: Path) -> None:
        self.number = row.number
        self.uuid = row.uuid
        self.folder = folder
        self.row = row
        self.seq = row.seq
        self.last: Mapping[str, Any] = {"state": row.state, "attempt": row.attempt, "epoch": row.epoch}
        self.lock = asyncio.Lock()
        self.moved = asyncio.Condition()
        self.ended = asyncio.Event()
        self.gone = asyncio.Event()
        self.started = False
        self.damaged = False
        self.shim: ProcessIdentity | None = None
        self.tell_end_later = False
        self.end_note: tuple[str, Row] | None = None

    @property
    def events_path(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def state(self) -> str:
        return str(self.last["state"])

    async def until(self, states: frozenset[str], seconds: float) -> None:
        """Wait until the index has it in one of ``states`` or it has ended, for ``seconds`` at most."""
        try:
            async with asyncio.timeout(seconds), self.moved:
                await self.moved.wait_for(lambda: self.row.state in states or self.ended.is_set())
        except TimeoutError:
            _log.warning("job %d is still %s after %g s", self.number, self.row.state, seconds)
