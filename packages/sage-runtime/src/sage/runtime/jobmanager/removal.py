"""Deleting jobs: one by one, or all that have ended."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sage.core import timestamps
from sage.core.errors import NotFoundError, WrongStateError
from sage.core.models import ENDED_STATES
from sage.runtime.jobmanager.failpoints import failpoint
from sage.runtime.jobmanager.home import Home, remove_tree
from sage.runtime.jobmanager.locks import NamedLocks
from sage.runtime.jobmanager.offload import Offload
from sage.runtime.jobmanager.problems import RequestError
from sage.runtime.jobmanager.store import Query, Row, Store
from sage.runtime.jobmanager.supervisor import Supervisor

__all__ = ["CLEANED_STATES", "Cleanup", "Removal"]

CLEANED_STATES = ("completed", "failed", "cancelled")
"""What a cleanup takes unless told otherwise; stopped jobs can be continued and must be named."""

_PAGE = 500
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cleanup:
    """What to clean up.

    Attributes:
        states: only jobs in these states; None means any ended state of ``jobs``, else `CLEANED_STATES`.
        older_than: only jobs that ended so many seconds ago.
        jobs: only these, by reference; None means all.
    """

    states: Sequence[str] | None = None
    older_than: float | None = None
    jobs: Sequence[str] | None = None


class Removal:
    """Removes jobs, their folders and their rows.

    The folder is moved to the trash, then the row goes, then the trash: a kill in between leaves a job that is either
    whole or finished off at the next start.
    """

    def __init__(self, home: Home, store: Store, supervisor: Supervisor, offload: Offload, locks: NamedLocks) -> None:
        self._home = home
        self._store = store
        self._supervisor = supervisor
        self._offload = offload
        self._locks = locks

    async def delete(self, row: Row, *, by: str, force: bool = False) -> Row:
        """Remove a job; with ``force`` cancel it first where it has not ended. Returns it as it was last.

        Args:
            by: who asked for it, for the session log.

        Raises:
            WrongStateError: it has not ended (and ``force`` was not given, or it would not end).
            NotFoundError: somebody else was faster.
        """
        if not row.is_ended:
            if not force:
                raise WrongStateError(
                    f"job {row.number} is {row.state}; only a job that has ended can be deleted",
                    hint="stop it first, or delete it with force, which cancels it",
                    job=row.uuid,
                    state=row.state,
                )
            await self._cancel(row, by)
        if not await self._supervisor.wait_gone(row.number, self._supervisor.cancel_patience):
            raise WrongStateError(
                f"job {row.number} was cancelled and has not ended within {self._supervisor.cancel_patience:g} s",
                hint="see the JobManager's session log, and delete it again later",
                job=row.uuid,
                state=row.state,
            )
        async with self._locks.hold(row.uuid):
            newest = await self._store.by_uuid(row.uuid)
            if newest is None or newest.number != row.number:
                raise NotFoundError(f"job {row.number} has been deleted already")
            if not newest.is_ended:
                raise WrongStateError(f"job {row.number} is {newest.state} again", job=row.uuid, state=newest.state)
            await self._remove(newest, by)
        return newest

    async def cleanup(self, wanted: Cleanup, *, by: str) -> list[Row]:
        """Remove ended jobs; returns those that were removed.

        Raises:
            WrongStateError: a job that was named has not ended; none was removed.
            RequestError: a state in which jobs have not ended.
        """
        wrong = [state for state in wanted.states or () if state not in ENDED_STATES]
        if wrong:
            raise RequestError(
                f"jobs that are {', '.join(wrong)} are not cleaned up",
                hint=f"states: any of {', '.join(sorted(ENDED_STATES))}",
            )
        if wanted.jobs is None:
            chosen = await self._in_states(CLEANED_STATES if wanted.states is None else wanted.states)
        else:
            named = await self._named(wanted.jobs)
            chosen = [row for row in named if wanted.states is None or row.state in wanted.states]
        removed = []
        for row in chosen:
            if wanted.older_than is not None and not _ended_before(row, wanted.older_than):
                continue
            try:
                removed.append(await self.delete(row, by=by))
            except NotFoundError:
                # Deleted by somebody else meanwhile, which is what was wanted.
                _log.debug("job %d was gone before its cleanup", row.number)
        return removed

    async def _in_states(self, states: Sequence[str]) -> list[Row]:
        chosen: list[Row] = []
        while states:
            before = chosen[-1].number if chosen else None
            page = await self._store.page(Query(states=tuple(states), before=before, limit=_PAGE))
            chosen += page
            if len(page) < _PAGE:
                break
        return chosen[::-1]

    async def _named(self, refs: Sequence[str]) -> list[Row]:
        rows = list({row.number: row for row in [await self._store.find(ref) for ref in refs]}.values())
        for row in rows:
            if not row.is_ended:
                raise WrongStateError(
                    f"job {row.number} is {row.state}; only jobs that have ended are cleaned up",
                    hint="stop it first; nothing was removed",
                    job=row.uuid,
                    state=row.state,
                )
        return rows

    async def _cancel(self, row: Row, by: str) -> None:
        if await self._supervisor.abandon(row):
            return
        try:
            await self._supervisor.cancel(row, f"deleted by {by}")
        except WrongStateError:
            newest = await self._store.by_uuid(row.uuid)
            if newest is not None and not newest.is_ended:
                raise

    async def _remove(self, row: Row, by: str) -> None:
        folder = self._home.job(row.uuid)
        trash = self._home.trash / f"{row.uuid}.{secrets.token_hex(4)}"

        def move() -> None:
            try:
                folder.rename(trash)
            except FileNotFoundError:
                _log.warning("job %d had no folder", row.number)

        await self._offload.read(move)
        failpoint("trashed")
        await self._store.delete(row.number)
        failpoint("row-gone")
        self._supervisor.forget(row, by)
        await self._offload.read(remove_tree, trash)


def _ended_before(row: Row, seconds: float) -> bool:
    if row.ended_at is None:
        return False
    # Not by a date in the past: before the year 1 there is none.
    return (datetime.now(UTC) - timestamps.parse(row.ended_at)).total_seconds() >= seconds
