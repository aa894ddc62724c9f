"""A JobManager that the `sage` command started, and users who write programs for it and ask for its jobs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sage.core.client import JobManagerClient
from sage.core.models import ENDED_STATES, JobInfo
from sage.runtime.shim.processes import ProcessIdentity, is_alive, send_signal
from sage.runtime.shim.sweep import end_processes, find_processes

LIMIT = 120.0
"""Seconds after which what does not end has failed; nothing here takes as long."""

SAGE = Path(sys.executable).with_name("sage")

HELD = '''
import pathlib

from sage.core.api import STOP, SinkFunction, SourceFunction


class Held(SourceFunction):
    """Three records, then nothing until there is a file `release`; then a last one."""

    def __init__(self, release):
        self.release = pathlib.Path(release)
        self.count = 0

    def execute(self):
        if self.count < 3:
            self.count += 1
            return self.count
        if self.count == 3 and self.release.exists():
            self.count = 4
            return "released"
        return STOP if self.count == 4 else None


class Show(SinkFunction):
    def execute(self, value):
        print("got", value)

    def close(self):
        print("closed")
'''
"""A module that many programs here have beside them: a job that runs until it is told to end."""

SUBMIT_HELD = """
import sys

from held import Held, Show
from sage.core.api import RemoteEnvironment

with RemoteEnvironment(sys.argv[1]) as env:
    env.from_source(Held, f"{sys.path[0]}/release-{env.env_uuid}").sink(Show)
    print(env.submit())
"""


@dataclass(frozen=True)
class Done:
    """A process that has ended."""

    command: str
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The data of the one document on stdout."""
        document = json.loads(self.out)
        assert document["sage"] == 1
        return document["data"]

    @property
    def documents(self) -> list[Any]:
        """The documents of a follower, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last_error(self) -> str:
        """What Python says last of an uncaught exception: its class, its text, the hint."""
        _, _, text = self.err.rpartition("\nTraceback (most recent call last):\n")
        lines = (text or self.err).splitlines()
        start = max((number for number, line in enumerate(lines) if re.match(r"[A-Za-z_.]+: ", line)), default=0)
        return "\n".join(lines[start:])


class Running:
    """A process that goes on; what it prints is read line by line as it comes."""

    def __init__(self, command: str, process: subprocess.Popen[str]) -> None:
        self.command = command
        self.process = process
        self.lines: list[str] = []

    def line(self) -> str:
        """The next line of its standard output, without its end."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.endswith("\n"), f"{self.command} ended with {self.lines} and {line!r}"
        self.lines.append(line[:-1])
        return line[:-1]

    def until(self, line: str) -> None:
        """Read up to this line."""
        while self.line() != line:
            pass

    def end(self, code: int | None = 0) -> Done:
        """Wait until it has ended, with this exit code (None: with any); `out` is what was not read before."""
        out, err = self.process.communicate(timeout=LIMIT)
        found = self.process.returncode
        assert code in (None, found), f"{self.command} ended with {found}\n{self.lines}\n{out}\n{err}"
        return Done(self.command, found, out, err)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class User:
    """Somebody with a SAGE_HOME, a folder of programs, and the commands `python` and `sage`."""

    def __init__(self, home: Path, folder: Path, port: int) -> None:
        self.home = home
        self.folder = folder
        self.port = port
        self.env: dict[str, str] = {"SAGE_DAEMON__PORT": str(port)}
        self._running: list[Running] = []

    def at(self, folder: Path) -> User:
        """The same user in another folder."""
        return User(self.home, folder, self.port)

    # Programs and commands

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SAGE_", "PYTHON", "TYPER_")) and name != "NO_COLOR"
        }
        return {
            **clean,
            "SAGE_HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home.parent),
            "PYTHONWARNINGS": "error",
            "COLUMNS": "120",
            **self.env,
            **(extra or {}),
        }

    def start(self, *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Running:
        """Start a command and come back while it runs; it is ended with the test."""
        parts = [str(part) for part in command]
        process = subprocess.Popen(
            parts,
            env=self.environment(env),
            cwd=cwd or self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._running.append(Running(shlex.join(parts), process))
        return self._running[-1]

    def start_sage(self, *args: str | Path | int, env: Mapping[str, str] | None = None) -> Running:
        """Start the `sage` command."""
        return self.start(SAGE, *map(str, args), env=env)

    def start_python(self, script: str | Path, *args: str | Path) -> Running:
        """Start a program of the folder with Python."""
        return self.start(sys.executable, script, *args)

    def run(
        self, *command: str | Path, code: int | None = 0, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Done:
        """Run a command to its end; its exit code is `code` (None: whatever it is)."""
        return self.start(*command, env=env, cwd=cwd).end(code)

    def sage(self, *args: str | Path | int, code: int | None = 0, env: Mapping[str, str] | None = None) -> Done:
        """Run the `sage` command."""
        return self.run(SAGE, *map(str, args), code=code, env=env)

    def python(
        self,
        script: str | Path,
        *args: str | Path,
        code: int | None = 0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        """Run a program of the folder with Python."""
        return self.run(sys.executable, script, *args, code=code, env=env, cwd=cwd)

    def close(self) -> None:
        """End what was started and still runs."""
        while self._running:
            self._running.pop().close()

    # The JobManager and its jobs, for what a test needs beside what it is about

    @contextmanager
    def client(self) -> Iterator[JobManagerClient]:
        token = (self.home / "token").read_text().strip()
        with JobManagerClient("127.0.0.1", self.port, token) as client:
            yield client

    def job(self, ref: str | int) -> JobInfo:
        with self.client() as client:
            return client.job(ref)

    def wait(self, ref: str | int, until: Collection[str] = ENDED_STATES) -> JobInfo:
        """The job once it is in one of these states; fails if it ends in another one."""
        with self.client() as client:
            job = client.wait(ref, timeout=LIMIT, until=until)
        assert job.state in until, job
        return job

    def uuids(self) -> set[str]:
        """Those of all jobs there are."""
        with self.client() as client:
            page = client.jobs(limit=500)
        assert page.next_cursor is None
        return {job.uuid for job in page.items}

    def job_folders(self) -> list[Path]:
        """What lies among the jobs' folders, the JobManager's own places left out."""
        return [path for path in (self.home / "jobs").iterdir() if not path.name.startswith(".")]

    def submit_held(self, name: str = "held") -> str:
        """Submit a job that prints `got 1` to `got 3` and goes on until it is released; returns its uuid."""
        self.write("held.py", HELD)
        script = self.write("submit_held.py", SUBMIT_HELD)
        return self.python(script, name).out.strip()

    held = HELD
    command = SAGE

    def left_running(self, uuid: str) -> list[ProcessIdentity]:
        """Processes that belong to a job."""
        return find_processes(str(self.home / "jobs" / uuid))

    def release(self, uuid: str) -> None:
        """Let a held job come to its end, with `got released` and `closed`."""
        (self.folder / f"release-{uuid}").touch()

    @property
    def daemon(self) -> ProcessIdentity:
        """The process of the JobManager."""
        return ProcessIdentity.from_json(json.loads((self.home / "daemon.json").read_text()))

    def until_up(self) -> None:
        """Ask until the JobManager of this SAGE_HOME answers: one in the foreground tells nobody when it is ready."""
        deadline = time.monotonic() + LIMIT
        while self.sage("jobmanager", "status", code=None).code != 0:
            assert time.monotonic() < deadline

    def works(self) -> None:
        """The JobManager answers, and runs a job to its end."""
        path = self.write(
            "works.py",
            """
            from sage.core.api import RemoteEnvironment
            with RemoteEnvironment("still-works") as env:
                env.from_batch([20]).map(lambda x: x + 1).print()
                env.submit(autostop=True)
                print(env.get_job_status()["status"])
            """,
        )
        done = self.python(path)
        assert (done.out, done.err) == ("completed\n", "")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def end_all(home: Path) -> list[str]:
    """End a JobManager and all that is left of its jobs; returns the folders of jobs that had processes left."""
    with suppress(FileNotFoundError):
        send_signal(ProcessIdentity.from_json(json.loads((home / "daemon.json").read_text())), signal.SIGKILL)
    left = []
    for folder in (home / "jobs").glob("*-*"):
        with suppress(FileNotFoundError, ValueError, KeyError):
            shim = ProcessIdentity.from_json(json.loads((folder / "shim.json").read_text()))
            if is_alive(shim):
                left.append(str(folder))
                send_signal(shim, signal.SIGKILL)
        if find_processes(str(folder)):
            left.append(str(folder))
            end_processes(str(folder), grace=0.0)
    return left


@contextmanager
def a_user() -> Iterator[User]:
    """A user with a SAGE_HOME of a short path (Unix sockets have 107 bytes for theirs) that is empty."""
    folder = Path(tempfile.mkdtemp(prefix="sage-e2e-"))
    user = User(folder / "home", folder, free_port())
    try:
        yield user
    finally:
        user.close()
        end_all(user.home)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _shared() -> Iterator[User]:
    """The one JobManager that most tests share: alive and free of complaints at the end, and no process is left."""
    with a_user() as user:
        user.sage("jobmanager", "start")
        before = user.daemon
        yield user
        assert user.daemon == before
        assert is_alive(before)
        user.sage("jobmanager", "stop")
        assert not is_alive(before)
        log = (user.home / "logs" / "jobmanager" / "latest.log").read_text()
        complaints = [line for line in log.splitlines() if re.match(r"\S+ (WARNING|ERROR|CRITICAL) ", line)]
        unexpected = [line for line in complaints if "refused" not in line]
        assert unexpected == []
        assert end_all(user.home) == []


@pytest.fixture
def user(_shared: User, tmp_path: Path) -> Iterator[User]:
    """A user of the shared JobManager, in an empty folder."""
    user = _shared.at(tmp_path)
    yield user
    user.close()


@pytest.fixture(scope="module")
def module_user(_shared: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """The same for what all tests of a module look at."""
    user = _shared.at(tmp_path_factory.mktemp("module"))
    yield user
    user.close()


@pytest.fixture
def stranger() -> Iterator[User]:
    """A user with an empty SAGE_HOME of their own, and no JobManager yet."""
    with a_user() as user:
        yield user


NEVER = """
import ctypes
import sys
import time

from sage.core.api import RemoteEnvironment


def sleeps(x):
    print("reached")
    time.sleep(100_000)  # sleeps


def keeps_the_lock(x):
    print("reached")
    ctypes.PyDLL(None).sleep(100_000)  # keeps_the_lock


places = {"port": int(sys.argv[1])} if len(sys.argv) > 1 else {}
for f in (sleeps, keeps_the_lock):
    with RemoteEnvironment(f.__name__, **places) as env:
        env.from_batch([1]).map(f).print()
        print(env.submit())
"""


@dataclass(frozen=True)
class Begun:
    """What ends only when somebody has waited long enough: two jobs that were told to stop, two who ask in vain."""

    user: User
    program: str
    jobs: Mapping[str, str]
    port: int
    asking: Running
    listing: Running


@pytest.fixture(scope="session")
def begun(_shared: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begun]:
    """User code that never returns, told to stop; and a program and a command at a port that never answers."""
    user = _shared.at(tmp_path_factory.mktemp("begun"))
    script = user.write("never.py", NEVER)
    jobs = dict(zip(("sleeps", "keeps_the_lock"), user.python(script).out.split(), strict=True))
    for uuid in jobs.values():
        follower = user.start_sage("job", "logs", "-f", uuid)
        follower.until("reached")
        follower.close()
        user.sage("job", "stop", uuid)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, as its backlog does, and no more
        port = silent.getsockname()[1]
        asking = user.start_python(script, str(port))
        listing = user.start_sage("job", "list", "--json", env={"SAGE_DAEMON__PORT": str(port)})
        yield Begun(user, NEVER, jobs, port, asking, listing)
        user.close()


@pytest.fixture(scope="session", autouse=True)
def _begun_early(request: pytest.FixtureRequest) -> None:
    """Let the waiting pass while other tests run, if there is a test that waits."""
    if any("begun" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("begun")
