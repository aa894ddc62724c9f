"""HTTP to one JobManager over the standard library: kept connections, time limits, bounded answers, named failures.

Errors of sockets and of `http.client` end here; what leaves this module is a `DaemonUnreachableError` whose ``reason``
tells them apart, or an answer of the other side. Redirects are not followed: the token goes to the given address only.
"""

from __future__ import annotations

import functools
import io
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from typing import IO, TYPE_CHECKING, Any

from sage.core.errors import DaemonUnreachableError, JobManagerError, SageError

if TYPE_CHECKING:
    import ssl

__all__ = ["Answer", "Body", "Request", "Stream", "Transport"]

_BLOCK = 1 << 16
_MAX_ANSWER = 32 << 20
_MAX_LINE = 4 << 20
_MAX_IDLE = 4  # kept connections; more threads at once than that open further ones and close them again


@dataclass(frozen=True)
class Body:
    """What a request carries: `size` bytes from the beginning of `file`."""

    file: IO[bytes]
    size: int
    media_type: str


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        target: path and query, escaped.
        repeatable: doing it twice is the same as once, so it may be sent again when a kept connection has gone stale.
        within: seconds from the end of the request until the whole answer must be there; None: the usual time-out.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    repeatable: bool = False
    within: float | None = None


@dataclass(frozen=True)
class Answer:
    """What came back; `media_type` is in lower case and without parameters."""

    status: int
    media_type: str
    body: bytes


class _Patience:
    """How long to wait for the next bytes.

    Args:
        idle: seconds without a byte.
        total: seconds in all, None for no such limit.
    """

    def __init__(self, idle: float, total: float | None) -> None:
        self._idle = idle
        self._end = None if total is None else time.monotonic() + total

    def next(self) -> float:
        if self._end is None:
            return self._idle
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return min(self._idle, left)


class _TimedReader(io.RawIOBase):
    """A socket's bytes, each wait bounded anew: a peer that trickles does not stretch an answer for ever."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, patience: _Patience) -> None:
        self._raw = raw
        self._sock = sock
        self._patience = patience

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._patience.next())
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, patience: _Patience, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_TimedReader(raw, sock, patience))


class _Connection:
    """One connection.

    Attributes:
        owner: the thread whose request it carries, or carried last; None for a stream, which any thread may read.
        reused: it has carried a request before, so the other side may have closed it meanwhile.
        reusable: all was sent and all was read, so it may carry another request.
    """

    def __init__(self, http: HTTPConnection, sock: socket.socket, *, tls: bool) -> None:
        self._http = http
        self._sock = sock
        self._tls = tls
        self._response: HTTPResponse | None = None
        self.owner: int | None = threading.get_ident()
        self.reused = False
        self.reusable = False

    def send(self, request: Request, headers: Mapping[str, str], timeout: float) -> bool:
        """Send a request. Returns whether all of it was sent: an answer that comes early ends the sending."""
        self._sock.settimeout(timeout)
        self._http.putrequest(request.method, request.target)
        for name, value in headers.items():
            self._http.putheader(name, value)
        self._http.endheaders()
        return request.body is None or self._send_body(request.body)

    def _send_body(self, body: Body) -> bool:
        body.file.seek(0)
        left = body.size
        while left:
            if self.is_readable():
                return False
            block = body.file.read(min(_BLOCK, left))
            if not block:
                raise JobManagerError(f"the file to send became shorter while it was sent ({left} bytes are missing)")
            try:
                self._http.send(block)
            except (BrokenPipeError, ConnectionResetError):
                # The other side has closed; what it said before may still be there to read.
                return False
            left -= len(block)
        return True

    def receive(self, patience: _Patience) -> HTTPResponse:
        self._http.response_class = functools.partial(_Response, patience=patience)  # type: ignore[assignment]
        self._response = self._http.getresponse()
        return self._response

    def is_readable(self) -> bool:
        """Whether there is something to read where nothing is due: an early answer, or the end."""
        if self._tls:
            return False  # what is there may be TLS's own, a session ticket for one
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def shut(self) -> None:
        """End the connection under whoever reads from it."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It is not connected any more, which is what was wanted.
            return

    def close(self) -> None:
        if self._response is not None:
            self._response.close()  # it holds the socket open, too
        self._http.close()
        self._sock.close()


class Stream:
    """The lines of an answer that does not end by itself."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        """Lines without their ends, until the other side closes.

        Raises:
            DaemonUnreachableError: nothing came for too long, or a line is too long to be one.
        """
        while line := self._response.readline(_MAX_LINE):
            if not line.endswith(b"\n") and len(line) >= _MAX_LINE:
                raise HTTPException("a line of the stream is too long")
            yield line.rstrip(b"\r\n")


class Transport:
    """Requests to one address. Any number of threads may use it at once.

    Args:
        timeout: seconds to connect, and without a byte of an answer.
        tls: speak TLS with this context.
        refused_hint: what to do when nobody listens at that address.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        token: str | None,
        timeout: float,
        tls: ssl.SSLContext | None,
        refused_hint: Callable[[], str],
    ) -> None:
        self._refused_hint = refused_hint
        self.host = host
        self.port = port
        self.timeout = timeout
        self._tls = tls
        self._headers = {"User-Agent": "sage", "Accept": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._lock = threading.Lock()
        # Ctrl-C may come between any two steps: a connection is in one of these until it is closed.
        self._idle: list[_Connection] = []
        self._active: set[_Connection] = set()
        self._owner = os.getpid()
        self.closed = threading.Event()

    @property
    def address(self) -> str:
        """``host:port``, as people write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def close(self) -> None:
        """Close everything; requests and streams of other threads end with an error. May be called twice."""
        self.closed.set()
        with self._lock:
            idle, self._idle = self._idle, []
            active = list(self._active)
        for connection in idle:
            connection.close()
        for connection in active:
            if connection.owner == threading.get_ident():  # left by Ctrl-C: nobody reads from it
                connection.close()
            else:
                connection.shut()

    def exchange(self, request: Request) -> Answer:
        """Send a request and read the whole answer.

        Raises:
            DaemonUnreachableError: there is no answer, or it is no HTTP.
        """
        while True:
            connection = self._take(fresh=not request.repeatable)
            within = self.timeout if request.within is None else request.within
            with self._using(connection, request, within):
                try:
                    complete = connection.send(request, self._all_headers(request), self.timeout)
                    response = connection.receive(_Patience(within, within))
                except (ConnectionError, RemoteDisconnected):
                    if connection.reused:
                        continue
                    raise
                answer = self._read(response)
                connection.reusable = complete and not response.will_close
                return answer

    @contextmanager
    def stream(self, request: Request, *, idle: float) -> Iterator[Stream | Answer]:
        """Open an answer that goes on: a `Stream` if it is one of events, else the whole `Answer`.

        Args:
            idle: seconds without a byte after which the other side is taken for gone.
        """
        connection = self._take(fresh=True)
        connection.owner = None
        with self._using(connection, request, idle):
            connection.send(request, self._all_headers(request), self.timeout)
            response = connection.receive(_Patience(idle, None))
            if response.status == 200 and _media_type(response) == "text/event-stream":
                yield Stream(response)
            else:
                yield self._read(response)

    def _all_headers(self, request: Request) -> dict[str, str]:
        headers = {**self._headers, **request.headers}
        if request.body is not None:
            headers["Content-Type"] = request.body.media_type
            headers["Content-Length"] = str(request.body.size)
        elif request.method == "POST":
            headers["Content-Length"] = "0"
        return headers

    def _take(self, *, fresh: bool) -> _Connection:
        """A connection that is ours alone until `_using` ends."""
        with self._lock:
            if self.closed.is_set():
                raise self._closed_error()
            self._after_fork()
            while self._idle and not fresh:
                kept = self._idle[-1]
                if kept.is_readable():  # the other side has closed it, or says something nobody asked for
                    kept.close()
                    self._idle.pop()
                    continue
                kept.owner, kept.reused, kept.reusable = threading.get_ident(), True, False
                self._active.add(kept)
                self._idle.pop()
                return kept
        return self._connect()

    def _after_fork(self) -> None:
        if self._owner != os.getpid():
            # The parent goes on using these sockets; here only our copies of them are closed.
            for connection in self._idle:
                connection.close()
            self._idle = []
            self._owner = os.getpid()

    @contextmanager
    def _using(self, connection: _Connection, request: Request, within: float) -> Iterator[None]:
        """Name failures; keep the connection at the end if it is reusable, else close it."""
        try:
            yield
        except (OSError, HTTPException) as error:
            if self.closed.is_set():
                raise self._closed_error() from error
            raise self._failure(error, request, within) from error
        finally:
            with self._lock:
                keep = connection.reusable and not self.closed.is_set() and len(self._idle) < _MAX_IDLE
                if keep:
                    self._idle.append(connection)
                    self._active.discard(connection)
            if not keep:
                connection.close()
                with self._lock:
                    self._active.discard(connection)

    def _connect(self) -> _Connection:
        try:
            sock = _connected(self.host, self.port, self.timeout)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one
            raise self._failure(error) from error
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_hostname=self.host)
            http = HTTPConnection(self.host, self.port, timeout=self.timeout, blocksize=_BLOCK)
            http.sock = sock
            http.auto_open = 0  # it would connect anew without our care
            connection = _Connection(http, sock, tls=self._tls is not None)
            with self._lock:
                if self.closed.is_set():
                    raise self._closed_error()
                self._active.add(connection)
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                raise self._tls_failure(error) from error
            raise
        return connection

    def _read(self, response: HTTPResponse) -> Answer:
        body = response.read(_MAX_ANSWER + 1)
        if len(body) > _MAX_ANSWER:
            raise JobManagerError(f"{self.address} sent an answer of more than {_MAX_ANSWER} bytes")
        if response.length:  # read with a bound does not tell by itself that the end never came
            raise IncompleteRead(body, response.length)
        return Answer(response.status, _media_type(response), body)

    def _closed_error(self) -> SageError:
        return JobManagerError(f"this client of {self.address} was closed", hint="make a new one")

    def unreachable(self, message: str, hint: str | None, reason: str) -> DaemonUnreachableError:
        """The error that says so; ``reason`` is a word for machines."""
        return DaemonUnreachableError(message, hint=hint, host=self.host, port=self.port, reason=reason)

    def _failure(self, error: Exception, request: Request | None = None, within: float = 0.0) -> SageError:
        """What a failure of the lower layers means; `request` is None while connecting."""
        unreachable, address = self.unreachable, self.address
        check = f"check daemon.host and daemon.port, or --host and --port ({address} now)"
        if isinstance(error, ConnectionRefusedError):
            return unreachable(f"no JobManager listens at {address}", self._refused_hint(), "refused")
        if isinstance(error, socket.gaierror | UnicodeError):
            what = getattr(error, "strerror", None) or error
            return unreachable(f"the host name {self.host!r} cannot be resolved: {what}", check, "unresolved")
        if isinstance(error, TimeoutError):
            if request is None:
                return unreachable(f"{address} took no connection within {self.timeout:g} s", check, "timeout")
            return unreachable(
                f"{address} did not answer {request.method} {_path(request)} within {within:g} s",
                f"the JobManager may be overloaded, or something else listens there; {check}",
                "timeout",
            )
        if request is None:
            return unreachable(
                f"{address} cannot be reached: {getattr(error, 'strerror', None) or error}", check, "network"
            )
        lost = "" if request.repeatable else "; what was asked may have been done: look before you repeat it"
        if isinstance(error, ConnectionError | IncompleteRead):  # RemoteDisconnected is a ConnectionError, too
            return unreachable(
                f"{address} closed the connection before its answer to {request.method} {_path(request)} was complete",
                f"the JobManager may have been stopped, or something else listens there (sage jobmanager status){lost}",
                "closed",
            )
        if isinstance(error, HTTPException):
            speak = "TLS, though this address may speak plain HTTP" if self._tls else "HTTP"
            return unreachable(
                f"something listens at {address}, but it does not speak {speak}, so it is no JobManager",
                f"{check}; if it is a JobManager with TLS, set daemon.tls.ca" if self._tls is None else check,
                "not_http",
            )
        return unreachable(f"the connection to {address} broke: {error}", check, "network")

    def _tls_failure(self, error: OSError) -> SageError:
        import ssl

        if isinstance(error, ssl.SSLCertVerificationError):
            return self.unreachable(
                f"{self.address} shows a certificate that is not trusted: {error.verify_message}",
                "set daemon.tls.ca to the certificate (or its authority's) of the JobManager",
                "certificate",
            )
        if isinstance(error, ssl.SSLError):
            return self.unreachable(
                f"something listens at {self.address}, but it does not speak TLS: {error.reason or error}",
                "if the JobManager has no TLS, remove daemon.tls.ca and daemon.tls.cert",
                "not_http",
            )
        return self._failure(error)


def _connected(host: str, port: int, timeout: float) -> socket.socket:
    """What `socket.create_connection` does, but for leaving nothing open if Ctrl-C ends it."""
    refused = OSError(f"{host!r} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(timeout)
            sock.connect(address)
            return sock
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise
            refused = error
    raise refused


def _media_type(response: HTTPResponse) -> str:
    return (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()


def _path(request: Request) -> str:
    return request.target.partition("?")[0]
