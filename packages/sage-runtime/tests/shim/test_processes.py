"""Knowing processes apart, and signalling none but the one that is meant."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sage.runtime.shim.client import wait_exit
from sage.runtime.shim.processes import ProcessIdentity, boot_id, identify, is_alive, read_stat, send_signal
from sage.runtime.shim.start import reap


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits to be killed, under a name that is hard to parse."""
    program = "open('/proc/self/comm', 'w').write(') R 1 ('); print(flush=True); input()"
    command = [sys.executable, "-I", "-S", "-c", program]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdin is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()


def test_identity(child: subprocess.Popen[bytes]) -> None:
    """A process is itself, also after a way through JSON."""
    identity = identify(child.pid)
    assert identity is not None
    assert identity == ProcessIdentity.from_json(identity.to_json())
    assert len({identity, ProcessIdentity.from_json(identity.to_json())}) == 1
    assert identity != identify(os.getpid())
    assert is_alive(identity)
    stat = read_stat(child.pid)
    assert stat is not None and stat.parent == os.getpid()
    assert str(child.pid) in repr(identity)


def test_a_reused_id_is_another_process(child: subprocess.Popen[bytes]) -> None:
    """With another start time or another boot it is not the one that is meant, and not signalled."""
    real = identify(child.pid)
    assert real is not None
    for other in (
        ProcessIdentity(real.pid, real.start_time - 1, real.boot_id),
        ProcessIdentity(real.pid, real.start_time, "another boot"),
    ):
        assert not is_alive(other)
        assert send_signal(other, signal.SIGKILL) is False
        assert not reap(other)
    asyncio.run(asyncio.wait_for(wait_exit(ProcessIdentity(real.pid, 1, boot_id())), 60))
    assert is_alive(real)


def test_signalling_the_one_that_is_meant(child: subprocess.Popen[bytes]) -> None:
    """The process gets the signal; when it has ended, nobody does."""
    identity = identify(child.pid)
    assert identity is not None
    assert send_signal(identity, signal.SIGTERM) is True
    assert child.wait() == -signal.SIGTERM
    assert send_signal(identity, signal.SIGTERM) is False
    assert not is_alive(identity)
    assert identify(child.pid) is None


@pytest.mark.parametrize("pid", [0, -1, 1 << 31, 10**30, "x", None])
def test_what_names_no_process(pid: Any) -> None:
    """A pid that no process can have is refused, not looked up."""
    with pytest.raises((ValueError, TypeError)):
        ProcessIdentity.from_json({"pid": pid, "start_time": 1, "boot_id": "x"})


def test_a_zombie_is_dead() -> None:
    """What has ended and was not collected yet neither lives nor gets signals; waiting for it collects it."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    identity = identify(pid)
    assert identity is not None
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(identity)
    assert send_signal(identity, signal.SIGTERM) is False
    asyncio.run(asyncio.wait_for(wait_exit(identity), 60))
    assert identify(pid) is None


def test_waiting_for_an_exit() -> None:
    """Waiting ends with the process."""
    pid = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
    identity = identify(pid)
    assert identity is not None

    async def wait() -> None:
        waiting = asyncio.create_task(wait_exit(identity))
        await asyncio.sleep(0)
        assert not waiting.done()
        os.kill(pid, signal.SIGKILL)
        await asyncio.wait_for(waiting, 60)

    asyncio.run(wait())
    assert identify(pid) is None
