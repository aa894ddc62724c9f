"""Resources of jobs: submit, list, show, stop, delete, and what a job's folder tells."""

from __future__ import annotations

import asyncio
from typing import Annotated, NoReturn

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from sage.core.client.package import MEDIA_TYPE
from sage.core.errors import SageError, WrongStateError
from sage.core.models import (
    ENDED_STATES,
    JOB_STATES,
    FailureInfo,
    JobInfo,
    JobMetrics,
    LogChunk,
    Page,
    StateChange,
)
from sage.runtime.jobmanager import store
from sage.runtime.jobmanager.events import HubClosedError, SlowReaderError
from sage.runtime.jobmanager.guard import OWNER
from sage.runtime.jobmanager.joblog import STREAMS, read_part
from sage.runtime.jobmanager.parts import API_PREFIX, JsonResponse, Parts
from sage.runtime.jobmanager.problems import RequestError
from sage.runtime.jobmanager.records import job_json
from sage.runtime.jobmanager.removal import Cleanup
from sage.runtime.jobmanager.store import Row

__all__ = ["CleanupAnswer", "CleanupRequest", "Failures", "History", "Ref", "make_router", "stream_name"]

_MAX_PAGE = 500
_MAX_LOG = 1024 * 1024

Ref = Annotated[str, Path(description="number, uuid, or unique beginning of a uuid (at least 4 characters)")]


class CleanupRequest(BaseModel):
    """What to clean up; see the reference of the REST interface."""

    model_config = ConfigDict(extra="forbid", strict=True)

    states: list[str] | None = Field(None, max_length=len(JOB_STATES))
    older_than: float | None = Field(None, ge=0, allow_inf_nan=False)
    jobs: list[str] | None = Field(None, max_length=1000)


class CleanupAnswer(BaseModel):
    """The jobs that were removed, as they were last."""

    items: list[JobInfo]


class History(BaseModel):
    """All moves of a job."""

    items: list[StateChange]


class Failures(BaseModel):
    """All failures of a job, each with ``time`` and ``attempt`` besides the fields of a failure."""

    items: list[FailureInfo]


def make_router(parts: Parts) -> APIRouter:
    """The routes below ``/jobs``, and ``/cleanup``."""
    router = APIRouter(prefix=API_PREFIX, tags=["jobs"])

    async def answer(row: Row, status: int = 200, headers: dict[str, str] | None = None) -> JsonResponse:
        return JsonResponse(job_json(await parts.records.info(row)), status, headers)

    @router.post(
        "/jobs",
        status_code=201,
        response_model=JobInfo,
        responses={200: {"description": "The same package was submitted before; its job."}},
        openapi_extra={"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
    )
    async def submit(request: Request) -> JsonResponse:
        """Submit a package. Safe to repeat: the same content leads to the same job."""
        try:
            taken = await parts.submissions.take(request.stream(), request.scope[OWNER])
        except SageError:
            parts.meters.submission("refused")
            raise
        if taken.is_new:
            parts.supervisor.submit(taken.row)
        parts.meters.submission("new" if taken.is_new else "same")
        location = {"location": f"{API_PREFIX}/jobs/{taken.row.uuid}"}
        return await answer(taken.row, 201 if taken.is_new else 200, location)

    @router.get("/jobs", response_model=Page)
    async def list_jobs(
        state: Annotated[
            str | None, Query(description="states, separated by commas; `ended` stands for all of those")
        ] = None,
        name: Annotated[str | None, Query(max_length=200)] = None,
        owner: Annotated[str | None, Query(max_length=200)] = None,
        cursor: Annotated[str | None, Query(description="`next_cursor` of the page before", max_length=40)] = None,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 100,
    ) -> JsonResponse:
        """List jobs, newest first, a page at a time."""
        wanted = store.Query(tuple(sorted(_states(state))), name, owner, _cursor(cursor), limit + 1)
        rows = await parts.store.page(wanted)
        items = await asyncio.gather(*(parts.records.info(row) for row in rows[:limit]))
        following = str(rows[limit - 1].number) if len(rows) > limit else None
        return JsonResponse({"items": [job_json(item) for item in items], "next_cursor": following})

    @router.get("/jobs/{ref}", response_model=JobInfo)
    async def show(
        ref: Ref,
        wait: Annotated[float | None, Query(ge=0, description="wait up to so many seconds (60 at most)")] = None,
        state: Annotated[str, Query(description="for one of these states, separated by commas")] = "ended",
    ) -> JsonResponse:
        """Show a job; with `wait`, answer once it is in one of the states, has ended, or the time is over."""
        row = await parts.store.find(ref)
        states = _states(state)
        if wait:
            row = await _wait(parts, row, states, min(wait, parts.limits.long_poll))
        return await answer(row)

    @router.delete("/jobs/{ref}", response_model=JobInfo)
    async def delete(request: Request, ref: Ref, force: bool = False) -> JsonResponse:
        """Delete a job that has ended; with `force` cancel it first. Answers with the job as it was last."""
        row = await parts.removal.delete(await parts.store.find(ref), by=request.scope[OWNER], force=force)
        return await answer(row)

    @router.post("/jobs/{ref}/stop", status_code=202, response_model=JobInfo)
    async def stop(request: Request, ref: Ref) -> JsonResponse:
        """Stop a job. There are no savepoints in this version, so it is cancelled."""
        row = await parts.store.find(ref)
        return await answer(await parts.supervisor.cancel(row, f"stopped by {request.scope[OWNER]}"), 202)

    @router.post("/jobs/{ref}/cancel", status_code=202, response_model=JobInfo)
    async def cancel(request: Request, ref: Ref) -> JsonResponse:
        """Cancel a job. It is asked to end, then terminated, then killed."""
        row = await parts.store.find(ref)
        return await answer(await parts.supervisor.cancel(row, f"cancelled by {request.scope[OWNER]}"), 202)

    @router.post("/jobs/{ref}/continue", status_code=202, response_model=JobInfo)
    async def continue_(ref: Ref) -> NoReturn:
        """Continue a stopped or failed job from its savepoint; this version writes none, hence always 409."""
        row = await parts.store.find(ref)
        raise WrongStateError(
            f"job {row.number} cannot be continued: that needs a savepoint, and this version of SAGE writes none",
            hint="submit the program again; it begins anew",
            job=row.uuid,
            state=row.state,
        )

    @router.get("/jobs/{ref}/graph")
    async def graph(ref: Ref) -> JsonResponse:
        """The job's public graph: operators and edges, no code."""
        return JsonResponse(await parts.records.graph(await parts.store.find(ref)))

    @router.get("/jobs/{ref}/metrics", response_model=JobMetrics)
    async def metrics(ref: Ref) -> JsonResponse:
        """What the job's operators have counted."""
        row = await parts.store.find(ref)
        return JsonResponse((await parts.records.metrics(row)).to_json())

    @router.get("/jobs/{ref}/history", response_model=History)
    async def history(ref: Ref) -> JsonResponse:
        """All changes of the job's state, oldest first."""
        events = await parts.records.events(await parts.store.find(ref))
        return JsonResponse({"items": [StateChange.from_json(event).to_json() for event in events]})

    @router.get("/jobs/{ref}/failures", response_model=Failures)
    async def failures(ref: Ref) -> JsonResponse:
        """All failures of the job, oldest first."""
        return JsonResponse({"items": await parts.records.failures(await parts.store.find(ref))})

    @router.get("/jobs/{ref}/logs", response_model=LogChunk)
    async def logs(
        ref: Ref,
        stream: Annotated[str, Query(description=" or ".join(f"`{name}`" for name in STREAMS))] = "job",
        offset: Annotated[int, Query(ge=-(1 << 60), le=1 << 60, description="in bytes; negative: from the end")] = 0,
        limit: Annotated[int, Query(ge=16, le=_MAX_LOG, description="in bytes")] = 65536,
    ) -> JsonResponse:
        """A piece of the job's log. Offsets count from the job's first byte, whatever was rotated away since."""
        row = await parts.store.find(ref)
        # Whether the job has ended is known before the log is read: nothing is written to it afterwards.
        part = await read_part(parts.offload, parts.home.job(row.uuid), stream_name(stream), offset, limit)
        return JsonResponse(
            {
                "text": part.text,
                "offset": part.offset,
                "next_offset": part.next_offset,
                "end": row.is_ended and part.at_end,
                "truncated": part.truncated,
            }
        )

    @router.post("/cleanup", response_model=CleanupAnswer)
    async def cleanup(request: Request, wanted: CleanupRequest) -> JsonResponse:
        """Remove jobs that have ended: completed, failed and cancelled ones, or those that are named."""
        chosen = Cleanup(wanted.states, wanted.older_than, wanted.jobs)
        rows = await parts.removal.cleanup(chosen, by=request.scope[OWNER])
        items = [job_json(await parts.records.info(row)) for row in rows]
        return JsonResponse({"items": items})

    return router


async def _wait(parts: Parts, row: Row, states: frozenset[str], seconds: float) -> Row:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    with parts.hub.subscribe(row.number) as changes:
        newest: Row | None = await parts.store.by_uuid(row.uuid)
        while newest is not None and not newest.is_ended and newest.state not in states:
            try:
                change = await changes.next(deadline - loop.time())
            except (SlowReaderError, HubClosedError):
                break
            if change is None or change.deleted:
                break
            newest = change.row
    return newest or await parts.store.find(row.uuid)


def _states(text: str | None) -> frozenset[str]:
    if text is None:
        return frozenset()
    found: set[str] = set()
    for item in filter(None, text.split(",")):
        if item == "ended":
            found |= ENDED_STATES
        elif item in JOB_STATES:
            found.add(item)
        else:
            raise RequestError(f"there is no state {item[:40]!r}", hint=f"states: ended, {', '.join(JOB_STATES)}")
    return frozenset(found)


def _cursor(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise RequestError("the cursor is none that a page gave", hint="begin with the first page again")
    return int(text)


def stream_name(name: str) -> str:
    """``name`` if a job has such a log, else a `RequestError`."""
    if name not in STREAMS:
        raise RequestError(f"a job has no log {name[:40]!r}", hint=f"streams: {', '.join(STREAMS)}")
    return name
