"""The application: resources and how their errors are told."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sage.core.errors import InternalError, NotFoundError, SageError
from sage.runtime.jobmanager import routes_daemon, routes_jobs, routes_streams
from sage.runtime.jobmanager.exhaustion import is_exhaustion, nothing_left
from sage.runtime.jobmanager.parts import API_PREFIX, Parts
from sage.runtime.jobmanager.problems import PROBLEM_MEDIA_TYPE, RequestError, problem

__all__ = ["make_app"]

_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "exit_code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what happened, for people"},
        "code": {"type": "string", "description": "what happened, for machines; stable"},
        "hint": {"type": ["string", "null"], "description": "what to do"},
        "exit_code": {"type": "integer", "description": "of the command that meets it"},
    },
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {"description": "A problem.", "content": {PROBLEM_MEDIA_TYPE: {"schema": _PROBLEM_SCHEMA}}}
}


def make_app(parts: Parts) -> FastAPI:
    """All resources; the guard and the server go around it."""
    app = FastAPI(
        title="SAGE JobManager",
        version=parts.info.sage,
        openapi_url=f"{API_PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=_RESPONSES,
    )
    app.include_router(routes_daemon.make_api_router(parts))
    # Streams first: they are more specific than what follows.
    app.include_router(routes_streams.make_router(parts))
    app.include_router(routes_jobs.make_router(parts))
    app.include_router(routes_daemon.make_open_router(parts))
    app.add_exception_handler(SageError, _sage_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    return app


async def _sage_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SageError)
    return _problem(error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    parts = []
    for item in error.errors():
        where = ".".join(str(step) for step in item["loc"] if step not in ("query", "path", "header"))
        parts.append(f"{where}: {item['msg']}")
    return _problem(RequestError("; ".join(parts), hint="see the reference of the REST interface", status=422))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, SageError):
        # FastAPI wraps whatever happens while it reads a body.
        return _problem(error.__cause__)
    if error.status_code == 404:
        hint = f"resources are below {API_PREFIX}; its openapi.json lists them"
        return _problem(NotFoundError(f"there is no resource {request.url.path[:200]}", hint=hint))
    cause = RequestError(f"{request.method} {request.url.path[:200]}: {error.detail}", status=error.status_code)
    response = _problem(cause)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


async def _unexpected(request: Request, error: Exception) -> Response:
    # Starlette raises the error again behind this answer; the guard logs it with its traceback.
    if is_exhaustion(error):
        return _problem(nothing_left())
    return _problem(InternalError("the JobManager failed at this request", hint="its session log has the traceback"))


def _problem(error: SageError) -> Response:
    status, headers, body = problem(error)
    return Response(body, status, headers)
