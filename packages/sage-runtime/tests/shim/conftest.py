"""A job folder with a real shim and, in the place of the job process, a small scripted program."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sage.runtime.shim.client import ShimClient, wait_exit
from sage.runtime.shim.events import EventsFile, read_events
from sage.runtime.shim.log_reader import read_log
from sage.runtime.shim.processes import ProcessIdentity, is_alive, send_signal
from sage.runtime.shim.start import start_shim
from sage.runtime.shim.sweep import end_processes

LIMIT = 60.0
"""Seconds after which a test that waits has failed; nothing here takes as long."""

_ENDING = {"failing", "cancelling"}
MOVES = {
    "submitted": {"queued", "cancelled"},
    "queued": {"starting", "cancelled"},
    "starting": {"running", "restarting"} | _ENDING,
    "running": {"completed", "restarting"} | _ENDING,
    "restarting": {"starting"} | _ENDING,
    "failing": {"failed"},
    "cancelling": {"cancelled"},
    "failed": {"queued"},
    "completed": set[str](),
    "cancelled": set[str](),
}
"""The moves of a job's state that a shim may make."""

PRELUDE = """
import json, os, signal, socket, sys, time
line = socket.socket(fileno=int(os.environ["SAGE_SHIM_FD"]))
line.set_inheritable(False)
commands = line.makefile("rb")
def say(**message):
    line.sendall(json.dumps(message).encode() + b"\\n")
def running():
    say(event="running", tasks=1, services=0)
def ended(state, failure=None):
    say(event="ended", state=state, failure=failure)
def hear():
    command = commands.readline()
    return json.loads(command) if command else None
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
def nudged():
    signal.sigwait([signal.SIGUSR1])
def forever():
    while True:
        signal.pause()
"""


PIPELINE = """
import ctypes, os, signal, sys, threading, time
from sage.core.api import BatchFunction, MapFunction, RemoteEnvironment, SinkFunction, SourceFunction
environment = RemoteEnvironment("tested")
"""


class ShimJob:
    """A job folder, and the shim that was started in it."""

    def __init__(self, folder: Path, python: Path | str, **order: Any) -> None:
        self.uuid = str(uuid.uuid4())
        self.folder = folder / "jobs" / self.uuid
        self.socket = folder / "s.sock"
        self.shim: ProcessIdentity | None = None
        for name in ("logs", "work"):
            (self.folder / name).mkdir(parents=True)
        self.order = {
            "uuid": self.uuid,
            "number": 1,
            "name": "scripted",
            "backend": "local",
            "env_vars": {},
            "options": {},
            "attempt": 1,
            "epoch": 1,
            "python": str(python),
            "log": {"max_bytes": 1 << 20, "keep": 2},
            "grace": 30.0,
            "socket": str(self.socket),
            **order,
        }
        self.give_order()
        with EventsFile(self.folder / "events.jsonl") as events:
            events.append("submitted")
            events.append("queued")

    def give_order(self, **changes: Any) -> None:
        self.order.update(changes)
        (self.folder / "job.json").write_text(json.dumps(self.order))

    def start(self) -> ShimJob:
        self.shim = start_shim(self.folder, timeout=LIMIT)
        return self

    @property
    def client(self) -> ShimClient:
        return ShimClient(self.socket, timeout=LIMIT)

    def wait_for(self, state: str) -> dict[str, Any]:
        """The first event of ``state``, from the shim's own stream."""

        async def wait() -> dict[str, Any]:
            async with asyncio.timeout(LIMIT):
                async for event in self.client.subscribe():
                    if event["state"] == state:
                        return event
            raise AssertionError(f"the stream ended without {state}")

        return asyncio.run(wait())

    def wait_ended(self) -> dict[str, Any]:
        """Wait until the shim has ended; the last event."""
        assert self.shim is not None
        asyncio.run(asyncio.wait_for(wait_exit(self.shim), LIMIT))
        return self.events()[-1]

    def cancel(self, grace: float, reason: str | None = None) -> None:
        asyncio.run(self.client.cancel(grace, reason))

    def ping(self) -> dict[str, Any]:
        return asyncio.run(self.client.ping())

    def events(self) -> list[dict[str, Any]]:
        return read_events(self.folder / "events.jsonl")

    def states(self) -> list[str]:
        return [event["state"] for event in self.events()]

    def log(self) -> str:
        return read_log(self.folder / "logs" / "job.log", 0, 1 << 30).text

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(LIMIT)
        connection.connect(str(self.socket))
        return connection

    def process(self) -> ProcessIdentity:
        """The job process."""
        facts = json.loads((self.folder / "shim.json").read_bytes())
        return ProcessIdentity(facts["job_pid"], facts["job_start_time"], facts["boot_id"])

    def nudge(self) -> None:
        """Let a script go on that waits in ``nudged()``."""
        os.kill(self.process().pid, signal.SIGUSR1)

    def kill_shim(self) -> None:
        assert self.shim is not None
        os.kill(self.shim.pid, signal.SIGKILL)
        asyncio.run(asyncio.wait_for(wait_exit(self.shim), LIMIT))

    def tidy(self) -> None:
        """End what the test has left running."""
        if self.shim is not None and is_alive(self.shim):
            send_signal(self.shim, signal.SIGKILL)
            asyncio.run(wait_exit(self.shim))
        end_processes(str(self.folder), grace=0)

    def check(self) -> None:
        """What holds of every history: no gap in the numbers, only lawful moves, epochs that never fall."""
        events = self.events()
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        for before, after in itertools.pairwise(events):
            assert after["state"] in MOVES[before["state"]], self.states()
            assert after["epoch"] >= before["epoch"]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="sage-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def new_job(short_folder: Path) -> Iterator[Callable[..., ShimJob]]:
    """Makes a job whose process is some interpreter; it is not started yet."""
    jobs: list[ShimJob] = []

    def make(python: Path | str, **order: Any) -> ShimJob:
        folder = short_folder / str(len(jobs))
        folder.mkdir()
        jobs.append(ShimJob(folder, python, **order))
        return jobs[-1]

    yield make
    for job in jobs:
        job.tidy()
        job.check()


@pytest.fixture
def scripted(new_job: Callable[..., ShimJob], tmp_path: Path) -> Callable[..., ShimJob]:
    """Makes a job whose process does what a script says, in the place of the job process."""

    def make(script: str, **order: Any) -> ShimJob:
        program = tmp_path / "program.py"
        program.write_text(PRELUDE + textwrap.dedent(script))
        wrapper = tmp_path / "python"
        wrapper.write_text(f"#!/bin/sh\nexec '{sys.executable}' -I -S -X faulthandler '{program}' \"$@\"\n")
        wrapper.chmod(0o755)
        return new_job(**{"python": wrapper, **order})

    return make


@pytest.fixture
def packaged(new_job: Callable[..., ShimJob], tmp_path: Path) -> Callable[..., ShimJob]:
    """Makes a job from a user's script, which submits one pipeline, with the real job process."""

    def make(script: str, **order: Any) -> ShimJob:
        program = tmp_path / "pipeline.py"
        program.write_text(PIPELINE + textwrap.dedent(script))
        captured = tmp_path / "captured"
        captured.mkdir()
        environment = {**os.environ, "SAGE_CAPTURE": str(captured), "SAGE_HOME": str(tmp_path / "home")}
        subprocess.run([sys.executable, str(program)], env=environment, check=True, timeout=LIMIT)
        job = new_job(sys.executable, **order)
        (package,) = captured.iterdir()
        package.rename(job.folder / "package.zip")
        return job

    return make
