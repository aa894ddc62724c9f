"""The shim's end of the line to its job process: JSON lines both ways over a socket pair."""

from __future__ import annotations

import json
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sage.runtime.shim.loop import Loop

__all__ = ["Control"]

_LONGEST_LINE = 4 << 20
_CHUNK = 1 << 16


class Control:
    """Reads what the job process says, and sends it commands.

    Nothing the job says is trusted: a line that is no JSON object is noted and skipped; one longer than 4 MiB ends
    the line, as if the job process had closed it.

    Args:
        message: called with each object that came.
        closed: called once, when no more will come.
        note: told what was odd.
    """

    def __init__(
        self,
        loop: Loop,
        end: socket.socket,
        *,
        message: Callable[[dict[str, Any]], None],
        closed: Callable[[], None],
        note: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._socket = end
        self._message = message
        self._closed = closed
        self._note = note
        self._rest = b""
        end.setblocking(False)
        loop.watch(end.fileno(), read=self._read)

    def send(self, command: dict[str, Any]) -> None:
        """Send ``command``; one that the job process cannot or will not take is only noted."""
        if self._socket.fileno() < 0:
            return
        try:
            self._socket.sendall(json.dumps(command, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            self._note(f"the job process did not take {command}: {error}")

    def drain(self) -> None:
        """Read all that has come, and close: the job process has ended."""
        while self._read():
            pass
        self.close()

    def _read(self) -> bool:
        if self._socket.fileno() < 0:
            return False
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._rest) > _LONGEST_LINE:
            self._note(f"the job process sent a line of more than {_LONGEST_LINE} bytes")
            data = b""
        if not data:
            self.close()
        return bool(data)

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise ValueError("not an object")
        except (ValueError, RecursionError) as error:
            self._note(f"the job process sent no message but {line[:200]!r}: {error}")
            return
        self._message(message)

    def close(self) -> None:
        """Let go of the line; harmless when repeated."""
        if self._socket.fileno() >= 0:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._closed()
