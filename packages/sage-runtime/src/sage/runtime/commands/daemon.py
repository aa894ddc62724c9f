"""Starts, finds, asks and stops the JobManager of this host's ``SAGE_HOME``, known by pid, start time and boot."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sage.core.client import JobManagerClient
from sage.core.config import Config, sage_home
from sage.core.errors import DaemonUnreachableError, SageError
from sage.runtime.detached import READY_FD, log_tail, start_detached
from sage.runtime.jobmanager.home import Home, prepare_home
from sage.runtime.shim.processes import ProcessIdentity, identify, is_alive, send_signal, wait_end

__all__ = [
    "DaemonControlError",
    "JobManagerStatus",
    "Running",
    "check_start",
    "jobs_under_way",
    "require_this_host",
    "run_foreground",
    "running",
    "start",
    "status",
    "stop",
]

_MODULE = "sage.runtime.jobmanager"
_START_TIMEOUT = 60.0  # adoption of many running jobs takes its time
_END_TIMEOUT = 5.0
_THIS_HOST = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound


class DaemonControlError(SageError):
    """A JobManager could not be started or stopped; ``code`` and ``exit_code`` may be those that it gave itself."""

    code = "jobmanager"
    exit_code = 10


@dataclass(frozen=True)
class Running:
    """A JobManager of this ``SAGE_HOME`` that runs, as it says in ``daemon.json``."""

    pid: int
    host: str
    port: int
    started_at: str
    session_log: str
    identity: ProcessIdentity

    @property
    def status(self) -> JobManagerStatus:
        """That it is up, with what is known without asking it."""
        return JobManagerStatus("up", **self.facts)

    @property
    def facts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("host", "port", "pid", "started_at", "session_log")}


@dataclass(frozen=True)
class JobManagerStatus:
    """How a JobManager does.

    Attributes:
        status: ``up``, ``down`` or ``unhealthy`` (it runs but does not answer as it should).
        host, port: where it was looked for.
        problem: what is wrong, unless it is up.
    """

    status: str
    host: str
    port: int
    pid: int | None = None
    sage: str | None = None
    python: str | None = None
    started_at: str | None = None
    session_log: str | None = None
    backends: tuple[str, ...] = ()
    problem: str | None = None
    hint: str | None = None

    @property
    def exit_code(self) -> int:
        return {"up": 0, "down": 4}.get(self.status, 10)


def running() -> Running | None:
    """The JobManager that runs in this ``SAGE_HOME``; None if none does."""
    path = Home(sage_home()).daemon_file
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        identity = ProcessIdentity.from_json(data)
        found = Running(
            identity.pid, str(data["host"]), int(data["port"]), data["started_at"], data["session_log"], identity
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DaemonControlError(
            f"{path} does not say which JobManager runs here: {error!r}",
            hint="if none runs, remove that file; else end it yourself and start it anew",
        ) from error
    return found if is_alive(identity) else None


def start(config: Config, *, host: str | None = None, port: int | None = None) -> Running:
    """Start a JobManager in a session of its own and wait until it is ready.

    Args:
        config: must speak of this host.
        host, port: where to listen, instead of what the configuration says.

    Raises:
        DaemonControlError: it did not start; the error is the JobManager's own where it gave one.
    """
    require_this_host(config, "it cannot be started from here")
    home = prepare_home(sage_home())
    log = home.session_logs / "stderr.log"
    command = [*_command(host, port), "--ready-fd", str(READY_FD)]
    try:
        pid, answer = start_detached(command, environment=os.environ, log=log, new_log=True, timeout=_START_TIMEOUT)
    except OSError as error:
        raise DaemonControlError(f"cannot start {command[0]}: {error.strerror}") from error
    if answer is None:
        _end(pid)
        raise DaemonControlError(
            f"the JobManager was not ready within {_START_TIMEOUT:g} s and was ended again{log_tail(log)}",
            hint=f"see the newest log in {home.session_logs}",
        )
    if answer.get("ok") is not True:
        status = _end(pid)
        if "message" in answer:
            raise DaemonControlError(
                str(answer["message"]),
                hint=answer.get("hint"),
                code=str(answer.get("code", DaemonControlError.code)),
                exit_code=int(answer.get("exit_code", DaemonControlError.exit_code)),
            )
        raise DaemonControlError(f"the JobManager ended with status {status} while it started{log_tail(log)}")
    found = running()
    if found is None:
        raise DaemonControlError(
            "the JobManager ended right after its start", hint=f"see the newest log in {home.session_logs}"
        )
    return found


def check_start(config: Config, *, host: str | None = None, port: int | None = None) -> None:
    """Find out whether `start` would be refused for its settings, before the JobManager that runs is stopped for it.

    Raises:
        ConfigError: the settings are wrong together.
        PortTakenError: somebody else has the port.
        DaemonControlError: the configuration speaks of another host.
    """
    from sage.core.config import load
    from sage.runtime.jobmanager.network import listen, tls_context

    require_this_host(config, "it cannot be started from here")
    given = {"daemon.bind": host, "daemon.port": port}
    wanted = load(overrides={name: value for name, value in given.items() if value is not None})
    tls_context(wanted)
    found = running()
    if found is None or wanted.daemon.port != found.port:
        listen(wanted).close()


def run_foreground(config: Config, *, host: str | None = None, port: int | None = None) -> NoReturn:
    """Become the JobManager: this process goes on as one, for service managers and containers."""
    require_this_host(config, "it cannot be started from here")
    sys.stdout.flush()
    sys.stderr.flush()
    command = _command(host, port)
    os.execv(command[0], command)  # noqa: S606 - our own program, no shell


def stop(config: Config, *, timeout: float) -> Running | None:
    """Ask the JobManager of this host to end, and wait until it has. Its jobs go on under their shims.

    Returns:
        the one that was stopped; None if none ran.

    Raises:
        DaemonControlError: it still runs after `timeout` seconds.
    """
    require_this_host(config, "it cannot be stopped from here")
    found = running()
    if found is None or not send_signal(found.identity, signal.SIGTERM):
        return None
    if not wait_end(found.identity, timeout):
        raise DaemonControlError(
            f"the JobManager (pid {found.pid}) still runs {timeout:g} s after it was asked to end",
            hint="asked once more, it ends at once: sage jobmanager stop",
            code="timeout",
            exit_code=6,
        )
    return found


def status(config: Config) -> JobManagerStatus:
    """Ask the JobManager how it does: this host's own by what ``daemon.json`` says, else the configured one."""
    here = running() if _is_this_host(config.daemon.host) else None
    host, port = (here.host, here.port) if here else (config.daemon.host, config.daemon.port)
    facts: dict[str, Any] = {"host": host, "port": port}
    if here is not None:
        facts |= here.facts
    try:
        with JobManagerClient.from_config(config, host=host, port=port) as client:
            info = client.info()
    except DaemonUnreachableError as error:
        state = "down" if here is None else "unhealthy"
        return JobManagerStatus(state, **facts, problem=error.message, hint=error.hint)
    facts |= {"pid": info.pid, "started_at": info.started_at, "session_log": info.session_log}
    return JobManagerStatus("up", **facts, sage=info.sage, python=info.python, backends=tuple(info.backends))


def jobs_under_way() -> int:
    """How many jobs of this ``SAGE_HOME`` have a shim that runs, whether or not there is a JobManager."""
    return sum(map(_has_shim, Home(sage_home()).jobs.glob("*/shim.json")))


def _has_shim(file: Path) -> bool:
    try:
        return is_alive(ProcessIdentity.from_json(json.loads(file.read_bytes())))
    except (OSError, ValueError, KeyError, TypeError):  # a job of that moment, or a damaged file
        return False


def require_this_host(config: Config, else_: str) -> None:
    """Refuse to act on a JobManager that is configured to be elsewhere; `else_` says what cannot be done.

    Raises:
        DaemonControlError: ``daemon.host`` is not this host.
    """
    host = config.daemon.host
    if not _is_this_host(host):
        raise DaemonControlError(
            f"the JobManager is configured to be on {host}, which is not this host: {else_}",
            hint=f"run the command on {host}, or change daemon.host: sage config set daemon.host 127.0.0.1",
            code="other_host",
            exit_code=9,
        )


def _command(host: str | None, port: int | None) -> list[str]:
    # -P: a sage.py in the folder that this happens to be called from must not hide the real package.
    command = [sys.executable, "-P", "-m", _MODULE]
    if host is not None:
        command += ["--host", host]
    if port is not None:
        command += ["--port", str(port)]
    return command


def _end(pid: int) -> int:
    """End the child that we just started, and return its exit status. Its id is ours until it is waited for."""
    child = identify(pid)
    assert child is not None  # not waited for yet
    for number in (signal.SIGTERM, signal.SIGKILL):
        if wait_end(child, _END_TIMEOUT):
            break
        os.kill(pid, number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _is_this_host(host: str) -> bool:
    if host.lower() in _THIS_HOST:
        return True
    import socket

    import psutil

    if host.lower() in (socket.gethostname().lower(), socket.getfqdn().lower()):
        return True
    try:
        found = {item[4][0] for item in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    own = {item.address for items in psutil.net_if_addrs().values() for item in items}
    return bool(found & own)
