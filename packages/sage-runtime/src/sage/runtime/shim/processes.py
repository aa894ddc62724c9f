"""Who a process is: its id alone is not enough, since ids are given again.

A process is named by pid, start time (clock ticks since boot) and the boot's id; only a process for which all three
agree is ever signalled.
"""

# pathlib would cost the shim a third of its start.
# ruff: noqa: PTH123

from __future__ import annotations

import os
import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ProcessIdentity", "ProcessStat", "boot_id", "identify", "is_alive", "read_stat", "send_signal", "wait_end"]


class ProcessIdentity:
    """One process of one boot.

    Attributes:
        pid: its id.
        start_time: field 22 of ``/proc/<pid>/stat``, in clock ticks since boot.
        boot_id: the kernel's id of this boot.
    """

    __slots__ = ("boot_id", "pid", "start_time")

    def __init__(self, pid: int, start_time: int, boot_id: str) -> None:
        self.pid = pid
        self.start_time = start_time
        self.boot_id = boot_id

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ProcessIdentity):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"ProcessIdentity(pid={self.pid}, start_time={self.start_time}, boot_id={self.boot_id!r})"

    def _key(self) -> tuple[int, int, str]:
        return self.pid, self.start_time, self.boot_id

    def to_json(self) -> dict[str, Any]:
        return {"pid": self.pid, "start_time": self.start_time, "boot_id": self.boot_id}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ProcessIdentity:
        """Raises `KeyError`, `TypeError` or `ValueError` if ``data`` names no process."""
        pid, start_time = int(data["pid"]), int(data["start_time"])
        if not 0 < pid < 1 << 31:
            raise ValueError(f"{pid} is no process id")
        return cls(pid, start_time, str(data["boot_id"]))


class ProcessStat:
    """What ``/proc/<pid>/stat`` tells of a process: ``state`` (one letter), ``parent``, ``group``, ``session`` (ids)
    and ``start_time``."""

    __slots__ = ("group", "parent", "pid", "session", "start_time", "state")

    def __init__(self, pid: int, text: bytes) -> None:
        # The name, in parentheses, may itself hold spaces and parentheses: count from the last one.
        fields = text[text.rindex(b")") + 2 :].split()
        self.pid = pid
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.session = int(fields[3])
        self.start_time = int(fields[19])


def read_stat(pid: int) -> ProcessStat | None:
    """What the kernel tells about process ``pid``, None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return ProcessStat(pid, file.read())
    except (FileNotFoundError, ProcessLookupError):
        return None


def boot_id() -> str:
    """The kernel's id of the present boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of process ``pid``, None if there is no such process."""
    stat = read_stat(pid)
    return None if stat is None else ProcessIdentity(pid, stat.start_time, boot_id())


def is_alive(identity: ProcessIdentity) -> bool:
    """True while that very process runs; a zombie, a reused id or another boot is not alive."""
    if identity.boot_id != boot_id():
        return False
    stat = read_stat(identity.pid)
    return stat is not None and stat.start_time == identity.start_time and stat.state not in ("Z", "X")


def send_signal(identity: ProcessIdentity, number: int) -> bool:
    """Send signal ``number`` to that very process and no other; False if it has ended.

    Raises:
        PermissionError: it belongs to another user.
    """
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    try:
        # The descriptor now pins whatever has this pid; only if that is the process meant is it signalled.
        if not is_alive(identity):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def wait_end(identity: ProcessIdentity, timeout: float) -> bool:
    """Wait until that very process has ended; False if it has not within ``timeout`` seconds. Blocks."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return True
    try:
        if not is_alive(identity):
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout) * 1000))
    finally:
        os.close(descriptor)
