"""What happens to jobs, on its way into the index, to whoever waits, and into the session log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from sage.core.errors import SageError
from sage.core.models import ENDED_STATES, FailureInfo
from sage.core.plugins.job_hooks import JobHooks
from sage.runtime.jobmanager.attended_job import AttendedJob
from sage.runtime.jobmanager.events import Change, Hub
from sage.runtime.jobmanager.failpoints import failpoint
from sage.runtime.jobmanager.offload import Offload
from sage.runtime.jobmanager.records import Records, info_of
from sage.runtime.jobmanager.session_log import plain
from sage.runtime.jobmanager.store import Row, Store
from sage.runtime.shim.events import read_events
from sage.runtime.shim.failure import clean_failure

__all__ = ["Chronicle"]

_SHORTEST_RETRY = 0.1
_LONGEST_RETRY = 10.0
_log = logging.getLogger(__name__)


class Chronicle:
    """Tells everybody of each event, in this order: the index, the session log, plugins, those who wait."""

    def __init__(
        self, store: Store, records: Records, hub: Hub, offload: Offload, hooks: JobHooks | None = None
    ) -> None:
        self._store = store
        self._records = records
        self._hub = hub
        self._offload = offload
        self._hooks = hooks
        self._stopping = False

    def stop(self) -> None:
        """From now on an error of the index is raised instead of waited for."""
        self._stopping = True

    def submitted(self, job: AttendedJob) -> None:
        """A job was acknowledged: its first event is in the index already."""
        row = job.row
        self._tell(None, row)
        self._tell_plugins("created", row)
        self._hub.publish(Change(row, {**job.last, "seq": row.seq, "time": row.created_at, "reason": None}))

    def deleted(self, row: Row, by: str) -> None:
        """A job was deleted, by whom."""
        self.note(f"job {row.number} deleted by {by}")
        self._hub.publish(Change(row, deleted=True))

    async def catch_up(self, job: AttendedJob) -> bool:
        """Bring over what the events file has and the index has not; False if the job has ended.

        Raises:
            EventsCorruptError: it cannot be read.
        """
        for event in await self._offload.read(read_events, job.events_path, job.seq):
            await self.add(job, event)
        return not job.ended.is_set()

    async def add(self, job: AttendedJob, event: Mapping[str, Any]) -> None:
        """Bring one event into the index, then to whoever waits; tries again for as long as the disk refuses."""
        if event["seq"] <= job.seq:
            return
        columns = _columns_of(event)
        if columns["state"] in ENDED_STATES:
            metrics = await self._records.metrics(job.row)
            totals = await self._records.totals(job.row, metrics)
            columns |= {"records_in": totals.records_in, "records_out": totals.records_out}
            columns |= {"tasks": metrics.tasks} if metrics.tasks else {}
        before = job.state
        job.seq, job.last = event["seq"], event
        failpoint(columns["state"])
        row = await self.update(job, columns)
        if row is None:
            job.ended.set()
            return
        job.row = row
        if row.is_ended and job.tell_end_later:
            job.end_note = (before, row)
        else:
            self._tell(before, row)
        self._tell_plugins(before, row)
        if row.is_ended:
            job.ended.set()
        self._hub.publish(Change(row, event))
        async with job.moved:
            job.moved.notify_all()

    async def update(self, job: AttendedJob, columns: Mapping[str, Any]) -> Row | None:
        """Set columns of the index; tries again for as long as the disk refuses. None if the job is not there."""
        retry = _SHORTEST_RETRY
        while True:
            try:
                return await self._store.update(job.number, **columns)
            except SageError as error:
                if self._stopping:
                    raise
                _log.error("job %d: %s; trying again", job.number, error.message)
                await asyncio.sleep(retry)
                retry = min(2 * retry, _LONGEST_RETRY)

    async def mark(self, job: AttendedJob, mark: str | None, reason: str | None) -> None:
        """Mark a job in the index, or take the mark away."""
        if job.row.mark == mark and job.row.reason == reason:
            return
        row = await self.update(job, {"mark": mark, "reason": reason})
        if row is not None:
            job.row = row
            self.note(f"job {job.number} {mark}: {reason}" if mark else f"job {job.number} answers again")
            self._hub.publish(Change(row))

    def tell_end(self, job: AttendedJob) -> None:
        """Tell the end that was put off until all output was told."""
        if job.end_note is not None:
            self._tell(*job.end_note)
            job.end_note = None

    def note(self, text: str) -> None:
        """Tell something in the session log, on one line."""
        _log.info("%s", plain(text))

    def _tell_plugins(self, before: str, row: Row) -> None:
        if self._hooks is not None and before != row.state:
            self._hooks.moved(info_of(row), before, row.reason)

    def _tell(self, before: str | None, row: Row) -> None:
        because = f" ({row.reason})" if row.reason else ""
        submitted = f"submitted by {row.owner}: {row.name} (package {row.sha256[:16]})"
        moved = f"{before} → {row.state}" if before else submitted
        self.note(f"job {row.number} {moved}{because}")
        if row.state == "failed" and row.failure is not None:
            where = f" in {row.failure.operator}" if row.failure.operator else ""
            self.note(f"job {row.number} failed{where}: {row.failure.message}")


def _columns_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """What an event changes in the index."""
    state = event["state"]
    columns: dict[str, Any] = {
        "state": state,
        "mark": None,
        "reason": _storable(event.get("reason")),
        "seq": event["seq"],
        "attempt": event.get("attempt", 1),
        "epoch": event.get("epoch", 0),
    }
    if state == "running":
        columns["started_at"] = event["time"]
        columns["tasks"] = event.get("tasks") or 0
        columns["services"] = event.get("services") or 0
    if state in ENDED_STATES:
        columns["ended_at"] = event["time"]
    if state in ("failing", "failed") and isinstance(event.get("failure"), dict):
        columns["failure"] = FailureInfo.from_json(clean_failure(event["failure"]))
    return columns


def _storable(text: str | None) -> str | None:
    """The text with lone surrogates, which what a job says may hold, in a form that the index can take."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()
