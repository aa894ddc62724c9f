"""What the daemon knows of a job's shim from outside, and the events that fall to the daemon to write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage.core.models import ENDED_STATES, FailureInfo
from sage.runtime.shim.client import wait_exit
from sage.runtime.shim.events import EventsFile, EventsFileBusyError
from sage.runtime.shim.files import read_json
from sage.runtime.shim.processes import ProcessIdentity, boot_id, is_alive

__all__ = [
    "append_event",
    "cause_of_death",
    "ends_within",
    "find_shim",
    "is_owned",
    "recorded_shim",
    "write_end",
]


def append_event(path: Path, state: str, reason: str | None, last: Mapping[str, Any]) -> dict[str, Any]:
    """Write an event of a job that no shim owns; attempt and epoch are those of the event before."""
    with EventsFile(path) as events:
        return events.append(state, reason=reason, attempt=last["attempt"], epoch=last["epoch"])


def is_owned(path: Path) -> bool:
    """Whether some process holds the events file at ``path``: only a live shim does, besides ourselves."""
    try:
        EventsFile(path).close()
    except EventsFileBusyError:
        return True
    return False


def write_end(path: Path, reason: str) -> list[dict[str, Any]]:
    """Write the end of a job whose shim died; what it must be follows from the last state it wrote."""
    with EventsFile(path) as events:
        last = events.last or {"state": "submitted"}
        if last["state"] in ENDED_STATES:
            return []
        facts = {"attempt": last.get("attempt", 1), "epoch": last.get("epoch", 0)}
        if last["state"] == "cancelling":
            return [events.append("cancelled", reason=reason, **facts)]
        failure = last.get("failure") or FailureInfo("process", reason).to_json()
        written = (
            [] if last["state"] == "failing" else [events.append("failing", reason=reason, failure=failure, **facts)]
        )
        return [*written, events.append("failed", reason=reason, failure=failure, **facts)]


def find_shim(folder: Path) -> ProcessIdentity | None:
    """The live shim of the job in ``folder``, if there is one."""
    identity = recorded_shim(folder)
    return identity if identity is not None and is_alive(identity) else None


def recorded_shim(folder: Path) -> ProcessIdentity | None:
    """The newest shim of the job in ``folder``, alive or not; None if none has begun."""
    try:
        return ProcessIdentity.from_json(read_json(str(folder / "shim.json")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def cause_of_death(folder: Path) -> str:
    """Why the job in ``folder``, which has not ended, has no live shim; in words for people."""
    identity = recorded_shim(folder)
    if identity is None:
        return "its shim ended before it had begun"
    if identity.boot_id != boot_id():
        return "this host was restarted while the job ran"
    return f"its shim (process {identity.pid}) was killed or died"


async def ends_within(identity: ProcessIdentity, seconds: float) -> bool:
    """Whether that process ends within so many seconds; collects it if it is our child."""
    try:
        async with asyncio.timeout(seconds):
            await wait_exit(identity)
    except TimeoutError:
        return False
    return True
