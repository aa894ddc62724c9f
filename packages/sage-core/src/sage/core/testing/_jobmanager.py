"""A JobManager of a test's own: a real daemon on a free port, in a folder that goes away with it."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sage.core.api.remote_environment import RemoteEnvironment
from sage.core.client import JobManagerClient
from sage.core.errors import JobManagerError, SageError

__all__ = ["ThrowAwayJobManager"]

_START = 60.0
_GRACE = 30.0
"""Seconds for the daemon to end its jobs, and itself, before it is killed."""


class ThrowAwayJobManager:
    """Starts a JobManager; `close` ends it with all of its jobs, and removes what it kept.

    Attributes:
        home: its ``SAGE_HOME``.
        host, port: where it listens.
        token: what requests carry.
        variables: environment variables with which programs find it.

    Raises:
        JobManagerError: sage-runtime is not installed, or the daemon did not come up.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("sage.runtime") is None:
            raise JobManagerError(
                "a JobManager of a test's own needs sage-runtime, which is not installed",
                hint="pip install sage-runtime",
            )
        self._folder = Path(tempfile.mkdtemp(prefix="sage-test-"))  # short: sockets have 107 bytes for their path
        self.home = self._folder / "home"
        self._environments: list[RemoteEnvironment] = []
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("SAGE_")}
        self._environment |= {"SAGE_HOME": str(self.home), "XDG_RUNTIME_DIR": str(self._folder)}
        try:
            self._process, answer = self._start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.host, self.port = str(answer["host"]), int(answer["port"])
        self.token = (self.home / "token").read_text().strip()
        self.variables: Mapping[str, str] = {
            "SAGE_HOME": str(self.home),
            "SAGE_DAEMON__HOST": self.host,
            "SAGE_DAEMON__PORT": str(self.port),
        }

    def client(self) -> JobManagerClient:
        """A client of it; `close` it after use."""
        return JobManagerClient(self.host, self.port, self.token)

    def environment(self, name: str = "test", **settings: Any) -> RemoteEnvironment:
        """A pipeline whose job runs there; ``settings`` are those of `RemoteEnvironment`. It is closed with this."""
        self._environments.append(RemoteEnvironment(name, self.host, self.port, token=self.token, **settings))
        return self._environments[-1]

    def close(self) -> None:
        """End it within a minute, whatever its jobs do. Closing twice does nothing."""
        if not self._folder.exists():
            return
        for environment in self._environments:
            environment.close()
        try:
            with suppress(SageError, OSError):
                self._end_jobs()
            self._process.terminate()
            try:
                self._process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        finally:
            self._end_shims()
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb") as ready:
            try:
                arguments = ["-m", "sage.runtime.jobmanager", "--ready-fd", str(write_end), "--port", "0"]
                process = subprocess.Popen(  # noqa: S603 - this very Python
                    [sys.executable, "-P", *arguments],
                    env=self._environment,
                    pass_fds=[write_end],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            finally:
                os.close(write_end)
            line = ready.readline() if select.select([ready], [], [], _START)[0] else b""
        answer = json.loads(line) if line else {}
        if not answer.get("ok"):
            process.kill()
            process.wait()
            said = answer.get("message") or answer or f"it said nothing within {_START:g} s"
            raise JobManagerError(f"the JobManager of the test did not start: {said}")
        return process, answer

    def _end_jobs(self) -> None:
        client = self.client()
        try:
            page = client.jobs()
            while True:
                for job in page.items:
                    if not job.is_ended:
                        client.delete(job.uuid, force=True)
                if page.next_cursor is None:
                    return
                page = client.jobs(cursor=page.next_cursor)
        finally:
            client.close()

    def _end_shims(self) -> None:
        """What owns the jobs outlives a JobManager that was killed; without it, their processes end."""
        for path in self.home.glob("jobs/*/shim.json"):
            with suppress(OSError, ValueError, KeyError, IndexError):
                shim = json.loads(path.read_text())
                started = Path(f"/proc/{int(shim['pid'])}/stat").read_text().rpartition(")")[2].split()[19]
                if int(started) == shim["start_time"]:
                    os.kill(shim["pid"], signal.SIGKILL)
