"""`sage jobmanager`, `deploy` and `cluster` with a real JobManager on a free port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def daemon(sage: Any) -> Iterator[Any]:
    """The command, with a port of its own; a JobManager that it leaves behind is ended."""
    sage.env["SAGE_DAEMON__PORT"] = "0"
    yield sage
    file = sage.home / "daemon.json"
    if file.exists():
        os.kill(json.loads(file.read_text())["pid"], signal.SIGCONT)
    assert sage("jobmanager", "stop").code == 0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_from_start_to_stop(daemon: Any) -> None:
    """Down, started, up, started twice, stopped, down: each with its exit code."""
    sage = daemon
    assert sage("jobmanager", "status").code == 4
    started = sage("jobmanager", "start", "--json")
    assert (started.err, started.code) == ("", 0)
    facts = started.json["data"]
    assert (started.json["kind"], facts["status"], facts["host"]) == ("JobManagerStatus", "up", "127.0.0.1")

    status = sage("jobmanager", "status", "--json")
    assert status.code == 0
    same = ("status", "host", "port", "pid", "session_log")
    assert {name: status.json["data"][name] for name in same} == {name: facts[name] for name in same}
    assert {"inline", "local"} <= set(status.json["data"]["backends"])
    assert sage("job", "list").err == "no jobs\n"

    again = sage("jobmanager", "start")
    assert (again.out, again.code) == ("", 8)
    assert f"process {facts['pid']}" in again.err and str(facts["port"]) in again.err

    stopped = sage("jobmanager", "stop")
    assert (stopped.out, stopped.code) == ("", 0)
    assert stopped.err == f"the JobManager (pid {facts['pid']}) has ended; no job was under way\n"
    down = sage("jobmanager", "status")
    assert down.code == 4
    assert down.out.startswith("status:   down\n")
    assert sage("job", "list").code == 4
    assert sage("jobmanager", "stop").err == "no JobManager runs here\n"


def test_a_port_that_is_taken(daemon: Any) -> None:
    """Somebody else listens there: one error with the port, exit code 10, and nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = daemon("jobmanager", "start", "--port", str(port))
        assert (result.out, result.code) == ("", 10)
        assert result.err.startswith("error: ") and str(port) in result.err
        document = daemon("jobmanager", "start", "--port", str(port), "--json")
        assert document.json["data"]["exit_code"] == document.code == 10
    assert not (daemon.home / "daemon.json").exists()


def test_a_port_that_clients_do_not_know(daemon: Any) -> None:
    """--port goes before the configuration; where clients look elsewhere, that is said."""
    known, other = str(free_port()), str(free_port())
    daemon.env["SAGE_DAEMON__PORT"] = known
    result = daemon("jobmanager", "start", "--port", other)
    assert result.code == 0
    assert result.err == f"clients look for it on port {known}: sage config set daemon.port {other}\n"
    assert daemon("jobmanager", "status").code == 0
    assert daemon("job", "list").code == 4
    daemon.env["SAGE_DAEMON__PORT"] = other
    assert daemon("job", "list").code == 0


def test_restart(daemon: Any) -> None:
    """Another process on the same home; without one running it is a start."""
    first = daemon("jobmanager", "restart", "--json")
    assert first.err == "no JobManager runs here\n"
    second = daemon("deploy", "restart", "--json")
    assert second.code == 0
    assert second.json["data"]["pid"] != first.json["data"]["pid"]


def test_the_foreground(daemon: Any) -> None:
    """With --foreground the command becomes the JobManager, and SIGTERM ends it well."""
    command = [str(Path(sys.executable).with_name("sage")), "jobmanager", "start", "--foreground"]
    with subprocess.Popen(command, env=daemon.environment(), cwd=daemon.folder, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while b"listens" not in process.stderr.readline():
            assert process.poll() is None
        assert daemon("jobmanager", "status", "--json").json["data"]["pid"] == process.pid
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(60) == 0


def test_a_jobmanager_that_does_not_answer(daemon: Any) -> None:
    """It runs, but is stopped by a signal: unhealthy (10); asked to end it does not (6), until it can."""
    pid = daemon("jobmanager", "start", "--json").json["data"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    status = daemon("jobmanager", "status")
    assert (status.code, status.out.splitlines()[0].split()) == (10, ["status:", "unhealthy"])
    stop = daemon("jobmanager", "stop", "--timeout", "0.1")
    assert (stop.out, stop.code) == ("", 6)
    assert stop.err == (
        f"error: the JobManager (pid {pid}) still runs 0.1 s after it was asked to end\n"
        "  hint: asked once more, it ends at once: sage jobmanager stop\n"
    )
    os.kill(pid, signal.SIGCONT)


def test_a_jobmanager_that_was_killed(daemon: Any) -> None:
    """What it left behind names no running process: it is down, and can be started again."""
    pid = daemon("jobmanager", "start", "--json").json["data"]["pid"]
    os.kill(pid, signal.SIGKILL)
    assert daemon("jobmanager", "stop").err == "no JobManager runs here\n"
    assert daemon("jobmanager", "status").code == 4
    assert daemon("jobmanager", "start").code == 0


def test_a_jobmanager_elsewhere(daemon: Any) -> None:
    """With daemon.host on another host, what acts on processes refuses and names it."""
    env = {"SAGE_DAEMON__HOST": "sage.invalid"}
    for command in (("start",), ("start", "--foreground"), ("stop",), ("restart",), ("logs",)):
        result = daemon("jobmanager", *command, env=env)
        assert (result.out, result.code) == ("", 9)
        assert result.err.startswith(
            "error: the JobManager is configured to be on sage.invalid, which is not this host"
        )
    assert daemon("jobmanager", "status", env=env).code == 4


def test_a_wrong_token(daemon: Any) -> None:
    """A token that is not this JobManager's is refused with 5."""
    daemon("jobmanager", "start")
    token = daemon.home / "token"
    token.write_text("0" * 64)
    assert daemon("job", "list").code == 5
    assert daemon("jobmanager", "status").code == 5


def test_the_session_log(daemon: Any) -> None:
    """The newest lines; for machines with their place; none before the first start."""
    none = daemon("jobmanager", "logs")
    assert (none.out, none.code) == ("", 3)
    assert none.err == f"error: no JobManager has run in {daemon.home} yet\n  hint: sage jobmanager start\n"
    pid = daemon("jobmanager", "start", "--json").json["data"]["pid"]
    result = daemon("jobmanager", "logs")
    assert result.code == 0 and str(pid) in result.out
    document = daemon("jobmanager", "logs", "-n", "1", "--json").json
    assert document["kind"] == "Log"
    assert document["data"]["text"] == result.out.splitlines(keepends=True)[-1]


def test_the_session_log_is_followed_across_restarts(daemon: Any) -> None:
    """`logs -f` goes on with the next session's file, until Ctrl-C."""
    assert daemon("jobmanager", "start").code == 0
    command = [str(Path(sys.executable).with_name("sage")), "jobmanager", "logs", "-f"]
    with subprocess.Popen(
        command, env=daemon.environment(), cwd=daemon.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "listens" in process.stdout.readline()
        daemon("jobmanager", "restart")
        while "listens" not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130


def test_workers_are_said_to_be_missing(daemon: Any) -> None:
    """What concerns workers starts the JobManager, says plainly what is not there, and ends with 10."""
    assert daemon("cluster", "status").code == 4
    started = daemon("deploy", "start", "--with-workers")
    assert started.code == 10
    assert started.out.startswith("status:       up\n")
    assert started.err.endswith("this version of SAGE manages no workers; jobs run on the JobManager's own host\n")
    assert daemon("deploy", "status").code == 0
    assert daemon("deploy", "status", "--with-workers").code == 10
    status = daemon("cluster", "status", "--json")
    assert (status.code, status.json["data"]["status"]) == (10, "up")
    assert daemon("deploy", "stop").code == 0
    assert daemon("deploy", "status").code == 4
