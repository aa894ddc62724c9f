"""Starting, finding and stopping the JobManager: what goes wrong is told, and nothing half started is left."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from sage.runtime.shim.processes import is_alive

if TYPE_CHECKING:
    from conftest import User


def test_started_twice(user: User) -> None:
    """The second start ends with 8 and names the first one, by process and address, which goes on untouched."""
    before = user.daemon
    for command in (["jobmanager", "start"], ["deploy", "start"], ["jobmanager", "start", "--port", "0"]):
        done = user.sage(*command, "--json", code=8)
        assert done.data["exit_code"] == 8
        assert f"process {before.pid} on 127.0.0.1 port {user.port}" in done.data["message"]
        assert done.data["hint"]
    foreground = user.sage("jobmanager", "start", "--foreground", code=8)
    assert str(before.pid) in foreground.err
    assert "Traceback" not in foreground.err
    assert user.daemon == before
    user.works()


@pytest.mark.parametrize("how", ["start", "foreground"])
def test_a_taken_port(stranger: User, how: str) -> None:
    """The error names the port and who has it, exit code 10; nothing runs afterwards, and another port will do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if how == "foreground":
            done = stranger.sage("jobmanager", "start", "--foreground", "--port", port, code=10)
            text = done.err
            assert "Traceback" not in text
        else:
            done = stranger.sage("jobmanager", "start", "--port", port, "--json", code=10)
            assert done.data["exit_code"] == 10
            text = f"{done.data['message']}\n{done.data['hint']}"
        assert str(port) in text
        assert str(os.getpid()) in text  # it is this process that has it
        assert "--port" in text
        assert not (stranger.home / "daemon.json").exists()
        assert stranger.sage("jobmanager", "status", code=4).err == ""
    if how == "start":
        assert stranger.sage("jobmanager", "start", "--json").data["port"] == stranger.port
        stranger.works()
        assert stranger.sage("jobmanager", "stop").err.startswith("the JobManager (pid ")


def test_a_port_taken_by_another_jobmanager(user: User, stranger: User) -> None:
    """Two SAGE_HOMEs, one port: the second is told, and its programs are not let in by the first."""
    done = stranger.sage("jobmanager", "start", "--port", user.port, "--json", code=10)
    assert str(user.port) in done.data["message"]
    assert str(user.daemon.pid) in done.data["message"]
    listed = stranger.sage("job", "list", "--json", code=5, env={"SAGE_DAEMON__PORT": str(user.port)})
    assert listed.data["code"] == "not_allowed"
    user.works()


def test_a_restart_that_would_fail(user: User) -> None:
    """What cannot be started again is not stopped: wrong settings (9), a taken port (10)."""
    before = user.daemon
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for group in ("jobmanager", "deploy"):
            unsafe = user.sage(group, "restart", "--host", "0.0.0.0", "--json", code=9)
            assert (unsafe.data["code"], unsafe.err) == ("config", "")
            refused = user.sage(group, "restart", "--port", port, "--json", code=10)
            assert (refused.data["code"], refused.err) == ("port_taken", "")
            assert str(port) in refused.data["message"]
    wrong = user.sage("jobmanager", "restart", "--json", code=9, env={"SAGE_LOGS__KEEP": "some"})
    assert "SAGE_LOGS__KEEP" in wrong.data["message"]
    assert user.daemon == before
    assert is_alive(before)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("daemon:\n  prot: 19002\n", [":2: daemon -> prot: is no setting", "did you mean port?"]),
        ("daemon:\n  port: many\n", [":2: daemon -> port: needs a whole number", "got 'many'"]),
        ("daemon: [1, 2]\n", [":1: daemon: needs a mapping"]),
        ("daemon: {port: 1\nlogs\n", [":", "is no valid YAML"]),
        ("plugins:\n  disable: 7\n", [":2: plugins -> disable: needs a list"]),
        (
            "ssh:\n  workers:\n  - host: a\n  - host: b\n    port: 0\n",
            [":5: ssh -> workers[1] -> port: needs", "got 0"],
        ),
        ("daemon:\n  bind: 0.0.0.0\n", ["daemon -> bind", "daemon.allow_plaintext"]),
    ],
    ids=["unknown field", "wrong kind", "wrong shape", "no YAML", "plugins", "deep", "unsafe"],
)
def test_a_malformed_configuration(stranger: User, text: str, parts: list[str]) -> None:
    """File, line and field, exit code 9, and no JobManager; the same in programs and in `config validate`."""
    stranger.home.mkdir(mode=0o700)
    path = stranger.home / "config.yaml"
    path.write_text(text)
    path.chmod(0o600)
    stranger.env.clear()
    stranger.write(
        "program.py", "from sage.core.api import *\ne = RemoteEnvironment()\ne.from_batch([1]).print()\ne.submit()\n"
    )
    told = []
    for command in (["jobmanager", "start"], ["config", "validate"]):
        done = stranger.sage(*command, "--json", code=9)
        assert done.data["code"] == "config"
        told.append(f"{done.data['message']}\n{done.data['hint']}")
    program = stranger.python("program.py", code=1)
    assert program.last_error.startswith("sage.core.errors.ConfigError: ")
    for message in (*told, program.last_error):
        assert [part for part in (f"{path}:", *parts) if part not in message] == [], message
    assert not (stranger.home / "daemon.json").exists()


def test_what_a_deployment_lacks_is_said(user: User) -> None:
    """`--with-workers` and `cluster status` do or show what there is, say what there is not, and end with 10."""
    for command in (["deploy", "status", "--with-workers"], ["cluster", "status"]):
        done = user.sage(*command, "--json", code=10)
        assert done.data["status"] == "up"
        assert "manages no workers" in done.err
    assert user.sage("deploy", "status", "--json").data["pid"] == user.daemon.pid


def test_a_life(stranger: User) -> None:
    """Configured, started, looked at, restarted, stopped, each with its exit code; what is written is private."""
    stranger.env.clear()  # the file alone says where it is
    stranger.sage("config", "init")
    stranger.sage("config", "set", "daemon.port", stranger.port)
    assert stranger.sage("config", "validate").code == 0
    assert stranger.sage("config", "get", "daemon.port", "--json").data["value"] == stranger.port
    started = stranger.sage("deploy", "start", "--with-workers", "--json", code=10)
    assert started.data["status"] == "up"
    assert "no workers were started" in started.err
    first = stranger.daemon
    stranger.works()
    status = stranger.sage("jobmanager", "status", "--json").data
    assert (status["status"], status["pid"], status["port"]) == ("up", first.pid, stranger.port)
    assert status["started_at"] == started.data["started_at"]
    assert set(status["backends"]) >= {"inline", "local"}
    again = stranger.sage("jobmanager", "restart", "--json").data
    assert again["pid"] != first.pid
    assert not is_alive(first)
    assert stranger.sage("job", "list", "--json").data["items"][0]["state"] == "completed"
    assert [job["number"] for job in stranger.sage("job", "cleanup", "--yes", "--json").data["items"]] == [1]
    assert stranger.sage("job", "list").err == "no jobs\n"
    log = stranger.sage("jobmanager", "logs", "-n", "1000").out
    assert f"listens on 127.0.0.1 port {stranger.port}" in log
    sessions = sorted((stranger.home / "logs" / "jobmanager").glob("session_*.log"))
    assert [path.stat().st_mode & 0o777 for path in (stranger.home, stranger.home / "token", *sessions)] == [
        0o700,
        *[0o600] * (1 + len(sessions)),
    ]
    assert any("job 1 | 21" in path.read_text() for path in sessions)
    second = stranger.daemon
    stopped = stranger.sage("deploy", "stop")
    assert stopped.err == f"the JobManager (pid {second.pid}) has ended; no job was under way\n"
    assert not is_alive(second)
    assert stranger.sage("jobmanager", "stop").err == "no JobManager runs here\n"
    assert stranger.sage("jobmanager", "status", "--json", code=4).data["status"] == "down"


def test_in_the_foreground(stranger: User) -> None:
    """For service managers: it runs as the command's own process, and ends in order by SIGTERM."""
    daemon = stranger.start_sage("jobmanager", "start", "--foreground")
    stranger.until_up()
    assert stranger.daemon.pid == daemon.process.pid
    stranger.works()
    daemon.process.send_signal(signal.SIGTERM)
    done = daemon.end(0)
    assert "Traceback" not in done.err
    assert not (stranger.home / "daemon.json").exists()
