"""One door for all requests: every method of every resource passes here before anything of it is read.

The checks run on the head alone, in this order: its size and framing, the host it is meant for (else a web page could
reach us by rebinding a name), where it comes from (no page of another origin), whether there is room, the token, and
what body it announces. Only then does the application see the request, its body bounded in size and time.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect

from sage.core.errors import InternalError, LimitExceededError, NotAllowedError, SageError
from sage.runtime.jobmanager.allowance import Allowance
from sage.runtime.jobmanager.exhaustion import few_lines, is_exhaustion, nothing_left
from sage.runtime.jobmanager.limits import Limits
from sage.runtime.jobmanager.problems import BusyError, RequestError, problem

__all__ = ["OWNER", "ExpectedBody", "Guard", "RefusalLog", "Tokens"]

_Scope = MutableMapping[str, Any]
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

OWNER = "sage.owner"
"""Key of the scope that holds the name of the token a request came with."""

_OPEN_PATHS = frozenset({"/healthz", "/readyz"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
_SAFE_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"sage-api", b"1"),
]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExpectedBody:
    """What a resource takes as a body: its media types and its size in bytes."""

    media_types: tuple[str, ...]
    max_bytes: int


class Tokens:
    """The tokens that open the door, kept as hashes, each with the name of its owner."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._hashes = [(name, _digest(token.encode())) for name, token in tokens.items()]

    def owner(self, token: bytes) -> str | None:
        """Whose token that is, None if nobody's. Takes the same time whatever is given."""
        given = _digest(token)
        found = None
        for name, expected in self._hashes:
            if hmac.compare_digest(given, expected):
                found = name
        return found


class RefusalLog:
    """Logs refused requests with who asked and why, never with what they brought; bounded in rate."""

    def __init__(
        self, *, burst: int = 20, per_second: float = 0.5, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._allowance = Allowance(per_second=per_second, burst=burst, clock=clock)
        self._left_out = 0

    def add(self, peer: str, method: str, reason: str) -> None:
        if not self._allowance.take():
            self._left_out += 1
            return
        more = f" (and {self._left_out} more requests were refused before)" if self._left_out else ""
        self._left_out = 0
        _log.warning("refused %s from %s: %s%s", method, peer, reason, more)


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: what it protects.
        tokens: who may pass.
        hosts: names under which this daemon may be addressed, besides those of the loopback interface.
        limits: sizes and times.
        body_of: the body that a (method, path) takes; None for JSON.
        connections: how many connections are open now.
        observe: told of each answered request: method, route or None, status.
    """

    def __init__(
        self,
        app: _App,
        *,
        tokens: Tokens,
        hosts: Iterable[str],
        limits: Limits,
        body_of: Callable[[str, str], ExpectedBody | None],
        connections: Callable[[], int],
        observe: Callable[[str, str | None, int], None],
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._hosts = _LOOPBACK_NAMES | {name.lower() for name in hosts}
        self._limits = limits
        self._body_of = body_of
        self._connections = connections
        self._observe = observe
        self._refusals = RefusalLog()
        self._lacks = few_lines()
        self._json = ExpectedBody(("application/json",), limits.json_bytes)

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            head = _Head(scope)
            expected = self._body_of(head.method, head.path) or self._json
            self._check(head, expected, scope)
            body = _BoundedBody(receive, expected.max_bytes, self._limits)
            await self._app(scope, body.receive, answer.send)
        except SageError as error:
            await answer.problem(error, head_only=scope["method"] == "HEAD")
        except Exception as error:
            if is_exhaustion(error):
                if self._lacks.take():
                    _log.warning("a request failed: %s %s: %s", scope["method"], _route(scope) or "(no route)", error)
                await answer.problem(nothing_left(), head_only=scope["method"] == "HEAD")
            elif not isinstance(error, ClientDisconnect):
                _log.exception("a request failed: %s %s", scope["method"], _route(scope) or "(no route)")
                # The traceback is in the session log; the answer tells nothing of the inside.
                await answer.problem(_internal(), head_only=scope["method"] == "HEAD")
        finally:
            if answer.status is not None:
                self._observe(scope["method"], _route(scope), answer.status)

    def _check(self, head: _Head, expected: ExpectedBody, scope: _Scope) -> None:
        try:
            self._check_head(head)
            self._check_host(head)
            self._check_origin(head)
            self._check_room()
            if not (head.path in _OPEN_PATHS and head.method in ("GET", "HEAD")):
                scope[OWNER] = self._check_token(head)
            self._check_body(head, expected)
        except SageError as error:
            if isinstance(error, NotAllowedError):
                self._refusals.add(head.peer, head.method, error.message)
            raise

    def _check_head(self, head: _Head) -> None:
        limits = self._limits
        if head.version not in ("1.0", "1.1"):
            raise RequestError("this server speaks HTTP/1.1", status=505)
        if len(head.headers) > limits.header_lines or head.size > limits.header_bytes:
            raise LimitExceededError(
                f"the request's head has {len(head.headers)} lines and {head.size} bytes;"
                f" {limits.header_lines} lines and {limits.header_bytes} bytes are allowed",
                status=431,
            )
        if head.all(b"transfer-encoding") and head.all(b"content-length"):
            raise RequestError("a request has either a Content-Length or a Transfer-Encoding, not both")

    def _check_host(self, head: _Head) -> None:
        given = head.all(b"host")
        name = _host_name(given[0]) if len(given) == 1 else None
        if name not in self._hosts:
            raise NotAllowedError(
                "the Host of this request is none of this JobManager's names",
                hint="use localhost, or add the name to daemon.allowed_hosts of the configuration",
                status=421,
            )

    def _check_origin(self, head: _Head) -> None:
        site = head.all(b"sec-fetch-site")
        if any(value not in (b"same-origin", b"none") for value in site):
            raise NotAllowedError("requests from pages of another site are refused", status=403)
        own = f"{head.scheme}://".encode() + head.all(b"host")[0].lower()
        if any(value.lower() != own for value in head.all(b"origin")):
            raise NotAllowedError("requests from pages of another origin are refused", status=403)

    def _check_room(self) -> None:
        if self._connections() > self._limits.connections:
            raise BusyError(
                f"{self._limits.connections} connections are open already", hint="try again in a moment", status=503
            )

    def _check_token(self, head: _Head) -> str:
        given = head.all(b"authorization")
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        # The hash is made and compared in any case: a missing and a wrong token cost and answer the same.
        owner = self._tokens.owner(token.strip())
        if owner is None or scheme.lower() != b"bearer":
            raise NotAllowedError(
                "the token is missing or wrong",
                hint="send 'Authorization: Bearer …' with the token from the JobManager's SAGE_HOME"
                " (sage config fetch brings it to this host)",
            )
        return owner

    def _check_body(self, head: _Head, expected: ExpectedBody) -> None:
        length = head.content_length
        if length is not None and length > expected.max_bytes:
            raise LimitExceededError(
                f"the body has {length} bytes; {expected.max_bytes} are allowed here",
                hint="ship large data as files that the job reads, not inside the package",
                limit=expected.max_bytes,
            )
        has_body = bool(length) or bool(head.all(b"transfer-encoding"))
        if has_body and head.method in _BODY_METHODS:
            media_type = b"".join(head.all(b"content-type")).partition(b";")[0].strip().lower().decode("latin-1")
            if media_type not in expected.media_types:
                raise RequestError(
                    f"a body of type {media_type or '(none given)'} is not taken here;"
                    f" send {' or '.join(expected.media_types)}",
                    status=415,
                )


class _Head:
    """The head of a request as the checks read it."""

    def __init__(self, scope: _Scope) -> None:
        self.method: str = scope["method"]
        self.version: str = scope["http_version"]
        self.path: str = scope["path"]
        self.scheme: str = scope["scheme"]
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        client = scope.get("client")
        self.peer = client[0] if client else "an unknown peer"
        # ": " and the line end for each, and the request line with its two spaces and its protocol.
        self.size = sum(len(name) + len(value) + 4 for name, value in self.headers)
        self.size += len(self.method) + len(scope.get("raw_path", b"")) + len(scope["query_string"]) + 12

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    @property
    def content_length(self) -> int | None:
        given = self.all(b"content-length")
        return int(given[0]) if given else None


class _BoundedBody:
    """Hands a body on while it keeps within its size and its time."""

    def __init__(self, receive: _Receive, max_bytes: int, limits: Limits) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._limits = limits
        self._received = 0
        self._deadline: float | None = None
        self._complete = False

    async def receive(self) -> _Message:
        if self._complete:
            return await self._receive()
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + self._limits.body_timeout
        try:
            async with asyncio.timeout_at(self._deadline + self._received / self._limits.body_rate):
                message = await self._receive()
        except TimeoutError:
            raise RequestError(
                f"the body did not arrive in time ({self._received} bytes came)",
                hint="try again; where the network is slow, ship less in the package",
                status=408,
            ) from None
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._received > self._max_bytes:
                raise LimitExceededError(
                    f"the body has more than the {self._max_bytes} bytes that are allowed here",
                    hint="ship large data as files that the job reads, not inside the package",
                    limit=self._max_bytes,
                )
        return message


class _Answer:
    """What is sent back, with the headers that every answer has."""

    def __init__(self, send: _Send) -> None:
        self._send = send
        self._complete = False
        self.status: int | None = None

    async def send(self, message: _Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *_SAFE_HEADERS]
        else:
            self._complete = not message.get("more_body", False)
        await self._send(message)

    async def problem(self, error: SageError, *, head_only: bool) -> None:
        if self._complete:
            return
        if self.status is not None:
            # Too late for another answer: let the server break the connection, so that nobody takes it for whole.
            raise _BrokenAnswerError from error
        status, headers, body = problem(error)
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        raw.append((b"content-length", str(len(body)).encode()))
        await self.send({"type": "http.response.start", "status": status, "headers": raw})
        await self.send({"type": "http.response.body", "body": b"" if head_only else body})


class _BrokenAnswerError(Exception):
    """An answer failed after its beginning was sent."""


def _internal() -> SageError:
    return InternalError("the JobManager failed at this request", hint="its session log has the traceback")


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _host_name(value: bytes) -> str | None:
    """The name in a Host header without its port; None if it is malformed."""
    try:
        text = value.decode("ascii").strip().lower()
    except UnicodeDecodeError:
        return None
    if text.startswith("["):
        name, closed, rest = text[1:].partition("]")
        valid = bool(closed) and (not rest or (rest[0] == ":" and rest[1:].isdigit()))
        return name if valid else None
    name, colon, port = text.partition(":")
    return name.removesuffix(".") if not colon or port.isdigit() else None


def _route(scope: _Scope) -> str | None:
    return getattr(scope.get("route"), "path", None)
