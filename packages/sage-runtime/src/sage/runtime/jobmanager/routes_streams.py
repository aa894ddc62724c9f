"""Server-sent events: changes of state and log lines as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from sage.core.models import StateChange
from sage.runtime.jobmanager.events import Hub, HubClosedError, SlowReaderError, Subscription
from sage.runtime.jobmanager.joblog import follow
from sage.runtime.jobmanager.parts import API_PREFIX, Parts
from sage.runtime.jobmanager.problems import RequestError
from sage.runtime.jobmanager.records import job_json
from sage.runtime.jobmanager.routes_jobs import Ref, stream_name
from sage.runtime.jobmanager.store import Row

__all__ = ["make_router"]

_KEEP_ALIVE = 15.0
_SSE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "A stream of events."}
}

_LastEventId = Annotated[str | None, Header(description="go on after the event with this id", max_length=20)]


class _Events(StreamingResponse):
    """A stream of ``events``, made from a subscription to job ``number`` (None: to all jobs).

    The subscription comes before the first byte of the answer: whoever finds no room is told so by a problem, not by a
    stream that breaks.
    """

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, number: int | None, events: Callable[[Subscription], AsyncIterator[bytes]]) -> None:
        super().__init__((), headers={"cache-control": "no-store"})
        self._hub = hub
        self._number = number
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._hub.subscribe(self._number) as changes:
            self.body_iterator = _kept_alive(self._events(changes))
            await super().__call__(scope, receive, send)


def make_router(parts: Parts) -> APIRouter:
    """The routes that answer with a stream."""
    router = APIRouter(prefix=API_PREFIX, tags=["streams"])

    @router.get("/jobs/{ref}/events", response_class=_Events, status_code=200, responses=_SSE)
    async def job_events(ref: Ref, last_event_id: _LastEventId = None) -> _Events:
        """Every change of the job's state from its first on (`event: state`), then `event: end` with the job."""
        row = await parts.store.find(ref)
        after = _number(last_event_id) or 0
        return _Events(parts.hub, row.number, lambda changes: _job_events(parts, row, changes, after))

    @router.get("/jobs/{ref}/logs/follow", response_class=_Events, status_code=200, responses=_SSE)
    async def follow_logs(
        ref: Ref,
        stream: str = "job",
        offset: Annotated[int, Query(ge=-(1 << 60), le=1 << 60, description="in bytes; negative: from the end")] = 0,
        last_event_id: _LastEventId = None,
    ) -> _Events:
        """The job's log as it grows (`event: log`), then `event: end` with the job."""
        row = await parts.store.find(ref)
        resumed, name = _number(last_event_id), stream_name(stream)
        start = offset if resumed is None else resumed
        return _Events(parts.hub, row.number, lambda changes: _log_events(parts, row, changes, name, start))

    @router.get("/events", response_class=_Events, status_code=200, responses=_SSE)
    async def all_events() -> _Events:
        """The changes of all jobs from now on (`event: state`, `event: deleted`); does not end by itself."""
        return _Events(parts.hub, None, _all_events)

    return router


async def _job_events(parts: Parts, row: Row, changes: Subscription, after: int) -> AsyncIterator[bytes]:
    # Subscribed before the file is read: what happens in between is in both, and told once.
    for event in await parts.records.events(row, after):
        yield _state(event)
        after = event["seq"]
    newest = await parts.store.by_uuid(row.uuid)
    while newest is not None and not newest.is_ended:
        change = await changes.next()
        if change is None or change.deleted:
            return
        if change.event is not None and change.event["seq"] > after:
            yield _state(change.event)
            after = change.event["seq"]
        newest = change.row
    if newest is not None:
        yield await _end(parts, newest)


async def _log_events(parts: Parts, row: Row, changes: Subscription, stream: str, offset: int) -> AsyncIterator[bytes]:
    ended = asyncio.get_running_loop().create_task(_until_ended(parts, row, changes), name=f"until-{row.number}")
    try:
        pieces = follow(parts.offload, parts.watch, parts.home.job(row.uuid), stream, offset, ended)
        async with aclosing(pieces):
            async for part in pieces:
                data = {"offset": part.next_offset, "text": part.text, "truncated": part.truncated}
                yield _event("log", data, str(part.next_offset))
    finally:
        ended.cancel()
    newest = await parts.store.by_uuid(row.uuid)
    if newest is not None:
        yield await _end(parts, newest)


async def _all_events(changes: Subscription) -> AsyncIterator[bytes]:
    # Tells the reader at once that it is connected and misses nothing from here on.
    yield b": connected\n\n"
    while (change := await changes.next()) is not None:
        whose = {"job": change.row.uuid, "number": change.row.number}
        if change.deleted:
            yield _event("deleted", whose)
        elif change.event is not None:
            yield _event("state", {**whose, **StateChange.from_json(change.event).to_json()})


async def _until_ended(parts: Parts, row: Row, changes: Subscription) -> None:
    newest = await parts.store.by_uuid(row.uuid)
    while newest is not None and not newest.is_ended:
        change = await changes.next()
        if change is None or change.deleted:
            return
        newest = change.row


async def _end(parts: Parts, row: Row) -> bytes:
    return _event("end", job_json(await parts.records.info(row)))


async def _kept_alive(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The events, and a comment whenever none came for a while; ends quietly when the daemon stops or cuts a reader."""
    pending: asyncio.Future[bytes] | None = None
    try:
        while True:
            if pending is None:
                pending = asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({pending}, timeout=_KEEP_ALIVE)
            if not done:
                yield b": keep-alive\n\n"
                continue
            arrived, pending = pending, None
            try:
                piece = arrived.result()
            except (StopAsyncIteration, SlowReaderError, HubClosedError):
                return
            yield piece
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.wait({pending})


def _state(event: Any) -> bytes:
    return _event("state", StateChange.from_json(event).to_json(), str(event["seq"]))


def _event(name: str, data: Any, id: str | None = None) -> bytes:
    head = f"event: {name}\n" + (f"id: {id}\n" if id is not None else "")
    # JSON in ASCII holds no line end of any kind, so that no text of a job can forge an event.
    return f"{head}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode("ascii")


def _number(last_event_id: str | None) -> int | None:
    if last_event_id is None:
        return None
    if not (last_event_id.isascii() and last_event_id.isdecimal()):
        raise RequestError("the header Last-Event-ID holds no id of this stream", hint="leave it out")
    return int(last_event_id)
