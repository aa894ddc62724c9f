"""Programs and commands that do not find their JobManager, or find somebody else: what is there, and what to do."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Done, User

PROGRAM = """
import sys

from sage.core.api import RemoteEnvironment

places = {"port": int(sys.argv[1])} if len(sys.argv) > 1 else {}
if len(sys.argv) > 2:
    places["token"] = sys.argv[2]
with RemoteEnvironment("lost", **places) as env:
    env.from_batch([1]).print()
    print(env.submit())
"""


def fails_with(done: Done, error: str, *parts: str) -> None:
    """The program ended by this exception, with all parts in its text."""
    assert (done.code, done.out) == (1, "")
    assert done.last_error.startswith(f"sage.core.errors.{error}: "), done.err
    assert [part for part in parts if part not in done.last_error] == [], done.last_error


def ends_with(done: Done, code: str, *parts: str) -> None:
    """The command's document has this code and all parts in message and hint."""
    assert (done.data["code"], done.data["exit_code"]) == (code, done.code)
    text = f"{done.data['message']}\n{done.data['hint']}"
    assert [part for part in parts if part not in text] == [], text


@contextmanager
def listening(serve: str) -> Iterator[int]:
    """Something else on a port: a web server, one that answers garbage, one that closes."""
    if serve == "web":

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, name="web")
            thread.start()
            yield server.server_address[1]
            server.shutdown()
            thread.join()
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()
        connections = []

        def talk() -> None:
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                if done.is_set():
                    return
                if serve == "garbage":
                    connection.recv(4096)
                    connection.sendall(b"220 mail.example.org ESMTP\r\n500 what?\r\n")
                elif serve == "closing":
                    connection.recv(4096)
                    connection.close()

        thread = threading.Thread(target=talk, name=serve)
        thread.start()
        port = listener.getsockname()[1]
        yield port
        done.set()
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()
        for connection in connections:
            connection.close()


def test_no_jobmanager_runs(stranger: User) -> None:
    """Nobody listens: the program raises, commands end with 4, and all say how to start one."""
    stranger.write("program.py", PROGRAM)
    address = f"no JobManager listens at 127.0.0.1:{stranger.port}"
    start = "sage jobmanager start"
    fails_with(stranger.python("program.py", code=1), "DaemonUnreachableError", address, f"hint: start it: {start}")
    for command in (
        ["job", "list"],
        ["job", "show", "1"],
        ["job", "stop", "1"],
        ["job", "logs", "-f", "1"],
        ["job", "wait", "1"],
        ["job", "delete", "--yes", "1"],
        ["job", "submit", "program.py"],
    ):
        ends_with(stranger.sage("--json", *command, code=4), "unreachable", address, start)
    words = stranger.sage("job", "list", code=4)
    assert (words.out, words.err) == ("", f"error: {address}\n  hint: start it: {start}\n")
    for command in (["jobmanager", "status"], ["deploy", "status"], ["cluster", "status"]):
        done = stranger.sage(*command, "--json", code=4)
        assert (done.data["status"], done.data["problem"]) == ("down", address)
    assert stranger.sage("jobmanager", "stop").err == "no JobManager runs here\n"


def test_a_wrong_port(user: User) -> None:
    """Nobody listens there, but a JobManager of this SAGE_HOME runs: the hint has its port."""
    user.write("program.py", PROGRAM)
    with socket.socket() as unused:  # bound and not listening, so nobody else can
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        parts = (f"no JobManager listens at 127.0.0.1:{port}", f"listens on port {user.port}")
        fails_with(user.python("program.py", str(port), code=1), "DaemonUnreachableError", *parts)
        done = user.sage("job", "list", "--json", code=4, env={"SAGE_DAEMON__PORT": str(port)})
        ends_with(done, "unreachable", *parts)


@pytest.mark.parametrize(
    ("serve", "parts"),
    [
        (
            "web",
            [
                "answers, but not as a SAGE JobManager does",
                "404 text/html",
                "the JobManager of this SAGE_HOME listens on port",
            ],
        ),
        ("garbage", ["something listens at", "does not speak HTTP, so it is no JobManager", "check daemon.host and"]),
        ("closing", ["closed the connection before its answer", "something else listens there"]),
    ],
)
def test_another_service_on_the_port(user: User, serve: str, parts: list[str]) -> None:
    """The error tells what answered and where to look; nothing is sent there; exit code 4."""
    user.write("program.py", PROGRAM)
    with listening(serve) as port:
        env = {"SAGE_DAEMON__PORT": str(port)}
        fails_with(user.python("program.py", str(port), code=1), "DaemonUnreachableError", f"127.0.0.1:{port}", *parts)
        ends_with(user.sage("job", "list", "--json", code=4, env=env), "unreachable", f"127.0.0.1:{port}", *parts)
        # What runs in this SAGE_HOME is known by what it says itself.
        assert user.sage("jobmanager", "status", "--json", env=env).data["port"] == user.port


def test_a_wrong_token(user: User) -> None:
    """A wrong one, and none at all: told apart, with where tokens come from; nothing is stored; exit code 5."""
    user.write("program.py", PROGRAM)
    before = user.uuids()
    wrong = user.python("program.py", str(user.port), "0" * 64, code=1)
    fails_with(wrong, "NotAllowedError", "token", "hint: ", "SAGE_HOME")
    assert "0" * 64 not in wrong.err
    empty = user.folder / "empty"
    nothing = user.python("program.py", str(user.port), code=1, env={"SAGE_HOME": str(empty)})
    fails_with(nothing, "NotAllowedError", "no token was given or found", "daemon.token_file")
    other = user.folder / "token"
    other.touch(0o600)
    other.write_text("f" * 64 + "\n")
    for command in (["job", "list"], ["job", "submit", "program.py"], ["job", "cleanup", "--yes"]):
        done = user.sage("--json", *command, code=5, env={"SAGE_DAEMON__TOKEN_FILE": str(other)})
        ends_with(done, "not_allowed", "token")
        assert "f" * 64 not in done.out + done.err
    other.chmod(0o644)
    done = user.sage("job", "list", "--json", code=5, env={"SAGE_DAEMON__TOKEN_FILE": str(other)})
    ends_with(done, "not_allowed", str(other), "chmod 600")
    assert user.uuids() == before
