"""The client against a scripted server: requests, models, kept connections, and every way not to reach a JobManager."""

from __future__ import annotations

import gc
import json
import linecache
import os
import pickle
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from sage.core import errors
from sage.core.client import JobManagerClient, _answers, _http
from sage.core.client.package import MEDIA_TYPE
from sage.core.config.schema import Config, Daemon, Tls
from sage.core.errors import (
    ConfigError,
    ConflictError,
    DaemonUnreachableError,
    InvalidPackageError,
    JobManagerError,
    LimitExceededError,
    NotAllowedError,
    NotFoundError,
    SageError,
    UnknownBackendError,
    VersionMismatchError,
    WaitTimeoutError,
)
from sage.core.models import FailureInfo, JobInfo, LogChunk, Page

UUID = "0b5e1f6a-7f0e-4a52-9d0c-3f1a2b3c4d5e"
LONG = 60.0  # seconds that nothing here ever takes; only a bug does
INFO = {
    "sage": "0.1.0",
    "api": 1,
    "python": "3.11",
    "implementation": "cpython",
    "cloudpickle": "3.1.2",
    "pid": 7,
    "started_at": "2026-01-01T00:00:00.000Z",
    "session_log": "/x.log",
    "backends": ["inline", "local"],
}


def job(state: str = "running", **more: Any) -> dict[str, Any]:
    return {"number": 1, "uuid": UUID, "name": "count", "state": state, **more}


@dataclass
class Seen:
    """A request as it arrived; `connection` tells connections apart."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


@dataclass
class Reply:
    """What the server answers.

    Attributes:
        body: JSON data, or bytes as they are.
        drop: close the connection instead of answering.
        hang_up: close the connection after the answer, without having said so.
        early: answer before the body is read, then close.
        stream: pieces sent after the head, then the connection is closed; an Event is waited for.
    """

    body: Any = None
    status: int = 200
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    hang_up: bool = False
    early: bool = False
    stream: list[str | threading.Event] | None = None


def problem(status: int, code: str, detail: str = "no", **more: Any) -> Reply:
    body = {"title": "t", "status": status, "detail": detail, "code": code, "hint": None, "exit_code": 9, **more}
    return Reply(body, status, "application/problem+json; charset=utf-8")


def event(name: str, data: Any, id: int | None = None) -> str:
    return f"event: {name}\n" + (f"id: {id}\n" if id is not None else "") + f"data: {json.dumps(data)}\n\n"


def change(seq: int, state: str) -> str:
    data = {"seq": seq, "time": "2026-01-01T00:00:00.000Z", "state": state, "attempt": 1, "epoch": 1}
    return event("state", data, seq)


class Peer:
    """A server that answers from a script: one reply after the other for each resource, the last one for ever."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self._script: dict[str, list[Reply]] = {}
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = LONG

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                peer._answer(self)

            do_POST = do_DELETE = do_GET

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, address: Any) -> None:
                """A client that closes early is part of what is tested."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="peer")
        self._thread.start()

    def on(self, request: str, *replies: Reply) -> None:
        """Answer `request` ("GET jobs/1", without the query) with these."""
        self._script[request] = list(replies)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0].removeprefix("/api/v1/")
        replies = self._script.get(f"{handler.command} {path}", [problem(404, "not_found")])
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        length = 0 if reply.early else int(handler.headers.get("Content-Length", 0))
        body = handler.rfile.read(length)
        connection = handler.client_address[1]
        self.seen.append(Seen(handler.command, handler.path, dict(handler.headers), body, connection))
        if reply.drop:
            handler.close_connection = True
            return
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        if reply.stream is None:
            handler.send_header("Content-Type", reply.media)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
            handler.close_connection = reply.hang_up or reply.early
            return
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for piece in reply.stream:
            if isinstance(piece, threading.Event):
                piece.wait(LONG)
            else:
                handler.wfile.write(piece.encode())
        handler.close_connection = True

    def targets(self, method: str = "GET") -> list[str]:
        return [seen.target.removeprefix("/api/v1/") for seen in self.seen if seen.method == method]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SAGE_HOME of the test's own, and none of the caller's settings."""
    for name in [name for name in os.environ if name.startswith("SAGE_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("SAGE_HOME", str(home))
    return home


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def client(peer: Peer) -> Iterator[JobManagerClient]:
    with JobManagerClient("127.0.0.1", peer.port, "s3cret", timeout=LONG) as client:
        yield client


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "package.zip"
    path.write_bytes(os.urandom(300_000))
    return path


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does whatever `talk` does with each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed: the test is over
            with connection:
                try:
                    talk(connection)
                except OSError:
                    continue  # the client has gone

    thread = threading.Thread(target=serve, name="raw-server")
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def unreachable(port: int, **more: Any) -> DaemonUnreachableError:
    with (
        JobManagerClient("127.0.0.1", port, "s3cret", **more) as client,
        pytest.raises(DaemonUnreachableError) as caught,
    ):
        client.info()
    assert caught.value.exit_code == 4
    return caught.value


def reason(error: BaseException) -> str:
    value = vars(error)["reason"]
    assert isinstance(value, str)
    return value


# Requests and models


def test_info_comes_as_a_model(peer: Peer, client: JobManagerClient) -> None:
    """The token travels as a header; nothing of it is in the address."""
    peer.on("GET info", Reply({**INFO, "newer_field": 1}))
    info = client.info()
    assert (info.sage, info.api, info.backends) == ("0.1.0", 1, ("inline", "local"))
    (seen,) = peer.seen
    assert seen.target == "/api/v1/info"
    assert seen.headers["Authorization"] == "Bearer s3cret"
    assert seen.headers["Host"] == f"127.0.0.1:{peer.port}"


def test_without_a_token_none_is_sent(peer: Peer) -> None:
    """No header at all, rather than an empty one."""
    peer.on("GET info", Reply(INFO))
    with JobManagerClient("127.0.0.1", peer.port) as client:
        client.info()
    assert "Authorization" not in peer.seen[0].headers


def test_jobs_are_asked_for_in_pages(peer: Peer, client: JobManagerClient) -> None:
    """Only what is given goes into the query, escaped."""
    peer.on("GET jobs", Reply({"items": [job(), job("failed")], "next_cursor": "c"}))
    page = client.jobs(state="failed", name="a&b c", limit=2)
    assert isinstance(page, Page)
    assert [item.state for item in page.items] == ["running", "failed"]
    assert page.next_cursor == "c"
    client.jobs()
    assert peer.targets() == ["jobs?state=failed&name=a%26b+c&limit=2", "jobs"]


def test_a_job_comes_with_its_failure(peer: Peer, client: JobManagerClient) -> None:
    """Nested models are models."""
    peer.on("GET jobs/1", Reply(job("failed", failure={"kind": "user_code", "message": "boom", "operator": "map"})))
    info = client.job(1)
    assert info.failure == FailureInfo("user_code", "boom", operator="map")
    assert info.is_ended


def test_each_resource_has_its_method(peer: Peer, client: JobManagerClient) -> None:
    """Paths, queries and models of what is told about one job."""
    operator = {"uid": "map:f", "name": "f", "kind": "map", "parallelism": 1, "records_in": 3, "records_out": 3}
    past = [{"seq": 1, "time": "t", "state": "submitted"}, {"seq": 2, "time": "t", "state": "queued", "failure": None}]
    chunk = {"text": "hé\n", "offset": 5, "next_offset": 9, "end": True, "truncated": True}
    failure = {"kind": "process", "message": "killed", "signal": "SIGKILL", "time": "t", "attempt": 1}
    peer.on("GET jobs/1/graph", Reply({"operators": []}))
    peer.on("GET jobs/1/metrics", Reply({"tasks": 2, "operators": [operator]}))
    peer.on("GET jobs/1/history", Reply({"items": past}))
    peer.on("GET jobs/1/failures", Reply({"items": [failure]}))
    peer.on("GET jobs/1/logs", Reply(chunk))
    assert client.graph("1") == {"operators": []}
    assert client.metrics("1").operators[0].records_in == 3
    assert [each.state for each in client.history("1")] == ["submitted", "queued"]
    assert client.failures("1") == [FailureInfo("process", "killed", signal="SIGKILL")]
    assert client.logs("1", offset=5, limit=10) == LogChunk("hé\n", 5, 9, end=True, truncated=True)
    assert peer.targets()[-1] == "jobs/1/logs?stream=job&offset=5&limit=10"


def test_jobs_are_told_what_to_do(peer: Peer, client: JobManagerClient) -> None:
    """The answer is the job on its way."""
    for name in ("stop", "cancel", "continue"):
        peer.on(f"POST jobs/1/{name}", Reply(job("cancelling"), 202))
    assert client.stop("1").state == client.cancel("1").state == client.continue_("1").state == "cancelling"
    assert peer.targets("POST") == ["jobs/1/stop", "jobs/1/cancel", "jobs/1/continue"]


@pytest.mark.parametrize("reply", [Reply(b"", 204), Reply(job("completed"))])
def test_jobs_are_deleted(peer: Peer, client: JobManagerClient, reply: Reply) -> None:
    """With and without an answer's body, with and without force."""
    peer.on("DELETE jobs/1", reply)
    client.delete("1")
    client.delete("1", force=True)
    assert peer.targets("DELETE") == ["jobs/1", "jobs/1?force=true"]


def test_cleanup_says_what_to_remove(peer: Peer, client: JobManagerClient) -> None:
    """Only what is given is in the document."""
    peer.on("POST cleanup", Reply({"items": [job("failed")]}))
    assert [each.state for each in client.cleanup(states={"failed"}, older_than=60.0, jobs=[1, "abcd"])] == ["failed"]
    client.cleanup()
    assert [json.loads(seen.body) for seen in peer.seen] == [
        {"states": ["failed"], "older_than": 60.0, "jobs": ["1", "abcd"]},
        {},
    ]
    assert peer.seen[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("ref", ["", "a/b", "..", "?", "a b", "ü", "-1", "x" * 65])
def test_what_cannot_name_a_job_is_not_asked_for(peer: Peer, client: JobManagerClient, ref: str) -> None:
    """A reference never changes which resource is meant."""
    with pytest.raises(NotFoundError, match="cannot name a job"):
        client.delete(ref)
    assert peer.seen == []


# Submission


def test_a_package_is_sent_as_it_is(peer: Peer, client: JobManagerClient, package: Path) -> None:
    """After one look at who is there; further submissions do not look again."""
    peer.on("GET info", Reply(INFO))
    peer.on("POST jobs", Reply(job("submitted"), 201), Reply(job("submitted")))
    assert client.submit(package) == client.submit(package) == JobInfo(1, UUID, "count", "submitted")
    assert [seen.method for seen in peer.seen] == ["GET", "POST", "POST"]
    assert peer.seen[1].body == peer.seen[2].body == package.read_bytes()
    assert peer.seen[1].headers["Content-Type"] == MEDIA_TYPE
    assert peer.seen[1].headers["Content-Length"] == "300000"


@pytest.mark.parametrize(("api", "hint"), [(2, "upgrade SAGE here"), (0, "upgrade SAGE there")])
def test_another_api_is_refused_before_anything_is_sent(
    peer: Peer, client: JobManagerClient, package: Path, api: int, hint: str
) -> None:
    """Both versions are named."""
    peer.on("GET info", Reply({**INFO, "api": api, "sage": "9.9"}))
    with pytest.raises(
        VersionMismatchError, match=f"SAGE 9.9.* version {api} of the API, this client version 1"
    ) as caught:
        client.submit(package)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(hint)
    assert peer.targets("POST") == []


def test_no_package_is_sent_to_a_stranger(peer: Peer, client: JobManagerClient, package: Path) -> None:
    """Another service on the port gets no code."""
    peer.on("GET info", Reply({"hello": "world"}))
    with pytest.raises(DaemonUnreachableError) as caught:
        client.submit(package)
    assert reason(caught.value) == "not_sage"
    assert peer.targets("POST") == []


def test_a_refusal_before_the_end_of_a_large_package_is_heard(
    peer: Peer, client: JobManagerClient, tmp_path: Path
) -> None:
    """A JobManager that answers and closes while the package is under way is not taken for a broken connection."""
    large = tmp_path / "large.zip"
    with large.open("wb") as file:
        file.truncate(64 << 20)
    peer.on("GET info", Reply(INFO))
    refusal = problem(413, "limit", "too large")
    refusal.early = True
    peer.on("POST jobs", refusal)
    with pytest.raises(LimitExceededError, match="too large"):
        client.submit(large)


def test_a_package_is_sent_again_when_a_kept_connection_dies(
    peer: Peer, client: JobManagerClient, package: Path
) -> None:
    """From its first byte on: submitting is safe to repeat."""
    peer.on("GET info", Reply(INFO))
    peer.on("POST jobs", Reply(drop=True), Reply(job("submitted"), 201))
    assert client.submit(package).state == "submitted"
    assert [seen.body for seen in peer.seen if seen.method == "POST"] == [package.read_bytes()] * 2


def test_a_missing_package_is_the_callers_error(peer: Peer, client: JobManagerClient, tmp_path: Path) -> None:
    """Nothing is asked of the JobManager then."""
    with pytest.raises(FileNotFoundError):
        client.submit(tmp_path / "none.zip")
    assert peer.seen == []


def test_an_empty_package_is_not_sent(peer: Peer, client: JobManagerClient, tmp_path: Path) -> None:
    """It is no package, whoever looks at it; nothing is asked of the JobManager."""
    (tmp_path / "empty.zip").touch()
    with pytest.raises(InvalidPackageError, match=r"empty\.zip: the package is empty"):
        client.submit(tmp_path / "empty.zip")
    assert peer.seen == []


def test_a_refused_package_is_named(peer: Peer, client: JobManagerClient, package: Path) -> None:
    """The JobManager knows no file; the error does, and says what to do."""
    peer.on("GET info", Reply(INFO))
    peer.on("POST jobs", problem(400, "invalid_package", "the package is not valid: it is cut off"))
    with pytest.raises(InvalidPackageError, match=r"package\.zip: the package is not valid: it is cut off") as caught:
        client.submit(package)
    assert "submit the program itself" in (caught.value.hint or "")


def test_an_answer_of_conflict_is_an_error_of_its_own(peer: Peer, client: JobManagerClient, package: Path) -> None:
    """The same uuid with other content."""
    peer.on("GET info", Reply(INFO))
    peer.on("POST jobs", problem(409, "conflict", "submitted before"))
    with pytest.raises(ConflictError, match="submitted before"):
        client.submit(package)


# Connections


def test_connections_are_kept(peer: Peer, client: JobManagerClient) -> None:
    """One connection carries several requests."""
    peer.on("GET info", Reply(INFO))
    for _ in range(3):
        client.info()
    assert len({seen.connection for seen in peer.seen}) == 1


def test_a_connection_that_was_closed_meanwhile_is_made_anew(peer: Peer, client: JobManagerClient) -> None:
    """Whether the end is seen before the next request is sent or only after it."""
    peer.on("GET info", Reply(INFO, hang_up=True), Reply(INFO), Reply(drop=True), Reply(INFO))
    for _ in range(3):
        client.info()
    assert len({seen.connection for seen in peer.seen}) == 3
    assert len(peer.seen) == 4


def test_a_fresh_connection_that_dies_is_an_error(peer: Peer, client: JobManagerClient) -> None:
    """There is no third try."""
    peer.on("GET info", Reply(INFO), Reply(drop=True))
    client.info()
    with pytest.raises(DaemonUnreachableError) as caught:
        client.info()
    assert reason(caught.value) == "closed"
    assert len(peer.seen) == 3


def test_what_is_not_safe_to_repeat_is_not_repeated(peer: Peer, client: JobManagerClient) -> None:
    """It is sent once, on a new connection, and the hint says that it may have been done."""
    peer.on("GET info", Reply(INFO))
    peer.on("POST jobs/1/stop", Reply(drop=True))
    client.info()
    with pytest.raises(DaemonUnreachableError, match="may have been done"):
        client.stop("1")
    assert peer.targets("POST") == ["jobs/1/stop"]


def test_threads_share_a_client(peer: Peer, client: JobManagerClient) -> None:
    """Each answer reaches the one who asked."""
    for number in range(8):
        peer.on(f"GET jobs/{number}", Reply(job(name=f"job-{number}")))
    wrong: list[str] = []

    def ask(number: int) -> None:
        names = {client.job(number).name for _ in range(20)}
        if names != {f"job-{number}"}:
            wrong.append(f"{number}: {names}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_client_says_so(peer: Peer) -> None:
    """Closing twice is fine; using it after is not."""
    client = JobManagerClient("127.0.0.1", peer.port)
    client.close()
    client.close()
    with pytest.raises(JobManagerError, match="was closed"):
        client.info()


@pytest.mark.parametrize(
    ("host", "port", "token"),
    [("", 1, None), ("a b", 1, None), ("http://x", 1, None), ("x", 0, None), ("x", 65536, None), ("x", 1, "a b"),
     ("x", 1, ""), ("x", 1, "a\r\nHost: y"), ("x", 1, "é")],
)  # fmt: skip
def test_nonsense_is_refused_when_the_client_is_made(host: str, port: int, token: str | None) -> None:
    """Neither address nor token can smuggle anything into a request."""
    with pytest.raises(ConfigError):
        JobManagerClient(host, port, token)


# Problems


SIMPLE = [
    cls
    for name in errors.__all__
    if isinstance(cls := getattr(errors, name), type)
    and issubclass(cls, SageError)
    and cls.__init__ is SageError.__init__
]


@pytest.mark.parametrize("cls", SIMPLE, ids=lambda cls: cls.__name__)
def test_every_code_is_told_by_its_class(peer: Peer, client: JobManagerClient, cls: type[SageError]) -> None:
    """`code` finds the class; message, hint and status are kept, also across processes."""
    peer.on("GET info", problem(409, cls.code, "what happened", hint="what to do"))
    with pytest.raises(SageError) as caught:
        client.info()
    error = caught.value
    assert type(error) is cls
    assert (error.message, error.hint, error.code) == ("what happened", "what to do", cls.code)
    copy = pickle.loads(pickle.dumps(error))
    assert vars(copy) == vars(error)
    assert vars(error)["status"] == 409


def test_all_errors_of_the_jobmanager_have_a_code_of_their_own() -> None:
    """No two classes share a code, and none that a JobManager sends is left out."""
    codes = [cls.code for cls in SIMPLE]
    assert len(set(codes)) == len(codes)
    sent = {"not_found", "ambiguous", "wrong_state", "conflict", "version", "invalid_package", "limit", "not_allowed"}
    assert sent | {"internal", "unknown_backend"} <= set(codes)
    assert set(_answers._classes()) == set(codes)


def test_what_an_error_is_about_is_kept(peer: Peer, client: JobManagerClient) -> None:
    """Attributes that the class declares are taken; nothing else of the other side becomes one."""
    facts: dict[str, Any] = {
        "installed": ["inline"],
        "plugin": "x",
        "args": "evil",
        "add_note": 1,
        "__class__": 2,
        "surprise": 3,
    }
    peer.on("GET info", problem(422, "unknown_backend", **facts))
    with pytest.raises(UnknownBackendError) as caught:
        client.info()
    assert caught.value.installed == ["inline"]
    assert not {"args", "add_note", "__class__", "surprise"} & set(vars(caught.value))


@pytest.mark.parametrize(
    ("token", "hint"), [(None, "no token was given or found"), ("x", "that of another JobManager")]
)
def test_a_token_that_is_missing_or_wrong_has_a_hint(peer: Peer, token: str | None, hint: str) -> None:
    """The JobManager cannot tell the two apart; the client can."""
    peer.on("GET info", problem(401, "not_allowed", "the token is missing or wrong", hint="send a header"))
    with (
        JobManagerClient("127.0.0.1", peer.port, token) as client,
        pytest.raises(NotAllowedError, match=hint) as caught,
    ):
        client.info()
    assert caught.value.exit_code == 5


def test_unknown_codes_stay_readable(peer: Peer, client: JobManagerClient) -> None:
    """A newer JobManager's error keeps its code and exit code."""
    peer.on("GET info", problem(400, "brand_new", "something new", exit_code=2))
    with pytest.raises(JobManagerError, match="something new") as caught:
        client.info()
    assert type(caught.value) is JobManagerError
    assert (caught.value.code, caught.value.exit_code) == ("brand_new", 2)


@pytest.mark.parametrize("exit_code", [0, -1, 256, "9", True, None])
def test_a_nonsensical_exit_code_is_not_taken(peer: Peer, client: JobManagerClient, exit_code: object) -> None:
    """No error ends a command as if all were well."""
    peer.on("GET info", problem(400, "brand_new", exit_code=exit_code))
    with pytest.raises(JobManagerError) as caught:
        client.info()
    assert caught.value.exit_code == JobManagerError.exit_code


def test_texts_of_the_other_side_do_not_steer_a_terminal(peer: Peer, client: JobManagerClient) -> None:
    """Control characters are replaced, length is bounded."""
    peer.on("GET info", problem(404, "not_found", "a\x1b[2Jb" + "x" * 100_000, hint=["no text"]))
    with pytest.raises(NotFoundError) as caught:
        client.info()
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 10_000
    assert caught.value.hint is None


# Not reached


def test_nobody_listens(home: Path) -> None:
    """The hint is the command that starts one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = unreachable(port)
    assert error.message == f"no JobManager listens at 127.0.0.1:{port}"
    assert (error.hint, reason(error)) == ("start it: sage jobmanager start", "refused")
    assert (vars(error)["host"], vars(error)["port"]) == ("127.0.0.1", port)


def test_the_wrong_port_is_told_by_the_one_that_runs(home: Path) -> None:
    """If the JobManager of this SAGE_HOME listens elsewhere, the hint names its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    running = {"host": "127.0.0.1", "port": 19555, **this_process()}
    (home / "daemon.json").write_text(json.dumps(running))
    assert "--port 19555" in str(unreachable(port))
    stale: list[Mapping[str, Any]] = [
        {"start_time": running["start_time"] - 1},
        {"boot_id": "another"},
        {"pid": 1 << 30},
    ]
    for text in ["{", *(json.dumps({**running, **other}) for other in stale)]:
        (home / "daemon.json").write_text(text)
        assert "sage jobmanager start" in str(unreachable(port)), text


def test_the_wrong_jobmanager_is_told_by_the_one_that_runs(peer: Peer, client: JobManagerClient, home: Path) -> None:
    """Who speaks to a stranger, or to a JobManager that knows another token, learns where the own one is."""
    running = {"host": "127.0.0.1", "port": 19555, **this_process()}
    (home / "daemon.json").write_text(json.dumps(running))
    peer.on("GET info", problem(401, "not_allowed"), Reply({"hello": "world"}, media="text/html"))
    for kind in (NotAllowedError, DaemonUnreachableError):
        with pytest.raises(kind, match="--port 19555"):
            client.info()
    (home / "daemon.json").write_text(json.dumps({**running, "port": peer.port}))
    with pytest.raises(DaemonUnreachableError, match="another service listens on that port"):
        client.info()


def this_process() -> dict[str, Any]:
    """What a JobManager that is this process would say of itself."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"pid": os.getpid(), "start_time": int(fields[19]), "boot_id": boot}


def test_a_host_that_cannot_be_a_name() -> None:
    """What the resolver cannot take is told as an unknown host."""
    with JobManagerClient("a..b", 1) as client, pytest.raises(DaemonUnreachableError) as caught:
        client.info()
    assert reason(caught.value) == "unresolved"


def test_a_peer_that_says_nothing() -> None:
    """The time-out is named."""
    ended = threading.Event()

    def say_nothing(connection: socket.socket) -> None:
        ended.wait(LONG)

    with raw_server(say_nothing) as port:
        error = unreachable(port, timeout=0.2)
        ended.set()
    assert reason(error) == "timeout"
    assert "did not answer GET /api/v1/info within 0.2 s" in error.message


def test_a_peer_that_trickles() -> None:
    """One byte now and then does not stretch the time for an answer."""
    ended = threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not ended.wait(0.02):
            connection.sendall(b"x")

    with raw_server(trickle) as port:
        error = unreachable(port, timeout=0.3)
        ended.set()
    assert reason(error) == "timeout"


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b"-ERR unknown\r\n"])
def test_something_that_is_no_http(banner: bytes) -> None:
    """The port belongs to something else altogether."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(banner)
        connection.recv(65536)

    with raw_server(talk) as port:
        error = unreachable(port)
    assert reason(error) == "not_http"
    assert "does not speak HTTP" in error.message


def test_something_that_closes_at_once() -> None:
    """Closing without a word is told apart from refusing."""
    with raw_server(lambda connection: None) as port:
        error = unreachable(port)
    assert reason(error) == "closed"


def test_an_answer_that_breaks_off() -> None:
    """Half an answer is none."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")

    with raw_server(talk) as port:
        error = unreachable(port)
    assert reason(error) == "closed"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>hello</html>", media="text/html"),
        Reply(b"<html>not here</html>", 404, "text/html"),
        Reply({"detail": "Not Found"}, 404),
        Reply({"detail": "no code"}, 404, "application/problem+json"),
        Reply(b"{", 500, "application/problem+json"),
        Reply([1], 500, "application/problem+json"),
        Reply(b"{"),
        Reply(b"\xff"),
        Reply([1, 2]),
        Reply({"hello": "world"}),
        Reply(b"[" * 100_000),
        Reply(b"", 204),
        Reply(b"", 304),
    ],
)
def test_http_that_is_no_jobmanager(peer: Peer, client: JobManagerClient, reply: Reply) -> None:
    """Another service on the port: the hint says to take another one."""
    peer.on("GET info", reply)
    with pytest.raises(DaemonUnreachableError, match="answers, but not as a SAGE JobManager does") as caught:
        client.info()
    assert reason(caught.value) == "not_sage"
    assert caught.value.hint is not None
    assert "sage jobmanager start --port" in caught.value.hint
    assert str(reply.status) in caught.value.message


def test_redirects_are_not_followed(peer: Peer, client: JobManagerClient) -> None:
    """The token goes to the configured address and nowhere else."""
    other = Peer()
    try:
        peer.on("GET info", Reply(b"", 302, headers={"Location": f"http://127.0.0.1:{other.port}/api/v1/info"}))
        with pytest.raises(DaemonUnreachableError, match="302"):
            client.info()
        assert other.seen == []
    finally:
        other.close()


def test_proxies_are_not_used(peer: Peer, client: JobManagerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables for web browsers do not divert the token."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    peer.on("GET info", Reply(INFO))
    assert client.info().api == 1


def test_answers_are_bounded(peer: Peer, client: JobManagerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runaway answer is cut off, not taken into memory."""
    monkeypatch.setattr(_http, "_MAX_ANSWER", 1000)
    peer.on("GET info", Reply(b" " * 2000))
    with pytest.raises(JobManagerError, match="more than 1000 bytes"):
        client.info()


# Waiting and following


def test_waiting_is_a_long_poll(peer: Peer, client: JobManagerClient) -> None:
    """The JobManager is asked to hold its answer until the job has ended."""
    peer.on("GET jobs/1", Reply(job("running")))
    peer.on(f"GET jobs/{UUID}", Reply(job("running")), Reply(job("completed")))
    assert client.wait("1").state == "completed"
    assert peer.targets() == ["jobs/1", f"jobs/{UUID}?wait=30&state=ended", f"jobs/{UUID}?wait=30&state=ended"]


def test_a_job_that_has_ended_is_not_waited_for(peer: Peer, client: JobManagerClient) -> None:
    """One request is enough."""
    peer.on("GET jobs/1", Reply(job("failed")))
    assert client.wait(1, timeout=0).state == "failed"
    assert len(peer.seen) == 1


def test_a_wait_ends_at_its_timeout(peer: Peer, client: JobManagerClient) -> None:
    """The error names job, state and time; the job goes on."""
    peer.on("GET jobs/1", Reply(job("running")))
    peer.on(f"GET jobs/{UUID}", Reply(job("running")))
    with pytest.raises(
        WaitTimeoutError, match=r"job 1 \(count\) is running after 0.2 s of waiting; it goes on"
    ) as caught:
        client.wait(1, timeout=0.2)
    assert (caught.value.job, caught.value.exit_code) == (UUID, 6)


def test_a_wait_bears_with_a_restart(peer: Peer, client: JobManagerClient) -> None:
    """Connections that break and a JobManager that is busy do not end it."""
    peer.on("GET jobs/1", Reply(job("running")))
    busy = problem(503, "limit", "stopping")
    peer.on(f"GET jobs/{UUID}", Reply(drop=True), Reply(drop=True), busy, Reply(job("completed")))
    assert client.wait(1).state == "completed"


def test_a_wait_bears_with_a_restart_from_its_first_look_on(peer: Peer, client: JobManagerClient) -> None:
    """Who was answered before knows that there is a JobManager, whatever becomes of the next request."""
    peer.on("GET info", Reply(INFO))
    client.info()
    busy = problem(503, "limit", "stopping")
    peer.on("GET jobs/1", Reply(drop=True), busy, Reply(drop=True), Reply(job("completed")))
    assert client.wait(1).state == "completed"
    peer.on("GET jobs/1/events", Reply(drop=True), Reply(stream=[change(1, "completed"), event("end", {})]))
    assert [each.seq for each in client.events(1)] == [1]


def test_a_first_look_takes_no_longer_than_the_wait(peer: Peer, client: JobManagerClient) -> None:
    """At the time-out of the wait, what is wrong is told, though patience would last longer."""
    peer.on("GET info", Reply(INFO))
    client.info()
    peer.on("GET jobs/1", Reply(drop=True))
    with pytest.raises(DaemonUnreachableError):
        client.wait(1, timeout=0.3)


def test_waiting_for_nobody_is_an_error_at_once() -> None:
    """Patience is for those who have answered before."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with JobManagerClient("127.0.0.1", port, patience=LONG) as client, pytest.raises(DaemonUnreachableError):
        client.wait(1)


def test_patience_ends(peer: Peer) -> None:
    """A JobManager that does not come back is an error in the end."""
    peer.on("GET jobs/1", Reply(job("running")))
    peer.on(f"GET jobs/{UUID}", Reply(drop=True))
    with JobManagerClient("127.0.0.1", peer.port, patience=0.0) as client:
        with pytest.raises(DaemonUnreachableError):
            client.wait(1)
        peer.on("GET jobs/1", Reply(drop=True))
        with pytest.raises(DaemonUnreachableError):
            client.wait(1)


def test_a_job_that_is_deleted_meanwhile_ends_the_wait(peer: Peer, client: JobManagerClient) -> None:
    """Other errors are not borne with."""
    peer.on("GET jobs/1", Reply(job("running")))
    peer.on(f"GET jobs/{UUID}", problem(404, "not_found"))
    with pytest.raises(NotFoundError):
        client.wait(1)


def test_waiting_for_another_state_asks_for_it(peer: Peer, client: JobManagerClient) -> None:
    """The JobManager answers when the job is in that state, or has ended."""
    peer.on("GET jobs/1", Reply(job("queued")))
    peer.on(f"GET jobs/{UUID}", Reply(job("starting")), Reply(job("running")), Reply(job("failed")))
    assert client.wait(1, until={"running", "restarting"}).state == "running"
    assert peer.targets()[-1] == f"jobs/{UUID}?wait=30&state=ended%2Crestarting%2Crunning"
    assert client.wait(1, until={"running"}).state == "failed"


def test_events_come_as_they_happen(peer: Peer, client: JobManagerClient) -> None:
    """Each change is there before the next one is sent; comments and unknown events are passed over."""
    gate = threading.Event()
    first = [": hello\n\n", change(1, "submitted"), "event: new\ndata: 1\n\n"]
    second = [change(2, "queued"), event("end", job("completed"))]
    peer.on("GET jobs/1/events", Reply(stream=[*first, gate, *second]))
    changes = client.events(1)
    assert next(changes).state == "submitted"
    gate.set()
    assert [each.state for each in changes] == ["queued"]
    assert peer.seen[0].headers["Accept"] == "text/event-stream"


def test_a_broken_stream_of_events_goes_on_where_it_was(peer: Peer, client: JobManagerClient) -> None:
    """Nothing is lost and nothing told twice, whether the JobManager minds the last id or not."""
    first: list[str | threading.Event] = [change(1, "submitted"), change(2, "queued"), "event: state\nda"]
    second: list[str | threading.Event] = [change(1, "submitted"), change(2, "queued"), change(3, "starting")]
    third: list[str | threading.Event] = [change(4, "running"), change(5, "completed"), event("end", {})]
    peer.on("GET jobs/1/events", Reply(stream=first), Reply(drop=True), Reply(stream=second), Reply(stream=third))
    assert [each.seq for each in client.events(1)] == [1, 2, 3, 4, 5]
    assert [seen.headers.get("Last-Event-ID") for seen in peer.seen] == [None, "2", "2", "3"]


@pytest.mark.timeout(60)
def test_a_stream_that_never_gets_further_ends(peer: Peer) -> None:
    """A JobManager that tells the same changes and breaks off, time and again, is an error in the end."""
    peer.on("GET jobs/1/events", Reply(stream=[change(1, "submitted"), change(2, "queued")]))
    with JobManagerClient("127.0.0.1", peer.port, patience=1.0) as client:
        changes = client.events(1)
        assert [next(changes).seq, next(changes).seq] == [1, 2]
        with pytest.raises(DaemonUnreachableError, match="broke off"):
            next(changes)
    assert len(peer.seen) > 2


def test_a_log_is_followed_to_its_end(peer: Peer, client: JobManagerClient) -> None:
    """After a broken connection from the byte where it was."""
    first: list[str | threading.Event] = [
        event("log", {"offset": 5, "text": "one\n"}),
        event("log", {"offset": 9, "text": "two\n"}),
    ]
    second: list[str | threading.Event] = [event("log", {"offset": 12, "text": "öx\n"}), event("end", job("completed"))]
    peer.on("GET jobs/1/logs/follow", Reply(stream=first), Reply(stream=second))
    assert "".join(client.follow_logs(1, offset=1)) == "one\ntwo\nöx\n"
    assert peer.targets() == ["jobs/1/logs/follow?offset=1", "jobs/1/logs/follow?offset=9"]


def test_following_an_unknown_job_is_an_error(peer: Peer, client: JobManagerClient) -> None:
    """A problem in place of a stream is told like any other."""
    with pytest.raises(NotFoundError):
        next(client.follow_logs("abcd"))
    peer.on("GET jobs/1/events", Reply({"not": "a stream"}))
    with pytest.raises(DaemonUnreachableError, match="no events"):
        next(client.events(1))


def test_following_nobody_is_an_error_at_once() -> None:
    """Patience is for those who have answered before."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with JobManagerClient("127.0.0.1", port) as client, pytest.raises(DaemonUnreachableError):
        next(client.events(1))


@pytest.mark.parametrize("data", ["{", "[]", "{}", '{"seq": "x"}'])
def test_an_event_of_another_form_is_an_error(peer: Peer, client: JobManagerClient, data: str) -> None:
    """What cannot be understood is not passed over."""
    peer.on("GET jobs/1/events", Reply(stream=[f"event: state\ndata: {data}\n\n"]))
    with pytest.raises(JobManagerError, match="event 'state' of another form"):
        list(client.events(1))


def test_events_are_bounded(peer: Peer, client: JobManagerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a line nor an event may grow without end."""
    monkeypatch.setattr(_answers, "_MAX_EVENT", 1000)
    peer.on("GET jobs/1/events", Reply(stream=["event: state\n", *["data: xxxxxxxxxx\n"] * 200]))
    with pytest.raises(JobManagerError, match="more than 1000"):
        next(client.events(1))
    monkeypatch.setattr(_http, "_MAX_LINE", 1000)
    peer.on("GET jobs/1/events", Reply(stream=["x" * 5000]))
    with pytest.raises(DaemonUnreachableError):
        next(client.events(1))


def test_closing_the_client_ends_its_streams(peer: Peer, client: JobManagerClient) -> None:
    """A thread that follows comes back with an error when another one closes the client."""
    silence = threading.Event()
    peer.on("GET jobs/1/events", Reply(stream=[change(1, "submitted"), silence]))
    changes = client.events(1)
    assert next(changes).seq == 1
    caught: list[BaseException] = []

    def follow() -> None:
        try:
            next(changes)
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    client.close()
    thread.join(LONG)
    silence.set()
    assert [str(error).partition("\n")[0] for error in caught] == [f"this client of 127.0.0.1:{peer.port} was closed"]


def test_a_stream_that_is_left_is_closed(peer: Peer, client: JobManagerClient) -> None:
    """Leaving the loop lets go of the connection."""
    peer.on("GET jobs/1/events", Reply(stream=[change(1, "submitted"), threading.Event()]))
    changes = client.events(1)
    next(changes)
    changes.close()  # type: ignore[attr-defined]
    assert client._http._active == set()


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_leaves_no_connection_open(peer: Peer) -> None:
    """Wherever it meets a request on a kept connection, closing the client closes that, too."""
    peer.on("GET info", Reply(INFO))
    steps = 0

    def interrupt_at(step: int) -> bool:
        """Make a request, with a KeyboardInterrupt at its n-th step; whether there are as many."""
        passed = 0

        def trace(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal passed
            if frame.f_code.co_filename != _http.__file__:
                return None
            # Python itself does not interrupt the release of a lock, as a trace function would.
            if not linecache.getline(_http.__file__, frame.f_lineno).lstrip().startswith("with "):
                passed += 1
                if passed == step:
                    raise KeyboardInterrupt
            return trace

        with JobManagerClient("127.0.0.1", peer.port, timeout=LONG) as client:
            client.info()
            before = sys.gettrace()
            sys.settrace(trace)
            try:
                client.info()
            except KeyboardInterrupt:
                return True
            finally:
                sys.settrace(before)
        return False

    while interrupt_at(steps + 1):
        steps += 1
        gc.collect()  # what was left open complains
    assert steps > 50


# From the configuration


def test_address_and_token_come_from_the_configuration(peer: Peer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out is looked up."""
    peer.on("GET info", Reply(INFO))
    monkeypatch.setenv("SAGE_DAEMON__PORT", str(peer.port))
    token = home / "token"
    token.write_text("from-the-file\n")
    token.chmod(0o600)
    with JobManagerClient.from_config() as client:
        assert client.info().api == 1
    assert peer.seen[0].headers["Authorization"] == "Bearer from-the-file"


def test_what_is_given_comes_before_the_configuration(home: Path) -> None:
    """Host, port and token, one by one."""
    config = Config(daemon=Daemon(host="configured", port=7))
    with JobManagerClient.from_config(config) as client:
        assert (client.host, client.port) == ("configured", 7)
    with JobManagerClient.from_config(config, host="given", port=8, token="mine") as client:
        assert (client.host, client.port) == ("given", 8)
        assert repr(client) == "<JobManagerClient of given:8>"


def test_an_open_token_file_is_refused(home: Path) -> None:
    """Nothing is sent then."""
    (home / "token").write_text("s3cret")
    (home / "token").chmod(0o644)
    with pytest.raises(NotAllowedError):
        JobManagerClient.from_config(Config())


def test_a_free_port_is_found(home: Path) -> None:
    """With `daemon.port: 0`, the running JobManager of this SAGE_HOME says which one it took."""
    config = Config(daemon=Daemon(port=0))
    with pytest.raises(DaemonUnreachableError, match="only a running one knows its port"):
        JobManagerClient.from_config(config)
    (home / "daemon.json").write_text(json.dumps({"host": "127.0.0.1", "port": 23456, **this_process()}))
    with JobManagerClient.from_config(config) as client:
        assert client.port == 23456


# TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([openssl, "req", "-x509", *options, *names, *files], check=True, capture_output=True)
    pem = folder / "both.pem"
    pem.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return pem


@pytest.fixture
def tls_peer(certificate: Path) -> Iterator[Peer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    peer = Peer(context)
    yield peer
    peer.close()


def test_tls_is_spoken_where_it_is_configured(tls_peer: Peer, certificate: Path, package: Path) -> None:
    """With the certificate in `daemon.tls.ca`, everything works as without TLS."""
    tls_peer.on("GET info", Reply(INFO))
    tls_peer.on("POST jobs", Reply(job("submitted"), 201))
    config = Config(daemon=Daemon(port=tls_peer.port, tls=Tls(ca=certificate)))
    with JobManagerClient.from_config(config, token="s3cret") as client:
        assert client.submit(package).state == "submitted"
        assert client.info().api == 1
    assert tls_peer.seen[1].body == package.read_bytes()


def test_an_untrusted_certificate_is_refused(tls_peer: Peer, certificate: Path) -> None:
    """Before the token is sent."""
    config = Config(daemon=Daemon(port=tls_peer.port, tls=Tls(cert=certificate, key=certificate)))
    with JobManagerClient.from_config(config) as client, pytest.raises(DaemonUnreachableError) as caught:
        client.info()
    assert reason(caught.value) == "certificate"
    assert tls_peer.seen == []


def test_tls_to_a_plain_port_and_back_are_told(peer: Peer, tls_peer: Peer, certificate: Path) -> None:
    """Each hint names the setting."""
    config = Config(daemon=Daemon(port=peer.port, tls=Tls(ca=certificate)))
    with (
        JobManagerClient.from_config(config) as client,
        pytest.raises(DaemonUnreachableError, match=r"daemon\.tls\.ca"),
    ):
        client.info()
    error = unreachable(tls_peer.port)
    assert reason(error) in ("not_http", "closed")


def test_an_unusable_authority_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    """A missing or broken file is named."""
    for path in (tmp_path / "none.pem", tmp_path / "home"):
        with pytest.raises(ConfigError, match="daemon -> tls -> ca"):
            JobManagerClient.from_config(Config(daemon=Daemon(tls=Tls(ca=path))))
