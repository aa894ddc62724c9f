"""How the daemon speaks with a shim: one short connection per request, JSON lines over its Unix socket."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sage.core.errors import SageError
from sage.runtime.shim.processes import ProcessIdentity, read_stat
from sage.runtime.shim.start import reap

__all__ = ["ShimClient", "ShimUnreachableError", "wait_exit"]

_LONGEST_LINE = 8 << 20


class ShimUnreachableError(SageError):
    """No shim answers on that socket, or it went away while it was asked."""

    code = "shim_unreachable"


class ShimClient:
    """Speaks with the shim behind ``socket``; holds no connection between calls.

    Args:
        socket: the path of the shim's Unix socket.
        timeout: seconds within which a request is answered (an event stream may be silent for any time).
    """

    def __init__(self, socket: str | Path, *, timeout: float = 10.0) -> None:
        self.socket = Path(socket)
        self.timeout = timeout

    async def ping(self) -> dict[str, Any]:
        """``pid``, ``attempt``, ``epoch``, ``state`` and ``pending`` (events that could not be written so far)."""
        return await self._ask({"op": "ping"})

    async def cancel(self, grace: float = 10.0, reason: str | None = None) -> None:
        """Have the job cancelled: asked at once, terminated after ``grace`` seconds, killed after as many again.

        Returns when the shim has taken note; the outcome is an event. May be repeated: the earlier deadline counts.
        """
        await self._ask({"op": "cancel", "grace": grace, "reason": reason})

    async def subscribe(self, after: int = 0) -> AsyncGenerator[dict[str, Any], None]:
        """Every event after sequence number ``after``, then new ones as they come; ends when the job has ended.

        Raises:
            ShimUnreachableError: the shim is not there, or went away before the job's end. What it wrote is in the
                events file.
        """
        async with self._connection() as (reader, writer):
            await self._send(writer, {"op": "subscribe", "after": after})
            while True:
                event = await self._receive(reader)
                if event.get("end") is True:
                    return
                yield event

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self.timeout), self._connection() as (reader, writer):
                await self._send(writer, request)
                return await self._receive(reader)
        except TimeoutError:
            raise ShimUnreachableError(
                f"the shim at {self.socket} did not answer {request['op']} within {self.timeout:g} s"
            ) from None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket, limit=_LONGEST_LINE)
        except OSError as error:
            raise ShimUnreachableError(f"no shim listens at {self.socket}: {error.strerror or error}") from error
        try:
            yield reader, writer
        finally:
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        try:
            writer.write(json.dumps(request, separators=(",", ":")).encode() + b"\n")
            await writer.drain()
        except OSError as error:
            raise ShimUnreachableError(f"the shim at {self.socket} went away: {error}") from error

    async def _receive(self, reader: asyncio.StreamReader) -> dict[str, Any]:
        try:
            line = await reader.readuntil(b"\n")
            answer = json.loads(line)
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError) as error:
            raise ShimUnreachableError(f"the shim at {self.socket} went away") from error
        if not isinstance(answer, dict) or "error" in answer:
            raise ShimUnreachableError(f"the shim at {self.socket} answered {answer!r}")
        return answer


async def wait_exit(identity: ProcessIdentity) -> None:
    """Return when that very process has ended, whoever started it; reaps it if it was our child."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        stat = read_stat(identity.pid)
        if stat is None or stat.start_time != identity.start_time:
            return
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)
    reap(identity)
