"""Who gets in: tokens, hosts, origins, and heads and bodies within their bounds."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.core.client.package import MEDIA_TYPE
from sage.runtime.jobmanager.guard import RefusalLog, Tokens

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "NONSENSE")
OPEN = {("/healthz", "get"), ("/readyz", "get")}


@pytest.fixture(scope="module")
def routes(daemon: Any) -> list[tuple[str, str]]:
    """Every path and method of the OpenAPI document."""
    paths = daemon.ask("GET", "/api/v1/openapi.json").json()["paths"]
    return [(path.replace("{ref}", "1"), method) for path, methods in paths.items() for method in methods]


def raw(daemon: Any, data: bytes) -> bytes:
    """Send bytes as they are and read until the daemon closes."""
    with daemon.connect() as connection:
        connection.sendall(data)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def head(daemon: Any, method: str = "GET", path: str = "/api/v1/jobs", **headers: str) -> bytes:
    lines = {
        "Host": f"127.0.0.1:{daemon.port}",
        "Authorization": f"Bearer {daemon.token}",
        "Connection": "close",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode()


def problem_of(answer: bytes) -> tuple[int, dict[str, Any]]:
    top, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in top.lower(), answer
    return int(top.split()[1]), json.loads(body)


class TestHealth:
    """What probes ask for."""

    @pytest.mark.parametrize("path", sorted({path for path, _ in OPEN}))
    def test_a_head_is_answered_like_a_get(self, daemon: Any, path: str) -> None:
        """Without a token, and without a body."""
        answer = daemon.ask("HEAD", path, token=None)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == daemon.ask("GET", path, token=None).headers["content-length"]


class TestToken:
    """Nothing but the health of the daemon is told without the token."""

    def test_every_route_wants_the_token(self, daemon: Any, routes: list[tuple[str, str]]) -> None:
        """Each path and method of the OpenAPI answers 401 without and with a wrong token, all in the same words."""
        answers = set()
        for path, method in routes:
            for token in (None, "wrong", daemon.token[:-1], daemon.token.upper()):
                answer = daemon.ask(method.upper(), path, token=token)
                if (path, method) in OPEN:
                    assert answer.status == 200
                else:
                    assert answer.status == 401
                    answers.add(answer.body)
        assert len(answers) == 1
        assert json.loads(answers.pop())["code"] == "not_allowed"

    @pytest.mark.parametrize("method", METHODS[:-2])
    @pytest.mark.parametrize("path", ["/", "/api/v1/jobs", "/api/v1/jobs/1", "/nowhere", "/metrics", "/docs", "/redoc"])
    def test_every_method_wants_the_token(self, daemon: Any, method: str, path: str) -> None:
        """No method slips past, on paths that exist and on those that do not."""
        assert daemon.ask(method, path, token=None).status == 401

    @pytest.mark.parametrize("method", METHODS[2:-2])
    def test_health_is_open_to_looks_only(self, daemon: Any, method: str) -> None:
        """Only reading the health resources goes without a token."""
        assert daemon.ask(method, "/healthz", token=None).status == 401
        assert daemon.ask(method, "/healthz").status == 405

    def test_other_forms_of_the_token_are_refused(self, daemon: Any) -> None:
        """In the query, as Basic, twice, or behind a wrong one: none of it opens the door."""
        token = daemon.token
        assert daemon.ask("GET", f"/api/v1/jobs?token={token}&access_token={token}", token=None).status == 401
        for value in (f"Basic {token}", token, f"Bearer  x {token}", "Bearer", ""):
            assert daemon.ask("GET", "/api/v1/jobs", token=None, headers={"Authorization": value}).status == 401
        twice = head(daemon).replace(b"Connection:", f"Authorization: Bearer {token}\r\nConnection:".encode())
        assert problem_of(raw(daemon, twice))[0] == 401
        assert daemon.ask("GET", "/api/v1/jobs", token=None, headers={"Cookie": f"token={token}"}).status == 401

    def test_the_token_is_checked_before_the_body(self, daemon: Any) -> None:
        """A body is neither awaited nor asked for when the token is wrong."""
        request = head(daemon, "POST", Authorization="Bearer wrong", Content_Length="1000000", Content_Type=MEDIA_TYPE)
        status, _ = problem_of(raw(daemon, request))
        assert status == 401
        waiting = request.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
        answer = raw(daemon, waiting)
        assert b"100 Continue" not in answer
        assert problem_of(answer)[0] == 401

    def test_the_comparison_knows_each_owner(self) -> None:
        """Each token leads to its own name, anything else to none."""
        tokens = Tokens({"admin": "a" * 64, "ci": "b" * 64})
        assert tokens.owner(b"a" * 64) == "admin"
        assert tokens.owner(b"b" * 64) == "ci"
        for other in (b"", b"a" * 63, b"a" * 65, b"c" * 64, b"\xff" * 64):
            assert tokens.owner(other) is None


class TestHostAndOrigin:
    """No page in a browser reaches the daemon, under whatever name."""

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost.", "127.0.0.1:1"])
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    def test_loopback_names_pass(self, daemon: Any, host: str, method: str) -> None:
        """The names of the loopback interface are fine, whatever port a tunnel gives them."""
        assert daemon.ask(method, "/api/v1/nothing", headers={"Host": host}).status == 404

    @pytest.mark.parametrize(
        "host",
        ["evil.example", "127.0.0.1.evil.example", "localhost@evil", "evil:19001", "", "[::1", "::1", "a b", "ü"],
    )
    @pytest.mark.parametrize("method", METHODS[:8])
    def test_foreign_names_are_misdirected(self, daemon: Any, host: str, method: str) -> None:
        """Any other Host is refused for every method, with the right token as well."""
        answer = daemon.ask(method, "/api/v1/info", headers={"Host": host.encode().decode("latin-1")})
        assert answer.status == 421

    def test_health_is_not_open_to_foreign_names(self, daemon: Any) -> None:
        """Not even the open resources answer to another name."""
        assert daemon.ask("GET", "/healthz", headers={"Host": "evil.example"}).status == 421

    def test_a_request_without_host_is_refused(self, daemon: Any) -> None:
        """HTTP/1.0 may leave it out; this daemon does not take that."""
        assert problem_of(raw(daemon, b"GET /healthz HTTP/1.0\r\n\r\n"))[0] == 421

    def test_configured_names_pass(self, make_daemon: Callable[..., Any]) -> None:
        """What daemon.allowed_hosts and daemon.host name is let through."""
        daemon = make_daemon("daemon: {allowed_hosts: [sage.example], host: head.example}").start()
        for name in ("sage.example", "head.example:19001"):
            assert daemon.ask("GET", "/healthz", headers={"Host": name}).status == 200

    @pytest.mark.parametrize("method", METHODS[:8])
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:1"},
            {"Origin": "https://127.0.0.1:{port}"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
        ],
    )
    def test_other_origins_are_refused_for_all_methods(self, daemon: Any, method: str, headers: dict[str, str]) -> None:
        """A page of another origin gets 403, the right token or not, and no CORS header."""
        sent = {name: value.format(port=daemon.port) for name, value in headers.items()}
        answer = daemon.ask(method, "/api/v1/jobs", headers=sent)
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]

    def test_the_own_origin_passes(self, daemon: Any) -> None:
        """A page served by the daemon itself may speak to it."""
        headers = {"Origin": f"http://127.0.0.1:{daemon.port}", "Sec-Fetch-Site": "same-origin"}
        assert daemon.ask("GET", "/api/v1/jobs", headers=headers).status == 200

    def test_answers_carry_the_safe_headers(self, daemon: Any) -> None:
        """No sniffing, no framing, nothing kept."""
        for path in ("/healthz", "/api/v1/jobs", "/nowhere"):
            headers = daemon.ask("GET", path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers


class TestHead:
    """Heads that are too large, malformed or ambiguous."""

    @pytest.mark.parametrize(
        "extra",
        [
            "".join(f"X-{number}: 1\r\n" for number in range(120)),
            "X-Long: " + "a" * 20_000 + "\r\n",
            "X-Long: " + "a" * 200_000 + "\r\n",
        ],
    )
    def test_large_heads_are_refused(self, daemon: Any, extra: str) -> None:
        """Too many lines or bytes are answered, not served."""
        request = head(daemon).replace(b"Connection:", extra.encode() + b"Connection:")
        assert problem_of(raw(daemon, request))[0] in (400, 431)

    def test_a_long_target_is_refused(self, daemon: Any) -> None:
        """The request line counts, too."""
        assert problem_of(raw(daemon, head(daemon, path="/api/v1/jobs?name=" + "a" * 20_000)))[0] in (400, 431)

    @pytest.mark.parametrize(
        "request_head",
        [
            b"nonsense\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
            b"GET / HTTP/9.9\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        ],
    )
    def test_malformed_requests_are_problems(self, daemon: Any, request_head: bytes) -> None:
        """What is no HTTP/1.1 request gets one problem document and the end of the connection."""
        status, problem = problem_of(raw(daemon, request_head))
        assert status in (400, 501, 505)
        assert problem["code"] == "invalid_request"

    def test_length_and_chunks_together_are_refused(self, daemon: Any) -> None:
        """A request that two parsers could cut differently is not served."""
        request = head(daemon, "POST", Content_Length="5", Transfer_Encoding="chunked", Content_Type=MEDIA_TYPE)
        answer = raw(daemon, request + b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, _, rest = answer.partition(b"\r\n")
        assert b" 400 " in status
        assert b"HTTP/1.1 200" not in rest

    def test_refusals_do_not_end_the_daemon(self, daemon: Any) -> None:
        """After all of that it serves."""
        assert daemon.api("GET", "info").status == 200


class TestBody:
    """Bodies that are too large, of the wrong kind, or never end."""

    def test_a_huge_length_is_refused_at_once(self, daemon: Any) -> None:
        """10 GB are refused by their announcement alone."""
        request = head(daemon, "POST", Content_Length=str(10 << 30), Content_Type=MEDIA_TYPE)
        status, problem = problem_of(raw(daemon, request))
        assert (status, problem["code"]) == (413, "limit")
        assert problem["limit"] == 64 << 20

    def test_the_client_gets_the_refusal_of_what_it_still_sends(self, daemon: Any, module_folder: Path) -> None:
        """A client in the middle of sending reads the answer instead of a broken connection."""
        from sage.core.errors import LimitExceededError

        package = module_folder / "large.sagepkg"
        with package.open("wb") as file:
            file.truncate(80 << 20)
        with daemon.client() as client, pytest.raises(LimitExceededError):
            client.submit(package)

    def test_endless_chunks_are_cut(self, make_daemon: Callable[..., Any]) -> None:
        """A chunked body is counted while it comes; at the limit it is refused and its file is gone."""
        daemon = make_daemon("limits: {max_package: 1MiB}").start()
        with daemon.connect() as connection:
            connection.sendall(head(daemon, "POST", Transfer_Encoding="chunked", Content_Type=MEDIA_TYPE))
            chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
            try:
                for _ in range(1000):
                    connection.sendall(chunk)
            except OSError:
                # Cut off after a moment of grace, as it should be.
                return
        assert list((daemon.home / "jobs" / ".incoming").iterdir()) == []
        assert daemon.api("GET", "info").status == 200

    def test_large_json_is_refused(self, daemon: Any) -> None:
        """Other bodies than packages are small."""
        body = b'{"jobs": [' + b"1," * (1 << 20) + b"1]}"
        answer = daemon.ask("POST", "/api/v1/cleanup", body=body, media_type="application/json")
        assert (answer.status, answer.code) == (413, "limit")

    def test_large_chunked_json_is_refused(self, daemon: Any) -> None:
        """The same without an announced length."""
        request = head(daemon, "POST", "/api/v1/cleanup", Transfer_Encoding="chunked", Content_Type="application/json")
        chunk = b"20000\r\n" + b" " * 0x20000 + b"\r\n"
        answer = raw(daemon, request + chunk * 10 + b"0\r\n\r\n")
        assert problem_of(answer)[0] == 413

    @pytest.mark.parametrize(
        "media_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
    )
    def test_forms_are_refused(self, daemon: Any, media_type: str | None) -> None:
        """What an HTML form can send is not taken."""
        for path in ("/api/v1/jobs", "/api/v1/cleanup"):
            answer = daemon.ask("POST", path, body=b"{}", media_type=media_type)
            assert (answer.status, answer.code) == (415, "invalid_request")

    def test_kept_connections_survive_a_refused_body(self, daemon: Any) -> None:
        """A refused body that does arrive is read away, and the connection serves the next request."""
        with daemon.connect() as connection:
            first = head(daemon, "POST", Connection="", Content_Length="4", Content_Type="text/plain")
            connection.sendall(first)
            assert b" 415 " in connection.recv(65536)
            connection.sendall(b"body" + head(daemon, path="/healthz"))
            assert b" 200 " in read_all(connection)


@pytest.fixture(scope="module")
def hasty(make_module_daemon: Callable[..., Any]) -> Any:
    """A daemon that gives a request one second."""
    return make_module_daemon("limits: {request_timeout: 1s}").start()


class TestSlowness:
    """A client that trickles is cut, and nobody else notices."""

    def test_silence_is_cut(self, hasty: Any) -> None:
        """A connection that says nothing is closed."""
        with hasty.connect() as connection:
            assert read_all(connection) == b""

    def test_half_a_head_is_cut(self, hasty: Any) -> None:
        """A head that does not end gets 408."""
        with hasty.connect() as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: local")
            assert problem_of(read_all(connection))[0] == 408

    def test_half_a_head_on_a_kept_connection_is_cut(self, hasty: Any) -> None:
        """The same after a request that was fine."""
        with hasty.connect() as connection:
            connection.sendall(head(hasty, path="/healthz", Connection=""))
            assert b" 200 " in connection.recv(65536)
            connection.sendall(b"GET /healthz HT")
            assert problem_of(read_all(connection))[0] == 408

    def test_half_a_body_is_cut(self, hasty: Any) -> None:
        """A body that does not end gets 408, and nothing of it is kept."""
        with hasty.connect() as connection:
            connection.sendall(head(hasty, "POST", Content_Length="100", Content_Type=MEDIA_TYPE) + b"PK")
            assert problem_of(read_all(connection))[0] == 408
        assert list((hasty.home / "jobs" / ".incoming").iterdir()) == []

    def test_others_are_served_meanwhile(self, hasty: Any) -> None:
        """Fifty clients that stall in their heads do not keep the fifty-first waiting."""
        stalled = [hasty.connect() for _ in range(50)]
        try:
            for connection in stalled:
                connection.sendall(b"POST /api/v1/jobs HTTP/1.1\r\n")
            assert hasty.api("GET", "info").status == 200
            for connection in stalled:
                assert b" 408 " in read_all(connection)
        finally:
            for connection in stalled:
                connection.close()


class TestCrowds:
    """Too many connections, too few descriptors."""

    def test_too_many_connections_are_told_to_come_back(self, make_daemon: Callable[..., Any]) -> None:
        """Where all connections belong to somebody with a token, the next one is answered 503 with Retry-After."""
        daemon = make_daemon("limits: {max_connections: 5}").start()
        idle = []
        try:
            for _ in range(5):
                idle.append(daemon.connect())
                idle[-1].sendall(head(daemon, path="/api/v1/info", Connection=""))
                assert b" 200 " in idle[-1].recv(65536)
            answer = daemon.ask("GET", "/api/v1/info")
            assert (answer.status, answer.code) == (503, "limit")
            assert int(answer.headers["retry-after"]) > 0
        finally:
            for connection in idle:
                connection.close()
        assert retried(daemon, 200)

    def test_strangers_keep_nobody_out(self, make_daemon: Callable[..., Any]) -> None:
        """Idle connections without a token, silent ones and such that were answered, make room for the owner."""
        daemon = make_daemon("limits: {max_connections: 5}").start()
        own = daemon.connect()
        strangers = []
        try:
            own.sendall(head(daemon, path="/api/v1/info", Connection=""))
            assert b" 200 " in own.recv(65536)
            for number in range(12):
                strangers.append(daemon.connect())
                if number % 2:
                    strangers[-1].sendall(head(daemon, path="/healthz", Connection="", Authorization=""))
                    assert b" 200 " in strangers[-1].recv(65536)
                assert daemon.ask("GET", "/api/v1/info").status == 200
            own.sendall(head(daemon, path="/api/v1/info"))
            assert b" 200 " in read_all(own)
        finally:
            for connection in [own, *strangers]:
                connection.close()

    def test_running_out_of_descriptors_is_survived(self, make_daemon: Callable[..., Any]) -> None:
        """With no descriptor left to accept with, the daemon waits until there is one."""
        import resource

        daemon = make_daemon().start(preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
        flood = [daemon.connect() for _ in range(120)]
        while "Too many open files" not in daemon.session_log:
            assert daemon.connect().close() is None
        for connection in flood:
            connection.close()
        assert retried(daemon, 200)
        assert "Traceback" not in daemon.session_log
        assert daemon.stop() == 0


def retried(daemon: Any, status: int) -> bool:
    """Whether the daemon comes to answer so; it may need a moment to notice closed connections."""
    from time import monotonic

    deadline = monotonic() + 30
    while monotonic() < deadline:
        try:
            if daemon.ask("GET", "/api/v1/info").status == status:
                return True
        except OSError:
            continue
    return False


class TestRefusalLog:
    """What the session log tells of refusals."""

    def test_refusals_are_logged_without_the_token(self, daemon: Any) -> None:
        """Peer and reason are there, what was sent is not."""
        daemon.ask("GET", "/api/v1/jobs?token=SECRETQUERY", token="SECRETWRONG")
        daemon.ask("GET", "/api/v1/jobs", headers={"Host": "evil.SECRETHOST"})
        log = daemon.session_log
        assert "refused GET from 127.0.0.1: the token is missing or wrong" in log
        assert "SECRET" not in log
        assert daemon.token not in log

    def test_a_flood_is_counted_not_written(self, caplog: pytest.LogCaptureFixture) -> None:
        """Lines come at a bounded rate; what was left out is told with the next one."""
        now = [0.0]
        log = RefusalLog(burst=3, per_second=1.0, clock=lambda: now[0])
        for _ in range(100):
            log.add("10.0.0.1", "GET", "no")
        assert len(caplog.records) == 3
        now[0] += 1.5
        log.add("10.0.0.1", "GET", "no")
        assert "97 more" in caplog.records[-1].getMessage()
