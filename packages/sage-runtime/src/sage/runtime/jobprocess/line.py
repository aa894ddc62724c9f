"""The job process's end of the line to its shim: JSON lines both ways."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from sage.runtime.shim.environment import SHIM_FD

__all__ = ["Line"]

_LONGEST = 4 << 20


class Line:
    """Sends messages, from any thread, and hears commands on a thread of its own.

    The thread lives until the shim closes the line; it is a daemon, since nothing but the end of either process ends
    it.

    Raises:
        KeyError: this process was not started by a shim.
    """

    def __init__(self) -> None:
        # Whatever the user's code starts must not be able to speak in our name.
        self._socket = socket.socket(fileno=int(os.environ.pop(SHIM_FD)))
        self._socket.set_inheritable(False)
        self._lock = threading.Lock()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send ``message``. With the shim gone it does nothing."""
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        if len(data) > _LONGEST:
            # Failures are bounded, so these are numbers of a graph beyond all measure: the job is worth more.
            print(f"sage: left out a message of {len(data)} bytes to the shim", file=sys.stderr)
            return
        with self._lock:
            try:
                self._socket.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                # `listen` tells that the shim is gone, and what to do about it.
                return

    def listen(self, command: Callable[[dict[str, Any]], None], gone: Callable[[], None]) -> None:
        """Call ``command`` with each command that comes, and ``gone`` once when the shim has ended."""

        def run() -> None:
            try:
                with self._socket.makefile("rb") as lines:
                    for line in lines:
                        command(json.loads(line))
            except ConnectionResetError:
                pass
            gone()

        threading.Thread(target=run, name="sage-shim-line", daemon=True).start()
