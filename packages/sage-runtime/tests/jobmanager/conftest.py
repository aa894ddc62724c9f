"""A real daemon process on a free port in a folder of its own, and packages of real pipelines for it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sage.core.client import JobManagerClient
from sage.core.client.package import MEDIA_TYPE
from sage.runtime.shim.processes import ProcessIdentity, is_alive, send_signal
from sage.runtime.shim.sweep import end_processes

LIMIT = 60.0
"""Seconds after which a test that waits has failed; nothing here takes as long."""

PIPELINES = """
import json
import os
from pathlib import Path

from sage.core.api import STOP, LocalEnvironment, SinkFunction, SourceFunction


class Held(SourceFunction):
    '''Three records, then nothing until the file `release` is in the job's folder of work.'''

    def __init__(self) -> None:
        self.count = 0

    def execute(self):
        self.count += 1
        if self.count <= 3:
            return self.count
        return STOP if Path("release").exists() else None


class Print(SinkFunction):
    def execute(self, value):
        print("got", value, flush=True)


def broken(value):
    raise ValueError(f"cannot take {value}")


def lines(value):
    for number in range(2000):
        print(f"line {value * 2000 + number} " + "x" * 40)
    return value


def quit_process(value):
    os._exit(3)


def boast(value):
    '''Tells the shim, in the name of the job process, more records than any index can hold.'''
    links = {fd: Path("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")}
    line = next(fd for fd, link in links.items() if link.is_symlink() and os.readlink(link).startswith("socket:"))
    sink = {"uid": "sink:Print", "name": "Print", "kind": "sink", "parallelism": 1, "records_in": 2**63 - 1}
    metrics = {"tasks": 1, "running_tasks": 1, "operators": [{**sink, "records_out": 0}] * 2, "edges": []}
    os.write(int(line), json.dumps({"event": "metrics", "metrics": metrics}).encode() + b"\\n")
    os._exit(0)


def submit(name, build):
    env = LocalEnvironment(name)
    build(env)
    env.submit()


submit("quick", lambda env: env.from_collection([1, 2, 3]).map(lambda x: 2 * x).sink(Print))
submit("held", lambda env: env.from_source(Held).sink(Print))
submit("split", lambda env: env.from_source(Held).map(lambda x: 2 * x, parallelism=2).sink(Print))
submit("broken", lambda env: env.from_collection([7]).map(broken).sink(Print))
submit("chatty", lambda env: env.from_collection([0, 1, 2]).map(lines).sink(Print))
submit("boasts", lambda env: env.from_collection([1]).map(boast).sink(Print))
submit("exits", lambda env: env.from_collection([1]).map(quit_process).sink(Print))
"""


@dataclass(frozen=True)
class Answer:
    """A response, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem."""
        assert self.headers["content-type"] == "application/problem+json", self
        problem = self.json()
        assert problem["status"] == self.status
        assert {"type", "title", "detail", "code", "hint", "exit_code"} <= problem.keys()
        return str(problem["code"])


class DaemonProcess:
    """A daemon on ``home``; started and ended at will."""

    def __init__(self, home: Path, settings: str = "", env: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("SAGE_")}
        self.env |= {"SAGE_HOME": str(home), "XDG_RUNTIME_DIR": str(home.parent), **(env or {})}
        self.host = "127.0.0.1"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        if settings:
            home.mkdir(mode=0o700, exist_ok=True)
            (home / "config.yaml").write_text(textwrap.dedent(settings))

    def start(self, *arguments: str, preexec: Callable[[], None] | None = None) -> DaemonProcess:
        answer = self.try_start(*arguments, preexec=preexec)
        assert answer.get("ok") is True, answer
        self.host, self.port = answer["host"], answer["port"]
        return self

    def try_start(self, *arguments: str, preexec: Callable[[], None] | None = None) -> dict[str, Any]:
        """Start it and return what it says on its ready descriptor."""
        read_end, write_end = os.pipe()
        port = () if "--port" in arguments else ("--port", str(self.port))
        command = [sys.executable, "-P", "-m", "sage.runtime.jobmanager", "--ready-fd", str(write_end), *port]
        self.process = subprocess.Popen(
            [*command, *arguments],
            env=self.env,
            pass_fds=[write_end],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=preexec,
        )
        os.close(write_end)
        with os.fdopen(read_end, "rb") as ready:
            assert select.select([ready], [], [], LIMIT)[0], "the daemon says nothing"
            line = ready.readline()
        if not line:
            return {"status": self.process.wait(LIMIT)}
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def token(self) -> str:
        return (self.home / "token").read_text().strip()

    @property
    def session_log(self) -> str:
        return (self.home / "logs" / "jobmanager" / "latest.log").read_text()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(LIMIT)

    def clear(self) -> None:
        """End the daemon and whatever is left of its jobs."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for folder in (self.home / "jobs").glob("*-*"):
            with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
                shim = ProcessIdentity.from_json(json.loads((folder / "shim.json").read_text()))
                if is_alive(shim):
                    send_signal(shim, signal.SIGKILL)
            assert end_processes(str(folder), grace=0.0) == []

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=LIMIT)

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        media_type: str | None = None,
        token: str | None = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own; with the right token unless another or None is given."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=LIMIT)
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.token}"
        if media_type is not None:
            sent["Content-Type"] = media_type
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            content = response.read()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, content)
        finally:
            connection.close()

    def api(self, method: str, path: str, data: Any = None) -> Answer:
        """A request below ``/api/v1``, with JSON."""
        if data is None:
            return self.ask(method, f"/api/v1/{path}")
        return self.ask(method, f"/api/v1/{path}", body=json.dumps(data).encode(), media_type="application/json")

    def submit(self, package: bytes) -> Answer:
        return self.ask("POST", "/api/v1/jobs", body=package, media_type=MEDIA_TYPE)

    def client(self) -> JobManagerClient:
        return JobManagerClient(self.host, self.port, self.token)

    def job(self, ref: str | int) -> dict[str, Any]:
        answer = self.api("GET", f"jobs/{ref}")
        assert answer.status == 200, answer
        job: dict[str, Any] = answer.json()
        return job

    def wait(self, ref: str | int, state: str = "ended") -> dict[str, Any]:
        """The job once it is in that state; fails if it never gets there."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            job: dict[str, Any] = self.api("GET", f"jobs/{ref}?wait=30&state={state}").json()
            if state in ("ended", job["state"]) and (state != "ended" or job["ended_at"]):
                return job
            assert job["ended_at"] is None, job
        raise AssertionError(f"job {ref} is not {state}: {job}")

    def folder(self, job_uuid: str) -> Path:
        return self.home / "jobs" / job_uuid

    def release(self, job_uuid: str) -> None:
        """Let a held job go on."""
        (self.folder(job_uuid) / "work" / "release").touch()

    def submitted(self, package: bytes) -> dict[str, Any]:
        """Submit it and return the job."""
        answer = self.submit(package)
        assert answer.status == 201, answer
        job: dict[str, Any] = answer.json()
        return job

    def history(self, ref: str | int) -> list[str]:
        """The states that a job went through."""
        return [item["state"] for item in self.api("GET", f"jobs/{ref}/history").json()["items"]]


class Packages:
    """Packages of real pipelines, each under a new uuid."""

    def __init__(self, made: Mapping[str, bytes]) -> None:
        self._made = made

    def __call__(self, name: str, **changes: Any) -> bytes:
        """The package of the pipeline ``name``; ``changes`` are laid over its manifest, ``job`` over its job."""
        return change_manifest(self._made[name], **{"job": {"uuid": str(uuid.uuid4())}, **changes})


def change_manifest(package: bytes, **changes: Any) -> bytes:
    """The package with another manifest, everything else as it was."""
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        members = {name: archive.read(name) for name in archive.namelist()[1:]}
    job = {**manifest["job"], **changes.pop("job", {})}
    return make_package({**manifest, **changes, "job": job}, members)


def make_package(manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> bytes:
    """A package of just these parts; the manifest declares them unless it has ``files`` that say otherwise."""
    files = [
        {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in members.items()
    ]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps({"files": files, **manifest}))
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def uuid_of(package: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return str(json.loads(archive.read("manifest.json"))["job"]["uuid"])


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Packages made by a program of their own, as a user's would make them."""
    folder = tmp_path_factory.mktemp("packages")
    script = folder / "pipelines.py"
    script.write_text(PIPELINES)
    env = {name: value for name, value in os.environ.items() if not name.startswith("SAGE_")}
    env |= {"SAGE_CAPTURE": str(folder / "made"), "SAGE_HOME": str(folder / "home")}
    (folder / "made").mkdir()
    subprocess.run([sys.executable, str(script)], env=env, check=True, timeout=LIMIT)
    made = {}
    for path in sorted((folder / "made").glob("*.sagepkg")):
        with zipfile.ZipFile(path) as archive:
            made[json.loads(archive.read("manifest.json"))["job"]["name"]] = path.read_bytes()
    return Packages(made)


@pytest.fixture(scope="module")
def module_folder() -> Iterator[Path]:
    """A folder with a short path: Unix sockets have 107 bytes for theirs."""
    folder = Path(tempfile.mkdtemp(prefix="sagejm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def daemon(module_folder: Path) -> Iterator[DaemonProcess]:
    """One daemon for all tests of a module that leave it as it is."""
    daemon = DaemonProcess(module_folder / "home").start()
    yield daemon
    daemon.clear()


def _makes_daemons() -> Iterator[Callable[..., DaemonProcess]]:
    made: list[tuple[DaemonProcess, Path]] = []

    def make(settings: str = "", env: Mapping[str, str] | None = None, home: Path | None = None) -> DaemonProcess:
        folder = Path(tempfile.mkdtemp(prefix="sagejm"))
        daemon = DaemonProcess(home or folder / "home", settings, env)
        made.append((daemon, folder))
        return daemon

    yield make
    for daemon, _ in made:
        daemon.clear()
    for _, folder in made:
        shutil.rmtree(folder)


@pytest.fixture
def make_daemon() -> Iterator[Callable[..., DaemonProcess]]:
    """Makes daemons (not started yet), each in a home of its own; ends them with all that is left of their jobs."""
    yield from _makes_daemons()


@pytest.fixture(scope="module")
def make_module_daemon() -> Iterator[Callable[..., DaemonProcess]]:
    """The same, for daemons that serve all tests of a module."""
    yield from _makes_daemons()
