"""The HTTP server: uvicorn, with the time-outs and bounds that it does not have itself.

uvicorn waits for ever for headers, and for a client that stopped reading. The protocol below bounds both, answers
malformed requests with a problem document, and, when an answer is sent before a body was read, reads the rest away for
a moment: closing at once would reset the connection and destroy the answer on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sage.runtime.jobmanager.guard import OWNER
from sage.runtime.jobmanager.limits import Limits
from sage.runtime.jobmanager.problems import PROBLEM_MEDIA_TYPE, RequestError, problem_body

__all__ = ["HttpServer"]

_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
_BACKLOG = 1024


class HttpServer(uvicorn.Server):
    """Serves ``app`` on sockets that are bound already.

    Args:
        app: the ASGI application.
        limits: sizes and times.
        tls: serve HTTPS with this context.
    """

    def __init__(self, app: Any, limits: Limits, tls: ssl.SSLContext | None = None) -> None:
        protocol = type("BoundedProtocol", (_BoundedProtocol,), {"limits": limits})
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            interface="asgi3",
            backlog=_BACKLOG,
            timeout_keep_alive=max(1, int(limits.idle_timeout)),
            timeout_graceful_shutdown=max(1, int(limits.shutdown)),
            h11_max_incomplete_event_size=limits.header_bytes,
        )
        config.load()
        config.ssl = tls
        super().__init__(config)
        self.accepting = asyncio.Event()
        self._stop_asked = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept; sets ``accepting``."""
        await super().startup(sockets)
        self.accepting.set()

    async def main_loop(self) -> None:
        """Renew the Date header each second until `stop` (uvicorn's own looks ten times a second)."""
        while not self._stop_asked.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stop_asked.wait()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self.server_state.connections)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon's life cycle (uvicorn would raise them again after the end)."""
        yield

    def stop(self) -> None:
        """Stop accepting, finish open requests within the limit, end `serve`."""
        self.should_exit = True
        self._stop_asked.set()


class _BoundedProtocol(H11Protocol):
    """One connection."""

    limits: Limits

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._drain_timer: asyncio.TimerHandle | None = None
        self._seen_request = False
        self._begun = self.loop.time()
        self._is_known = False  # one of its requests came with a token

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _tune(transport.get_extra_info("socket"), self.limits)
        lingering = _LingeringTransport(cast(asyncio.Transport, transport), self)
        super().connection_made(cast(asyncio.Transport, lingering))
        if len(self.connections) > 2 * self.limits.connections:
            transport.abort()  # type: ignore[attr-defined]
            return
        self._make_room()
        self._await_head()

    def _make_room(self) -> None:
        """Above the limit, close the connection that has gone longest without a token, so that it keeps nobody out."""
        if len(self.connections) <= self.limits.connections:
            return
        strangers = [item for item in cast(set[_BoundedProtocol], self.connections) if item.is_idle_stranger]
        strangers.remove(self)
        if strangers:
            min(strangers, key=lambda item: item._begun).transport.abort()

    @property
    def is_idle_stranger(self) -> bool:
        """True if it has shown no token so far, and no request of it is being answered."""
        idle = self.cycle is None or self.cycle.response_complete
        return idle and not self._is_known and not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._head_timer, self._write_timer, self._drain_timer, self._lingering.timer):
            if timer is not None:
                timer.cancel()

    @property
    def _lingering(self) -> _LingeringTransport:
        return cast(_LingeringTransport, self.transport)

    @property
    def owes_body(self) -> bool:
        """True while the client is still sending what nobody will read."""
        return self.conn.their_state in (h11.SEND_BODY, h11.ERROR)

    def data_received(self, data: bytes) -> None:
        if self._lingering.closing:
            return
        super().data_received(data)
        self._end_drain()
        self._await_head()

    def _await_head(self) -> None:
        """Run a timer while a request's head is expected and not complete."""
        if self.conn.their_state is not h11.IDLE:
            self._seen_request = True
        waiting = self.conn.their_state is h11.IDLE and (not self._seen_request or bool(self.conn.trailing_data[0]))
        if waiting and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.header_timeout, self._head_is_late)
        elif not waiting and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:
            self._refuse(408, f"the request's head was not complete within {self.limits.header_timeout:g} s")
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        self._is_known = self._is_known or OWNER in self.scope
        super().on_response_complete()
        if self.owes_body and self._drain_timer is None and not self.transport.is_closing():
            # Answered before the body was there: its rest is dropped for a moment, then the connection goes.
            self._drain_timer = self.loop.call_later(self.limits.linger, self._lingering.abort)

    def _end_drain(self) -> None:
        if self._drain_timer is None or self.owes_body:
            return
        self._drain_timer.cancel()
        self._drain_timer = None
        if self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None:
            # uvicorn took its own timer away when the rest of the body came in.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, f"this is no valid HTTP/1.1 request, or its head exceeds {self.limits.header_bytes} bytes")

    def _refuse(self, status: int, detail: str) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._lingering.abort()
            return
        body = problem_body(status, RequestError.code, detail, None, RequestError.exit_code)
        headers = [
            ("content-type", PROBLEM_MEDIA_TYPE),
            ("content-length", str(len(body))),
            ("connection", "close"),
            ("sage-api", "1"),
        ]
        for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.limits.write_timeout, self._cut)

    def _cut(self) -> None:
        """End the connection and drop what the kernel still holds for a reader that does not read."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._lingering.abort()

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()


class _LingeringTransport:
    """A transport whose ``close`` first reads away what the client is still sending, for a bounded time."""

    def __init__(self, transport: asyncio.Transport, protocol: _BoundedProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self.closing = False
        self.timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self.closing or self._transport.is_closing()

    def close(self) -> None:
        if self.closing or self._transport.is_closing():
            return
        if not self._protocol.owes_body:
            self._transport.close()
            return
        self.closing = True
        self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.timer = self._protocol.loop.call_later(self._protocol.limits.linger, self._transport.abort)

    def abort(self) -> None:
        self.closing = True
        self._transport.abort()


def _tune(connection: socket.socket | None, limits: Limits) -> None:
    """Have the kernel find peers that are gone without a word, and those that never take what is sent to them."""
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
    user_timeout = getattr(socket, "TCP_USER_TIMEOUT", None)
    if user_timeout is not None:
        connection.setsockopt(socket.IPPROTO_TCP, user_timeout, int(limits.write_timeout * 1000))
