"""The life of jobs as the daemon has a hand in it: who waits, who starts, who is attended, who is gone.

Each started job is attended by one task: it starts the shim (or finds it, where an earlier daemon did), listens to its
events and has them told, and, should the shim die, makes sure that nothing of the job is left before it writes the
job's end itself. What the events file says is true; the index and the readers follow it (see ``chronicle``).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from sage.core import timestamps
from sage.core.errors import NotFoundError, WrongStateError
from sage.core.models import ENDED_STATES, FailureInfo
from sage.core.plugins.job_hooks import JobHooks
from sage.runtime.jobmanager.attended_job import AttendedJob
from sage.runtime.jobmanager.chronicle import Chronicle
from sage.runtime.jobmanager.events import Hub
from sage.runtime.jobmanager.failpoints import failpoint
from sage.runtime.jobmanager.home import Home
from sage.runtime.jobmanager.joblog import LogFeed
from sage.runtime.jobmanager.offload import Offload
from sage.runtime.jobmanager.records import Records
from sage.runtime.jobmanager.session_log import LineBudget, SessionLog
from sage.runtime.jobmanager.shims import (
    append_event,
    cause_of_death,
    ends_within,
    find_shim,
    is_owned,
    recorded_shim,
    write_end,
)
from sage.runtime.jobmanager.store import Row, Store
from sage.runtime.jobmanager.watch import FolderWatch
from sage.runtime.run_dir import job_socket, run_dir
from sage.runtime.shim.client import ShimClient, ShimUnreachableError, wait_exit
from sage.runtime.shim.events import EventsCorruptError, EventsFile, EventsFileBusyError, is_event
from sage.runtime.shim.files import write_json
from sage.runtime.shim.processes import boot_id, send_signal
from sage.runtime.shim.start import ShimStartError, start_shim
from sage.runtime.shim.sweep import end_processes

__all__ = ["Supervisor", "SupervisorSettings"]

_NOT_STARTED = frozenset({"submitted", "queued"})
_CANCELLING = frozenset({"cancelling", "failing"})
_START_PATIENCE = 30.0
_EXIT_PATIENCE = 15.0
_STATE_PATIENCE = 5.0
_SHORTEST_RETRY = 0.1
_LONGEST_RETRY = 10.0
_UNANSWERED = 0.5
"""A shim that lives but does not answer counts as lost once tries are so many seconds apart."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SupervisorSettings:
    """How jobs are run.

    Attributes:
        max_running: jobs that run at once; None: no limit, 0: none starts.
        grace: seconds a job gets to stop by itself, then as many again after SIGTERM.
        log_max_bytes, log_keep: bounds of each job's log.
    """

    max_running: int | None = None
    grace: float = 10.0
    log_max_bytes: int = 16 << 20
    log_keep: int = 3


class Supervisor:
    """Attends all unfinished jobs. Belongs to one event loop; `start` first, `stop` last."""

    def __init__(
        self,
        home: Home,
        store: Store,
        records: Records,
        hub: Hub,
        watch: FolderWatch,
        offload: Offload,
        session: SessionLog,
        settings: SupervisorSettings,
        hooks: JobHooks | None = None,
    ) -> None:
        self._home = home
        self._store = store
        self._chronicle = Chronicle(store, records, hub, offload, hooks)
        self._watch = watch
        self._offload = offload
        self._session = session
        self._settings = settings
        self._sockets = run_dir(home.root)
        self._jobs: dict[int, AttendedJob] = {}
        self._waiting: dict[int, AttendedJob] = {}
        self._running: set[int] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self.ready = False

    # Life cycle

    async def start(self) -> None:
        """Take up every unfinished job: attend those that have a shim, queue those that were never started."""
        for row in await self._store.unfinished():
            job = AttendedJob(row, self._home.job(row.uuid))
            self._jobs[job.number] = job
            try:
                await self._take_up(job)
            except EventsCorruptError as error:
                await self._give_up(job, str(error))
            except Exception:
                # Whatever a job has left in its folder, it must not keep the JobManager from the others.
                _log.exception("job %d cannot be taken up again because of an error in the JobManager", job.number)
                await self._give_up(job, "the JobManager failed while taking it up again")
        self._pump()
        for job in self._waiting.values():
            self._background(self._note_queued(job), f"queue-{job.number}")
        self.ready = True

    async def _take_up(self, job: AttendedJob) -> None:
        if not await self._chronicle.catch_up(job):
            self._let_go(job)
            return
        shim = await self._offload.read(find_shim, job.folder)
        if job.state in _NOT_STARTED and shim is None:
            self._waiting[job.number] = job
        else:
            _log.info("job %d: taking it up again (%s)", job.number, job.state)
            self._attend(job, adopt=True)

    async def stop(self) -> None:
        """Let go of all jobs; they go on under their shims."""
        self._stopping = True
        self._chronicle.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def waiting(self) -> int:
        """How many jobs wait for their start."""
        return len(self._waiting)

    # What routes ask for

    def submit(self, row: Row) -> None:
        """Take up a job that was just acknowledged."""
        job = AttendedJob(row, self._home.job(row.uuid))
        self._jobs[job.number] = job
        self._chronicle.submitted(job)
        self._waiting[job.number] = job
        self._pump()
        if job.number in self._waiting:
            self._background(self._note_queued(job), f"queue-{job.number}")

    async def cancel(self, row: Row, reason: str | None = None) -> Row:
        """Cancel a job; returns it when that is under way (or, of a job that never started, done).

        Raises:
            WrongStateError: it has ended, or nobody can be asked to end it.
        """
        job = self._jobs.get(row.number)
        if job is None or job.row.is_ended:
            newest = await self._reread(row)
            raise WrongStateError(f"job {row.number} is {newest.state} already", job=row.uuid, state=newest.state)
        if job.given_up:
            raise WrongStateError(
                f"job {row.number} cannot be cancelled: {job.row.reason}",
                hint="delete it with force, which ends what is left of it",
                job=job.uuid,
                state=job.row.state,
            )
        async with job.lock:
            if not job.started and job.state in _NOT_STARTED:
                event = await self._offload.launch(append_event, job.events_path, "cancelled", reason, job.last)
                self._waiting.pop(job.number, None)
                await self._chronicle.add(job, event)
                self._let_go(job)
                return job.row
        if job.state not in _CANCELLING and not job.ended.is_set():
            try:
                await self._shim(job).cancel(self._settings.grace, reason)
            except ShimUnreachableError as error:
                await job.until(ENDED_STATES, _STATE_PATIENCE)
                if not job.ended.is_set():
                    raise WrongStateError(
                        f"job {job.number} cannot be asked to end: {error.message}",
                        hint="the JobManager is finding out what became of it; try again in a moment",
                        job=job.uuid,
                    ) from error
                raise WrongStateError(
                    f"job {row.number} is {job.state} already", job=job.uuid, state=job.state
                ) from error
            await job.until(ENDED_STATES | _CANCELLING, _STATE_PATIENCE)
        return job.row

    async def wait_gone(self, number: int, seconds: float) -> bool:
        """Wait until a job has ended and its shim with it; False if they have not within ``seconds``."""
        job = self._jobs.get(number)
        if job is None:
            return True
        try:
            async with asyncio.timeout(seconds):
                await job.gone.wait()
        except TimeoutError:
            return False
        return True

    @property
    def cancel_patience(self) -> float:
        """Seconds within which a job that is cancelled has ended, unless the kernel itself holds it."""
        return 2 * self._settings.grace + _EXIT_PATIENCE

    async def abandon(self, row: Row) -> bool:
        """End what is left of a job that was given up, and have it failed, in the index alone.

        False, and nothing done, for any other job.
        """
        job = self._jobs.get(row.number)
        if job is None or not job.given_up:
            return False
        shim = await self._offload.read(find_shim, job.folder)
        if shim is not None:
            send_signal(shim, signal.SIGKILL)
        if await self._offload.launch(end_processes, str(job.folder)):
            return False
        await self._chronicle.update(job, {"state": "failed", "mark": None, "ended_at": timestamps.now()})
        job.ended.set()
        self._let_go(job)
        return True

    def forget(self, row: Row, by: str) -> None:
        """A job was deleted, by whom."""
        self._chronicle.deleted(row, by)

    async def _reread(self, row: Row) -> Row:
        newest = await self._store.by_uuid(row.uuid)
        if newest is None:
            raise NotFoundError(f"there is no job {row.number} any more")
        return newest

    # The queue

    def _pump(self) -> None:
        """Start whom there is room for, in the order of their numbers."""
        limit = self._settings.max_running
        while self._waiting and not self._stopping and (limit is None or len(self._running) < limit):
            job = self._waiting.pop(next(iter(self._waiting)))
            self._attend(job, adopt=False)

    async def _note_queued(self, job: AttendedJob) -> None:
        async with job.lock:
            if job.state != "submitted" or job.started:
                return
            limit = self._settings.max_running
            reason = f"waits: {limit} jobs may run at once" if limit else "waits: this JobManager starts no jobs now"
            event = await self._offload.launch(append_event, job.events_path, "queued", reason, job.last)
            await self._chronicle.add(job, event)

    # Attending one job

    def _attend(self, job: AttendedJob, *, adopt: bool) -> None:
        self._running.add(job.number)
        job.started = adopt
        job.tell_end_later = True
        self._background(self._attended(job, adopt=adopt), f"job-{job.number}")

    async def _attended(self, job: AttendedJob, *, adopt: bool) -> None:
        feed = LogFeed(
            self._offload,
            self._watch,
            job.folder,
            LineBudget(f"job {job.number}", lambda line: self._session.write(line, echo=False)),
        )
        feeding = self._background(self._feed(job, feed, adopt), f"feed-{job.number}")
        try:
            if not adopt:
                await self._start(job)
            while not job.ended.is_set():
                await self._listen(job)
            await self._until_shim_is_gone(job)
            self._let_go(job)
        except EventsCorruptError as error:
            await self._give_up(job, str(error))
        except Exception:
            # Whatever went wrong, the job's folder tells the truth; the next start of the daemon takes it up again.
            _log.exception("job %d cannot be attended because of an error in the JobManager", job.number)
            await self._give_up(job, "the JobManager failed while attending it; restart the JobManager")
        finally:
            feed.finish()
            self._running.discard(job.number)
            self._pump()
        await feeding
        self._chronicle.tell_end(job)

    async def _give_up(self, job: AttendedJob, reason: str) -> None:
        """Attend a job no more; unless it has ended, only a forced deletion will end what is left of it."""
        if job.ended.is_set():
            self._let_go(job)
            return
        _log.error("job %d is no longer attended: %s", job.number, reason)
        job.given_up = True
        await self._chronicle.mark(job, "lost", reason)

    def _let_go(self, job: AttendedJob) -> None:
        """Nothing of the job is left, and nothing more will be done for it."""
        self._jobs.pop(job.number, None)
        job.gone.set()

    async def _feed(self, job: AttendedJob, feed: LogFeed, adopt: bool) -> None:
        try:
            await feed.run(None if adopt else 0)
        except OSError as error:
            _log.warning("job %d: its output does not reach the session log: %s", job.number, error)

    async def _start(self, job: AttendedJob) -> None:
        retry = _SHORTEST_RETRY
        while True:
            async with job.lock:
                if job.ended.is_set():
                    return
                job.started = True
                try:
                    written = await self._offload.launch(self._launch, job)
                    break
                except OSError as error:
                    # No room on the disk, no descriptors left: nothing was started, and this passes.
                    job.started = False
                    _log.error("job %d cannot be started yet: %s", job.number, error)
            await asyncio.sleep(retry)
            retry = min(2 * retry, _LONGEST_RETRY)
        for event in written:
            await self._chronicle.add(job, event)

    def _launch(self, job: AttendedJob) -> list[dict[str, Any]]:
        """Write `queued` and ``job.json``, start the shim; blocks. Returns the events that were written here."""
        written: list[dict[str, Any]] = []
        try:
            with EventsFile(job.events_path) as events:
                if events.last is not None and events.last["state"] == "submitted":
                    written.append(events.append("queued", attempt=job.row.attempt, epoch=job.row.epoch))
        except EventsFileBusyError:
            # An earlier daemon started the shim and was killed before it saw it answer: listen to that one.
            return written
        failpoint("launching")
        write_json(str(job.folder / "job.json"), self._order(job))
        try:
            job.shim = start_shim(job.folder, timeout=_START_PATIENCE)
            failpoint("started")
        except ShimStartError as error:
            if error.reason in ("busy", "ended"):
                return written
            with EventsFile(job.events_path) as events:
                failure = FailureInfo("process", error.message).to_json()
                for state in ("failing", "failed"):
                    written.append(
                        events.append(
                            state,
                            reason="its shim did not start",
                            attempt=job.row.attempt,
                            epoch=job.row.epoch,
                            failure=failure,
                        )
                    )
        return written

    def _order(self, job: AttendedJob) -> dict[str, Any]:
        """What ``job.json`` tells the shim."""
        row, settings = job.row, self._settings
        options = dict(row.options)
        return {
            "uuid": row.uuid,
            "number": row.number,
            "name": row.name,
            "backend": row.backend,
            "env_vars": options.pop("env_vars", {}),
            "options": options,
            "attempt": row.attempt,
            "epoch": row.epoch + 1,
            "python": sys.executable,
            "log": {"max_bytes": settings.log_max_bytes, "keep": settings.log_keep},
            "grace": settings.grace,
            "socket": str(job_socket(self._sockets, row.uuid)),
        }

    async def _listen(self, job: AttendedJob) -> None:
        """Bring over the shim's events until the job has ended, or its shim has."""
        retry = _SHORTEST_RETRY
        while True:
            try:
                if job.row.mark is not None:
                    await self._shim(job).ping()
                    await self._chronicle.mark(job, None, None)
                async with aclosing(self._shim(job).subscribe(job.seq)) as events:
                    async for event in events:
                        if not is_event(event):
                            raise EventsCorruptError(str(job.events_path), job.seq + 1)
                        await self._chronicle.add(job, event)
                        retry = _SHORTEST_RETRY
                if job.ended.is_set():
                    return
                trouble = "it closed the stream of events before the job had ended"
            except ShimUnreachableError as error:
                trouble = error.message
            if not await self._chronicle.catch_up(job):
                return
            shim = await self._offload.read(find_shim, job.folder)
            if shim is None:
                await self._bury(job)
                return
            if retry > _UNANSWERED:
                await self._chronicle.mark(job, "lost", f"its shim (process {shim.pid}) does not answer: {trouble}")
            await ends_within(shim, retry)
            retry = min(2 * retry, _LONGEST_RETRY)

    async def _bury(self, job: AttendedJob) -> None:
        """The shim died before its job had ended: end what is left of the job, then write its end."""
        if await self._offload.read(is_owned, job.events_path):
            # A shim lives that has not come so far as to say where: listen again.
            await asyncio.sleep(_SHORTEST_RETRY)
            return
        reason = await self._offload.read(cause_of_death, job.folder)
        await self._chronicle.mark(job, "lost", reason)
        _log.warning("job %d: %s", job.number, reason)
        left = await self._offload.launch(end_processes, str(job.folder))
        while left:
            pids = ", ".join(str(identity.pid) for identity in left)
            await self._chronicle.mark(job, "lost", f"{reason}; process {pids} of it cannot be ended")
            for identity in left:
                await wait_exit(identity)
            left = await self._offload.launch(end_processes, str(job.folder))
        try:
            async with job.lock:
                written = await self._offload.launch(write_end, job.events_path, reason)
        except EventsFileBusyError:
            # It lives after all, only not where its file says: listen again.
            await asyncio.sleep(_SHORTEST_RETRY)
            return
        job_socket(self._sockets, job.uuid).unlink(missing_ok=True)
        for event in written:
            await self._chronicle.add(job, event)

    async def _until_shim_is_gone(self, job: AttendedJob) -> None:
        """Wait for the shim's exit, which also collects it where it is our child."""
        shim = job.shim or await self._offload.read(recorded_shim, job.folder)
        if shim is not None and shim.boot_id == boot_id() and not await ends_within(shim, _EXIT_PATIENCE):
            _log.warning("job %d has ended, but its shim (process %d) goes on", job.number, shim.pid)

    def _shim(self, job: AttendedJob) -> ShimClient:
        return ShimClient(job_socket(self._sockets, job.uuid))

    # Tasks

    def _background(self, work: Any, name: str) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s failed", task.get_name(), exc_info=error)
