"""A runner for the real command, and a JobManager that answers from a script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sage.core.models import JobInfo

TOKEN = "f00d" * 16
COMMAND = Path(sys.executable).with_name("sage")


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The documents of a follower, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Sage:
    """Runs ``sage`` in a child, in a folder and a SAGE_HOME of the test's own, without a terminal."""

    home: Path
    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        own = ("SAGE_", "PYTHON", "TYPER_", "NO_COLOR")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        return {
            **clean,
            "HOME": str(self.folder),
            "SAGE_HOME": str(self.home),
            "PYTHONWARNINGS": "error",
            "COLUMNS": "100",
            **self.env,
            **(extra or {}),
        }

    def __call__(
        self, *args: str | Path, env: Mapping[str, str] | None = None, input: str = "", timeout: float = 120
    ) -> Result:
        done = subprocess.run(
            [COMMAND, *map(str, args)],
            cwd=self.folder,
            env=self.environment(env),
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)


def new_sage(place: Path) -> Sage:
    folder = place / "cwd"
    folder.mkdir()
    return Sage(place / "home", folder)


@pytest.fixture
def sage(tmp_path: Path) -> Sage:
    """The command, with an empty home folder."""
    return new_sage(tmp_path)


@pytest.fixture(scope="session")
def make_sage() -> Callable[[Path], Sage]:
    """Makes the command in a folder, for fixtures that live longer than a test."""
    return new_sage


@dataclass(frozen=True)
class Request:
    """What the command asked."""

    method: str
    path: str
    query: str
    body: bytes
    token: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What the script says."""

    body: Any = None
    status: int = 200
    media_type: str = "application/json"
    held: bool = False

    def to_bytes(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else json.dumps(self.body).encode()


class Scripted:
    """A JobManager that knows no jobs and gives the answers it was told to give."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[Answer]] = {}
        self.requests: list[Request] = []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                url = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                token = self.headers.get("Authorization")
                outer.requests.append(Request(self.command, url.path, url.query, body, token))
                answer = outer.answer(self.command, url.path.removeprefix("/api/v1/"))
                data = answer.to_bytes()
                self.send_response(answer.status)
                if answer.status != 204:
                    self.send_header("Content-Type", answer.media_type)
                    if answer.held:
                        self.close_connection = True
                    else:
                        self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                if answer.held:
                    self.wfile.flush()
                    outer.closing.wait(120)

            do_GET = do_POST = do_DELETE = _serve

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="scripted", daemon=True)
        self._thread.start()

    def answer(self, method: str, path: str) -> Answer:
        """The next answer for this request; the last one is given again."""
        answers = self.answers.get((method, path))
        if not answers:
            return problem(404, "not_found", f"there is no {path}")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def on(self, method: str, path: str, *answers: Answer | Any) -> None:
        """Give these answers, one after the other, to requests for this path."""
        self.answers[method, path] = [item if isinstance(item, Answer) else Answer(item) for item in answers]

    @staticmethod
    def answer_of(body: Any, status: int, media_type: str | None = None) -> Answer:
        """An answer of another status or type."""
        usual = "application/json" if status < 400 else "application/problem+json"
        return Answer(body, status, media_type or usual)

    def job(self, **facts: Any) -> dict[str, Any]:
        """Know a job, by its number and its uuid."""
        info = job(**facts)
        for ref in (info["number"], info["uuid"]):
            self.on("GET", f"jobs/{ref}", info)
        return info

    def log(self, info: Mapping[str, Any], *texts: str) -> None:
        """Let a job have written these pieces, and have ended."""
        events, offset = "", 0
        for text in texts:
            offset += len(text.encode())
            events += f"event: log\ndata: {json.dumps({'offset': offset, 'text': text})}\n\n"
        events += f"event: end\ndata: {json.dumps(info)}\n\n"
        self.on("GET", f"jobs/{info['uuid']}/logs/follow", Answer(events.encode(), 200, "text/event-stream"))
        text = "".join(texts)
        chunk = {"text": text, "offset": 0, "next_offset": offset, "end": True, "truncated": False}
        self.on("GET", f"jobs/{info['uuid']}/logs", chunk)

    def hold(self, path: str, text: str) -> None:
        """Give the beginning of a log, and nothing more while the test lasts."""
        event = f"event: log\ndata: {json.dumps({'offset': len(text), 'text': text})}\n\n"
        self.on("GET", path, Answer(event.encode(), 200, "text/event-stream", held=True))

    def asked(self, method: str) -> list[str]:
        """The paths asked for by a method, with their queries."""
        return [
            request.path.removeprefix("/api/v1/") + (f"?{request.query}" if request.query else "")
            for request in self.requests
            if request.method == method
        ]

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def problem(status: int, code: str, detail: str, hint: str | None = None) -> Answer:
    """An error as a JobManager gives it."""
    body = {"title": code, "status": status, "detail": detail, "code": code, "hint": hint}
    return Answer(body, status, "application/problem+json")


def job(**facts: Any) -> dict[str, Any]:
    """A completed job as the JobManager tells it, but for what is given."""
    known = {
        "number": 3,
        "uuid": "0a1b2c3d-0000-4000-8000-000000000003",
        "name": "numbers",
        "state": "completed",
        "mark": None,
        "reason": None,
        "backend": "local",
        "owner": "admin",
        "attempt": 1,
        "restarts": 0,
        "created_at": "2026-01-02T03:04:05.006Z",
        "started_at": "2026-01-02T03:04:05.100Z",
        "ended_at": "2026-01-02T03:04:07.600Z",
        "running": False,
        "tasks": 3,
        "services": 0,
        "records_in": 100,
        "records_out": 50,
        "last_checkpoint": None,
        "failure": None,
        "env_vars": [],
    }
    data: dict[str, Any] = json.loads(json.dumps(JobInfo.from_json({**known, **facts}).to_json()))
    return data


@pytest.fixture
def jobmanager(sage: Sage) -> Iterator[Scripted]:
    """A scripted JobManager that `sage` is configured to use, with a token."""
    scripted = Scripted()
    sage.home.mkdir(mode=0o700)
    token = sage.home / "token"
    token.touch(0o600)
    token.write_text(TOKEN + "\n")
    sage.env["SAGE_DAEMON__PORT"] = str(scripted.port)
    yield scripted
    scripted.close()


@pytest.fixture
def plugin(sage: Any, tmp_path: Path) -> Any:
    """Install a distribution of one module, as a folder on PYTHONPATH, with entry points."""
    place = tmp_path / "site"

    def install(
        name: str,
        source: str,
        names: Mapping[str, str],
        helps: Mapping[str, str] | None = None,
        group: str = "sage.commands",
    ) -> None:
        module = name.replace("-", "_")
        (place / module).mkdir(parents=True)
        (place / module / "__init__.py").write_text(source)
        if helps is not None:
            (place / module / "sage_commands.json").write_text(json.dumps(helps))
        info = place / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\nSummary: What {name} does.\n"
        )
        lines = [f"{item} = {target}" for item, target in names.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        sage.env["PYTHONPATH"] = str(place)

    return install
