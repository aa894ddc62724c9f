"""From the body of a request to a durable, acknowledged job.

In this order, so that a kill at any point leaves either nothing or the whole job: the body goes to a folder of its own
under ``jobs/.incoming`` while it is hashed and counted; its manifest and every size and hash are verified;
``events.jsonl`` with ``submitted`` is written; files and folder are flushed; the folder is renamed to the job's uuid;
the row is committed. Only then is the client told. What was not acknowledged is swept away at the next start.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from sage.core.client.package import Manifest, PackageLimits, check_versions, verify
from sage.core.errors import ConflictError, LimitExceededError, SageError, UnknownBackendError
from sage.runtime.jobmanager.failpoints import failpoint
from sage.runtime.jobmanager.home import Home
from sage.runtime.jobmanager.locks import NamedLocks
from sage.runtime.jobmanager.offload import Offload
from sage.runtime.jobmanager.problems import RequestError
from sage.runtime.jobmanager.store import NewJob, Row, Store
from sage.runtime.shim.events import EventsFile
from sage.runtime.shim.files import sync_folder

__all__ = ["Submission", "Submissions", "finish_deletions", "sweep_unacknowledged"]

_BLOCK = 1 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Submission:
    """What became of a submitted package: its job, and whether this submission made it."""

    row: Row
    is_new: bool


class Submissions:
    """Takes packages.

    Args:
        backends: names of the backends that jobs may ask for.
        default_backend: that of jobs that ask for none.
        max_waiting, waiting: jobs that may wait for their start, and how many do.
        max_jobs: jobs listed, running or ended.
        locks: by uuid; shared with whoever deletes jobs.
    """

    def __init__(
        self,
        home: Home,
        store: Store,
        offload: Offload,
        *,
        limits: PackageLimits,
        max_jobs: int,
        backends: Callable[[], tuple[str, ...]],
        default_backend: str,
        max_waiting: int,
        waiting: Callable[[], int],
        locks: NamedLocks,
    ) -> None:
        self._home = home
        self._store = store
        self._offload = offload
        self._limits = limits
        self._max_jobs = max_jobs
        self._backends = backends
        self._default_backend = default_backend
        self._max_waiting = max_waiting
        self._waiting = waiting
        self._locks = locks

    async def take(self, body: AsyncIterator[bytes], owner: str) -> Submission:
        """Store the package in ``body`` as a job of ``owner``, or find the job it was stored as before.

        Raises:
            InvalidPackageError, VersionMismatchError, UnknownBackendError: it can never run here.
            LimitExceededError: too large, too many jobs, or the disk is full.
            ConflictError: its uuid belongs to a job with other content.
        """
        folder = self._home.incoming / secrets.token_hex(16)
        try:
            await self._offload.receive(folder.mkdir, mode=0o700)
            sha256 = await self._receive(body, folder / "package.zip")
            failpoint("received")
            manifest = await self._offload.receive(self._examine, folder / "package.zip")
            async with self._locks.hold(manifest.job.uuid):
                return await self._settle(folder, manifest, sha256, owner)
        except OSError as error:
            raise _explained(error) from error
        finally:
            await self._offload.receive(shutil.rmtree, folder, ignore_errors=True)

    async def _receive(self, body: AsyncIterator[bytes], path: Path) -> str:
        digest = hashlib.sha256()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

        def put(block: bytes) -> None:
            digest.update(block)
            view = memoryview(block)
            while view:
                view = view[os.write(descriptor, view) :]

        def finish(block: bytes) -> None:
            put(block)
            os.fsync(descriptor)

        pending = bytearray()
        size = 0
        try:
            async for chunk in body:
                size += len(chunk)
                if size > self._limits.max_bytes:
                    raise LimitExceededError(
                        f"the package has more than the {self._limits.max_bytes} bytes that are allowed here",
                        hint="ship large data as files that the job reads, or raise limits.max_package",
                        limit=self._limits.max_bytes,
                    )
                pending += chunk
                if len(pending) >= _BLOCK:
                    block, pending = bytes(pending), bytearray()
                    await self._offload.receive(put, block)
            if not size:
                raise RequestError("the request has no body", hint="send a submission package")
            await self._offload.receive(finish, bytes(pending))
        finally:
            os.close(descriptor)
        return digest.hexdigest()

    def _examine(self, path: Path) -> Manifest:
        manifest = verify(path, self._limits)
        check_versions(manifest, peer="JobManager")
        backend = manifest.job.backend or self._default_backend
        installed = self._backends()
        if backend not in installed:
            raise UnknownBackendError(
                f"the JobManager has no backend {backend!r}; installed there are: {', '.join(installed)}",
                hint="install the distribution that brings it where the JobManager runs, or name one of those",
                installed=list(installed),
            )
        return manifest

    async def _settle(self, folder: Path, manifest: Manifest, sha256: str, owner: str) -> Submission:
        """Turn the received folder into a job; the lock of its uuid is held."""
        job = manifest.job
        existing = await self._store.by_uuid(job.uuid)
        if existing is not None:
            return _same(existing, sha256)
        if await self._store.count() >= self._max_jobs:
            raise LimitExceededError(
                f"this JobManager lists {self._max_jobs} jobs already, as many as it may",
                hint="remove ended ones with sage job cleanup, or raise limits.max_jobs",
                limit=self._max_jobs,
                status=429,
            )
        if self._waiting() >= self._max_waiting:
            raise LimitExceededError(
                f"{self._max_waiting} jobs wait for their start already",
                hint="try again when some have ended, or raise daemon.max_running_jobs",
                limit=self._max_waiting,
                status=429,
            )
        target = self._home.job(job.uuid)
        created_at = await self._offload.receive(_make_durable, folder, target, self._home.jobs)
        try:
            failpoint("stored")
            row, is_new = await self._store.submit(
                NewJob(
                    uuid=job.uuid,
                    name=job.name,
                    backend=job.backend or self._default_backend,
                    owner=owner,
                    options=job.options,
                    sha256=sha256,
                    created_at=created_at,
                )
            )
        except (SageError, OSError):
            # Not acknowledged, hence not to be found either.
            await self._offload.receive(shutil.rmtree, target, ignore_errors=True)
            raise
        failpoint("committed")
        return Submission(row, is_new)


def _make_durable(folder: Path, target: Path, jobs: Path) -> str:
    """Write the first event, flush everything, move the folder to its place; returns the time of the event."""
    for name in ("logs", "work"):
        (folder / name).mkdir(mode=0o700)
    with EventsFile(folder / "events.jsonl") as events:
        created_at: str = events.append("submitted")["time"]
    sync_folder(str(folder))
    if target.exists():
        # No row leads there: what an earlier, never acknowledged submission left.
        _log.warning("%s belongs to no job; it makes room for a new one of that uuid", target)
        shutil.rmtree(target)
    folder.rename(target)
    sync_folder(str(jobs))
    return created_at


def _same(row: Row, sha256: str) -> Submission:
    if row.sha256 != sha256:
        raise ConflictError(
            f"job {row.number} was submitted with the same uuid {row.uuid} and other content",
            hint="submit from a new environment: each has a uuid of its own",
            job=row.uuid,
        )
    return Submission(row, is_new=False)


def _explained(error: OSError) -> SageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LimitExceededError(
            "the disk of the JobManager is full", hint="free some room there, then submit again", status=507
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return LimitExceededError("the JobManager has too many files open", hint="try again in a moment", status=503)
    return LimitExceededError(
        f"the JobManager cannot store the package: {error.strerror}", hint="see its session log", status=507
    )


def sweep_unacknowledged(home: Home, known: set[str]) -> None:
    """At start: remove what was being received, and job folders that no client was ever told of.

    A folder without a row that has been started is not ours to judge (a copy of an older index, perhaps): it stays, and
    the log says so.
    """
    for entry in home.incoming.iterdir():
        shutil.rmtree(entry, ignore_errors=True)
    for entry in home.jobs.iterdir():
        if entry.name.startswith(".") or entry.name in known:
            continue
        if (entry / "job.json").exists():
            _log.warning("%s belongs to no job of the index and is left alone", entry)
        else:
            _log.info("removing %s: its submission was never acknowledged", entry)
            shutil.rmtree(entry, ignore_errors=True)


async def finish_deletions(home: Home, store: Store, offload: Offload) -> None:
    """At start: complete deletions that were interrupted after the folder had been moved to the trash."""
    for entry in await offload.read(lambda: list(home.trash.iterdir())):
        row = await store.by_uuid(entry.name[:36])
        if row is not None and not home.job(row.uuid).exists():
            await store.delete(row.number)
            _log.info("job %d: its deletion was interrupted and is complete now", row.number)
        await offload.read(shutil.rmtree, entry, ignore_errors=True)
