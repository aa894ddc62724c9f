"""Resources of the daemon itself: what it is, whether it is well, what it has counted."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from sage.core.models import ENDED_STATES, DaemonInfo
from sage.runtime.jobmanager.meters import METRICS_MEDIA_TYPE, JobCounts
from sage.runtime.jobmanager.parts import API_PREFIX, JsonResponse, Parts
from sage.runtime.jobmanager.problems import BusyError
from sage.runtime.jobmanager.store import Query

__all__ = ["make_api_router", "make_open_router"]

_SHOWN_ENDED = 100
_NOT_STARTED = ("submitted", "queued")


def make_api_router(parts: Parts) -> APIRouter:
    """What lies below ``/api/v1``."""
    router = APIRouter(prefix=API_PREFIX, tags=["daemon"])

    @router.get("/info", response_model=DaemonInfo)
    async def info() -> JsonResponse:
        """What this JobManager is."""
        return JsonResponse(parts.info.to_json())

    return router


def make_open_router(parts: Parts) -> APIRouter:
    """What lies at the root; the guard lets only the two health resources through without a token."""
    router = APIRouter(tags=["daemon"])

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz")
    async def healthz() -> JsonResponse:
        """The process answers."""
        return JsonResponse({"status": "ok"})

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz")
    async def readyz() -> JsonResponse:
        """The JobManager takes jobs: its index answers and it is not stopping."""
        if parts.hub.closed or not parts.supervisor.ready:
            raise BusyError("the JobManager is starting or stopping", hint="try again in a moment")
        await parts.store.ping()
        return JsonResponse({"status": "ready"})

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Figures in Prometheus' text format: jobs by state, submissions, requests, what each job's operators do."""
        rows = [row for row in await parts.store.unfinished() if row.state not in _NOT_STARTED]
        rows += await parts.store.page(Query(states=tuple(sorted(ENDED_STATES)), limit=_SHOWN_ENDED))
        jobs = [JobCounts(row.number, row.name, await parts.records.metrics(row), row.is_ended) for row in rows]
        page = parts.meters.render(await parts.store.count_by_state(), jobs)
        return Response(page, media_type=METRICS_MEDIA_TYPE)

    @router.get("/", response_class=PlainTextResponse, include_in_schema=False)
    async def root() -> PlainTextResponse:
        """A word for people who look with a browser."""
        return PlainTextResponse(f"SAGE JobManager {parts.info.sage}. Use it with the command sage: sage job list\n")

    return router
