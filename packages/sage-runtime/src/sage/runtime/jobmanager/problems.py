"""Errors as HTTP answers: ``application/problem+json`` with ``code``, ``hint`` and ``exit_code``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from sage.core import errors
from sage.core.errors import SageError

__all__ = ["PROBLEM_MEDIA_TYPE", "BusyError", "RequestError", "problem", "problem_body"]

PROBLEM_MEDIA_TYPE = "application/problem+json"


class RequestError(SageError):
    """The request itself is wrong: a parameter, a body, a method or a media type."""

    code = "invalid_request"
    exit_code = 2


class BusyError(errors.LimitExceededError):
    """Too much is asked at this moment; the same request may pass a little later."""


_STATUS: dict[type[SageError], int] = {
    RequestError: 400,
    BusyError: 503,
    errors.NotAllowedError: 401,
    errors.NotFoundError: 404,
    errors.AmbiguousRefError: 409,
    errors.WrongStateError: 409,
    errors.ConflictError: 409,
    errors.VersionMismatchError: 422,
    errors.InvalidPackageError: 422,
    errors.UnknownBackendError: 422,
    errors.LimitExceededError: 413,
}
_PRIVATE = frozenset({"message", "hint", "status", "__notes__"})
_RETRY_AFTER = {429: "5", 503: "1"}


def _status_of(error: SageError) -> int:
    """The HTTP status of an error: its own ``status`` attribute, else that of its nearest class."""
    own = getattr(error, "status", None)
    if isinstance(own, int):
        return own
    return next((_STATUS[cls] for cls in type(error).__mro__ if cls in _STATUS), 500)


def problem(error: SageError) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body that tell ``error``."""
    status = _status_of(error)
    facts = {name: value for name, value in vars(error).items() if name not in _PRIVATE}
    headers = {"content-type": PROBLEM_MEDIA_TYPE, "cache-control": "no-store"}
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="sage"'
    if status in _RETRY_AFTER:
        headers["retry-after"] = _RETRY_AFTER[status]
    return status, headers, problem_body(status, error.code, error.message, error.hint, error.exit_code, facts)


def problem_body(
    status: int, code: str, detail: str, hint: str | None, exit_code: int, facts: Mapping[str, Any] | None = None
) -> bytes:
    """The JSON document of a problem; ``facts`` are further members that keep what the error talks about."""
    members = {
        **(facts or {}),
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "hint": hint,
        "exit_code": exit_code,
    }
    return json.dumps(members, default=str).encode()
