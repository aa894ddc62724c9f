"""Following a job's log: for readers of its stream, and into the session log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from sage.runtime.jobmanager.offload import Offload
from sage.runtime.jobmanager.session_log import LineBudget
from sage.runtime.jobmanager.watch import FolderWatch
from sage.runtime.shim.log_reader import LogPart, read_log

__all__ = ["STREAMS", "LogFeed", "follow", "read_part"]

STREAMS = {"job": "job.log", "shim": "shim.log"}
"""The logs of a job by the name a client gives: what the job printed, and what its shim had to say."""

_CHUNK = 64 * 1024
_FAR_BEHIND = 512 * 1024
_LONGEST_PART_LINE = 16 * 1024


async def read_part(offload: Offload, folder: Path, stream: str, offset: int, limit: int) -> LogPart:
    """A piece of one of a job's logs; ``folder`` is the job's."""
    return await offload.read(_read, folder / "logs" / STREAMS[stream], offset, limit)


async def follow(
    offload: Offload, watch: FolderWatch, folder: Path, stream: str, offset: int, ended: asyncio.Future[None]
) -> AsyncGenerator[LogPart, None]:
    """Pieces of a log as they are written, from ``offset`` on.

    Ends when all was read of a job that ``ended`` says is over; an exception in ``ended`` is passed on. Whoever
    iterates may be as slow as it likes: nothing is read ahead.
    """
    with watch.changes(folder / "logs") as changed:

        def wake(_: object) -> None:
            changed.set()

        ended.add_done_callback(wake)
        try:
            while True:
                changed.clear()
                over = ended.done()
                part = await read_part(offload, folder, stream, offset, _CHUNK)
                if part.data:
                    offset = part.next_offset
                    yield part
                if part.at_end and over:
                    ended.result()
                    return
                if part.at_end:
                    await changed.wait()
        finally:
            ended.remove_done_callback(wake)


class LogFeed:
    """Brings the output of one running job into the session log, line by line and at a bounded rate."""

    def __init__(self, offload: Offload, watch: FolderWatch, folder: Path, budget: LineBudget) -> None:
        self._offload = offload
        self._watch = watch
        self._folder = folder
        self._budget = budget
        self._over = False
        self._changed: asyncio.Event | None = None
        self._rest = ""

    def finish(self) -> None:
        """The job has ended: bring over what is left, then stop."""
        self._over = True
        if self._changed is not None:
            self._changed.set()

    async def run(self, offset: int | None = 0) -> None:
        """Follow the log from ``offset`` (None: from its present end) until `finish`."""
        (self._folder / "logs").mkdir(mode=0o700, exist_ok=True)
        with self._watch.changes(self._folder / "logs") as changed:
            self._changed = changed
            if offset is None:
                offset = (await read_part(self._offload, self._folder, "job", -1, 16)).next_offset
            while True:
                changed.clear()
                over = self._over
                offset, at_end = await self._bring(offset)
                if at_end and over:
                    break
                if at_end:
                    await changed.wait()
        if self._rest:
            self._budget.add([self._rest])
        self._budget.settle()

    async def _bring(self, offset: int) -> tuple[int, bool]:
        part = await read_part(self._offload, self._folder, "job", offset, _CHUNK)
        if not part.at_end:
            newest = await read_part(self._offload, self._folder, "job", -_CHUNK, _CHUNK)
            if newest.offset - part.next_offset > _FAR_BEHIND:
                self._budget.skip(newest.offset - offset)
                self._rest = ""
                part = newest
        *lines, self._rest = (self._rest + part.text).split("\n")
        if len(self._rest) > _LONGEST_PART_LINE:
            lines.append(self._rest)
            self._rest = ""
        self._budget.add(lines)
        return part.next_offset, part.at_end


def _read(path: Path, offset: int, limit: int) -> LogPart:
    try:
        return read_log(path, offset, limit)
    except FileNotFoundError:
        return LogPart(b"", max(offset, 0), max(offset, 0), at_end=True, truncated=False)
