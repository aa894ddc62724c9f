"""Answers of a JobManager as models, its problems as errors, its event streams as events."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sage.core import errors
from sage.core.errors import DaemonUnreachableError, JobManagerError, SageError

if TYPE_CHECKING:
    from sage.core.client._http import Answer

__all__ = ["ServerEvent", "events_of", "problem_of", "read_answer"]

T = TypeVar("T")

_PROBLEM = "application/problem+json"
_MAX_EVENT = 8 << 20
_MAX_TEXT = 8192


@dataclass(frozen=True)
class ServerEvent:
    """One server-sent event."""

    name: str
    data: str


def read_answer(answer: Answer, make: Callable[[Any], T], stranger: Callable[[str], DaemonUnreachableError]) -> T:
    """The model in an answer.

    Args:
        make: from the JSON document to the model.
        stranger: makes the error for an answer that no JobManager would give, from words that describe it.

    Raises:
        SageError: the answer is a problem, told by the class that its ``code`` belongs to.
        DaemonUnreachableError: the answer is none of a JobManager.
    """
    described = f"{answer.status} {answer.media_type or 'without a media type'}"
    if not 200 <= answer.status < 300:
        raise problem_of(answer) or stranger(described)
    if answer.status != 204 and answer.media_type != "application/json":
        raise stranger(described)
    try:
        return make(None if answer.status == 204 else json.loads(answer.body))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise stranger(f"{described}, of another form") from error


def problem_of(answer: Answer) -> SageError | None:
    """The error that an answer tells; None if it is no problem of a JobManager."""
    if answer.media_type != _PROBLEM:
        return None
    try:
        problem = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(problem, Mapping) or not isinstance(problem.get("code"), str):
        return None
    code = problem["code"]
    message = _text(problem.get("detail")) or _text(problem.get("title")) or f"the JobManager answered {answer.status}"
    hint = _text(problem.get("hint")) or None
    cls = _classes().get(code)
    if cls is None:
        exit_code = problem.get("exit_code")
        if isinstance(exit_code, bool) or not isinstance(exit_code, int) or not 0 < exit_code < 256:
            exit_code = JobManagerError.exit_code
        return JobManagerError(message, hint=hint, code=_text(code), exit_code=exit_code, status=answer.status)
    return cls(message, hint=hint, status=answer.status, **_facts(cls, problem))


@functools.cache
def _classes() -> dict[str, type[SageError]]:
    """Error classes by code, from the tree itself: all that are told by a message and a hint alone."""
    found: dict[str, type[SageError]] = {}
    for name in errors.__all__:
        cls = getattr(errors, name)
        if isinstance(cls, type) and issubclass(cls, SageError) and cls.__init__ is SageError.__init__:
            found[cls.code] = cls
    return found


def _facts(cls: type[SageError], problem: Mapping[str, Any]) -> dict[str, Any]:
    """What the problem says of the attributes that the class declares; other members stay outside."""
    declared = {name for base in cls.__mro__ for name in vars(base).get("__annotations__", ())}
    return {name: problem[name] for name in declared - {"code", "exit_code", "message", "hint"} if name in problem}


def _text(value: Any) -> str:
    """A text of the other side, bounded, without what could steer a terminal."""
    if not isinstance(value, str):
        return ""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in value[:_MAX_TEXT]).strip()


def events_of(lines: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Events from the lines of a ``text/event-stream``; an event that is not complete is left out.

    Raises:
        JobManagerError: an event is too large to be held.
    """
    name, size = "message", 0
    data: list[str] = []
    for raw in lines:
        line = raw.decode("utf-8", "replace")
        if not line:
            if data:
                yield ServerEvent(name, "\n".join(data))
            name, data, size = "message", [], 0
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            name = value
        elif key == "data":
            data.append(value)
            size += len(value)
            if size > _MAX_EVENT:
                raise JobManagerError(f"the JobManager sent an event of more than {_MAX_EVENT} characters")
