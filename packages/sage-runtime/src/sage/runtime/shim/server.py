"""The shim's Unix socket: JSON lines, several clients, none of whom can hold up the shim.

Requests: ``{"op": "ping"}``, ``{"op": "cancel", "grace": seconds, "reason": text}`` and ``{"op": "subscribe", "after":
seq}``. A subscriber gets every event line after ``seq``, then new ones as they come, and ``{"end": true}`` last. It is
fed from the events file, hence a slow one costs the shim one buffer; one that takes nothing at all for half a minute
is dropped.
"""

# pathlib would cost the shim a third of its start.
# ruff: noqa: PTH101, PTH108

from __future__ import annotations

import errno
import json
import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sage.runtime.shim.events import EventsFile
    from sage.runtime.shim.loop import Loop, Timer

__all__ = ["Server"]

_CLIENTS = 64
_BACKLOG = 64
_LONGEST_REQUEST = 1 << 14
_CHUNK = 1 << 16
_PATIENCE = 30.0
_ACCEPT_PAUSE = 0.5


class Server:
    """Listens, answers and streams until `finish`.

    Args:
        loop: what calls back.
        path: of the socket; one left behind by a dead shim is replaced.
        events: what subscribers are fed from.
        answer: handles a request other than subscribe; returns the answer, or raises `ValueError` with what is
            wrong with it.

    Raises:
        OSError: it cannot listen there.
    """

    def __init__(
        self,
        loop: Loop,
        path: str,
        events: EventsFile,
        answer: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        self._loop = loop
        self._path = path
        self._events = events
        self._answer = answer
        self._clients: set[_Client] = set()
        self._finished: Callable[[], None] | None = None
        self._listener = _listen(path)
        loop.watch(self._listener.fileno(), read=self._accept)

    def events_grew(self) -> None:
        """Pass new events on to whoever subscribed."""
        for client in list(self._clients):
            client.pump()

    def finish(self, patience: float, done: Callable[[], None]) -> None:
        """The job has ended: take no one new, end all streams, and call ``done`` once all is read or time is over."""
        # Whoever knocked before the job's end shall hear of it.
        while self._accept():
            pass
        self.close()
        self._finished = done
        self._loop.after(patience, self._finish_now)
        for client in list(self._clients):
            client.end()
        self._check_finished()

    def close(self) -> None:
        """Stop listening and take the socket away; harmless when repeated."""
        if self._listener.fileno() >= 0:
            self._loop.unwatch(self._listener.fileno())
            self._listener.close()
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass

    def _finish_now(self) -> None:
        for client in list(self._clients):
            client.close()
        self._check_finished()

    def _check_finished(self) -> None:
        if self._finished is not None and not self._clients:
            done, self._finished = self._finished, None
            done()

    def _accept(self) -> bool:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            # No room for another descriptor: those who knock wait in the backlog.
            self._loop.unwatch(self._listener.fileno())
            self._loop.after(_ACCEPT_PAUSE, self._listen_again)
            return False
        connection.setblocking(False)
        client = _Client(self, connection)
        self._clients.add(client)
        if len(self._clients) > _CLIENTS:
            client.fail(f"more than {_CLIENTS} clients at once")
        return True

    def _listen_again(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.watch(self._listener.fileno(), read=self._accept)

    def _forget(self, client: _Client) -> None:
        self._clients.discard(client)
        self._check_finished()


class _Client:
    """One connection: a request and its answer, again and again, or one stream."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self._in = b""
        self._out = b""
        self._offset: int | None = None
        self._closing = False
        self._timer: Timer | None = None
        self._wait()
        self._watch()

    @property
    def _streams(self) -> bool:
        return self._offset is not None

    def _watch(self) -> None:
        # A stream is read from only to learn that its client has left; otherwise, answers are to be taken before
        # the next request is.
        reads = not self._closing and (self._streams or not self._out)
        self._server._loop.watch(
            self._connection.fileno(),
            read=self._read if reads else None,
            write=self._write if self._out else None,
        )

    def _wait(self) -> None:
        """(Re)start the time within which the client has to do something, if it has to."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._out or not self._streams:
            self._timer = self._server._loop.after(_PATIENCE, self.close)

    def _read(self) -> None:
        try:
            data = self._connection.recv(_LONGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        if self._streams:
            return
        self._in += data
        while b"\n" in self._in and not self._streams and not self._closing:
            line, self._in = self._in.split(b"\n", 1)
            self._handle(line)
        if len(self._in) > _LONGEST_REQUEST:
            self.fail("the request is too long")

    def _handle(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError("a request is a JSON object")
            if request.get("op") == "subscribe":
                after = request.get("after", 0)
                if not isinstance(after, int):
                    raise ValueError("after is a sequence number")
                self._offset = self._server._events.offset_after(after)
                self.pump()
            else:
                self._send(self._server._answer(request))
        except (ValueError, RecursionError) as error:
            self._send({"error": str(error)})

    def pump(self) -> None:
        """Send what there is to stream, if all before it was taken."""
        while self._offset is not None and not self._closing and not self._out:
            data = self._server._events.read(self._offset, _CHUNK)
            if not data:
                break
            self._offset += len(data)
            self._put(data)

    def end(self) -> None:
        """End the stream after what is left of it; a client without one is answered and left."""
        if not self._streams and not self._closing:
            self._read()
        if not self._streams:
            self._closing = True
            self._flush()
            return
        self.pump()
        if self._offset is not None and self._offset < self._server._events.end:
            # Still more to take than one buffer: `_write` comes back here.
            return
        self._closing = True
        self._out += b'{"end":true}\n'
        self._flush()

    def fail(self, message: str) -> None:
        """Answer with an error and leave."""
        self._closing = True
        self._send({"error": message})

    def _send(self, answer: dict[str, Any]) -> None:
        self._put(json.dumps(answer, separators=(",", ":")).encode() + b"\n")

    def _put(self, data: bytes) -> None:
        self._out += data
        self._flush()

    def _flush(self) -> None:
        """Write what the connection takes now, the rest when it takes more."""
        while self._out:
            try:
                count = self._connection.send(self._out)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            self._out = self._out[count:]
        if self._closing and not self._out:
            self.close()
            return
        self._wait()
        self._watch()

    def _write(self) -> None:
        self._flush()
        if self._connection.fileno() >= 0 and not self._out:
            if self._server._finished is not None:
                self.end()
            else:
                self.pump()

    def close(self) -> None:
        if self._connection.fileno() < 0:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._server._loop.unwatch(self._connection.fileno())
        self._connection.close()
        self._server._forget(self)


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            listener.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or _is_served(path):
                raise
            # Left by a shim that was killed.
            os.unlink(path)
            listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True
