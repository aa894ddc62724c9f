"""From the command line to the end of the daemon: one at a time, ready when it says so, gone when it is told."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from socket import socket
from typing import TYPE_CHECKING, Any

from sage.core.config import Config, load, read_token, sage_home, token_path
from sage.core.errors import InternalError, SageError
from sage.runtime.jobmanager.exhaustion import tells_exhaustion_briefly
from sage.runtime.jobmanager.home import Home, UnsafeFileError, create_token, prepare_home
from sage.runtime.jobmanager.network import client_host, listen, tls_context
from sage.runtime.jobmanager.session_log import SessionLog
from sage.runtime.shim.files import write_json
from sage.runtime.shim.processes import identify

if TYPE_CHECKING:
    from sage.runtime.jobmanager.daemon import Daemon

__all__ = ["AlreadyRunningError", "main"]

_MOST_FILES = 65_536
# uvicorn warns of each malformed request, hence as often as a stranger likes.
_LOGGERS = (("sage", logging.INFO), ("uvicorn", logging.ERROR), ("asyncio", logging.WARNING))
_log = logging.getLogger(__name__)


class AlreadyRunningError(SageError):
    """A JobManager of this SAGE_HOME runs already; ``pid`` is its process."""

    code = "already_running"
    exit_code = 8


@dataclass(frozen=True)
class _Options:
    host: str | None
    port: int | None
    ready_fd: int | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the JobManager in the foreground until SIGTERM or SIGINT; returns its exit status."""
    options = _parse(arguments)
    os.umask(0o077)
    ready = _Ready(options.ready_fd)
    try:
        return _run(options, ready)
    except SageError as error:
        ready.failed(error)
        return error.exit_code
    except Exception as error:
        _log.exception("the JobManager failed")
        ready.failed(InternalError(f"the JobManager failed: {error!r}", hint="please report this with the session log"))
        return InternalError.exit_code


def _run(options: _Options, ready: _Ready) -> int:
    config = _configuration(options)
    home = prepare_home(sage_home())
    with ExitStack() as stack:
        stack.enter_context(_Lock(home))
        token = _token(config)
        tls = tls_context(config)
        listener = stack.enter_context(listen(config))
        _allow_many_files()
        session = SessionLog(
            home.session_logs, max_bytes=config.logs.max_bytes, keep=config.logs.keep, echo=options.ready_fd is None
        )
        stack.callback(session.close)
        stack.enter_context(_Logging(session))
        # Only now: a start that is refused above says so without loading the web framework.
        from sage.runtime.jobmanager.daemon import Daemon

        daemon = Daemon(config, home, token, session, tls)
        stack.callback(lambda: home.daemon_file.unlink(missing_ok=True))
        asyncio.run(
            _serve(daemon, listener, lambda: _announce(config, home, listener, session, daemon.started_at, ready))
        )
        _log.info("the JobManager has stopped; its jobs go on")
    return 0


async def _serve(daemon: Daemon, listener: socket, announce: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(tells_exhaustion_briefly())
    asked = False

    def stop(name: str) -> None:
        nonlocal asked
        if asked:
            # All that matters is on disk already; the files that say we run are removed by whoever finds them stale.
            _log.warning("%s again: ending at once", name)
            os._exit(1)
        asked = True
        _log.info("%s: stopping", name)
        daemon.stop()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number.name)
    await daemon.run(listener, announce)


def _announce(
    config: Config, home: Home, listener: socket, session: SessionLog, started_at: str, ready: _Ready
) -> None:
    host, port = client_host(config), listener.getsockname()[1]
    identity = identify(os.getpid())
    assert identity is not None
    address = {"host": host, "port": port, "tls": config.daemon.tls.cert is not None}
    more = {"started_at": started_at, "session_log": str(session.path)}
    write_json(str(home.daemon_file), {**identity.to_json(), **address, **more})
    _log.info("the JobManager listens on %s port %d (process %d, SAGE_HOME %s)", host, port, identity.pid, home.root)
    ready.ok(host, port)


class _Ready:
    """Whoever started the daemon waits for one line on this descriptor; without one, errors go to stderr."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            os.set_inheritable(descriptor, False)

    def ok(self, host: str, port: int) -> None:
        self._tell({"ok": True, "host": host, "port": port, "pid": os.getpid()})

    def failed(self, error: SageError) -> None:
        facts = {"code": error.code, "message": error.message, "hint": error.hint, "exit_code": error.exit_code}
        if not self._tell({"ok": False, **facts}):
            sys.stderr.write(f"sage: {error}\n")

    def _tell(self, answer: dict[str, Any]) -> bool:
        if self._descriptor is None:
            return False
        try:
            os.write(self._descriptor, json.dumps(answer).encode() + b"\n")
        except OSError as error:
            _log.warning("whoever started this JobManager does not listen any more: %s", error)
        os.close(self._descriptor)
        self._descriptor = None
        return True


class _Logging:
    """The library's loggers write to the session log inside the block."""

    def __init__(self, session: SessionLog) -> None:
        self._handler = session.handler()

    def __enter__(self) -> None:
        for name, level in _LOGGERS:
            logger = logging.getLogger(name)
            logger.setLevel(level)
            logger.propagate = False
            logger.addHandler(self._handler)

    def __exit__(self, *_: object) -> None:
        for name, _level in _LOGGERS:
            logging.getLogger(name).removeHandler(self._handler)


def _parse(arguments: Sequence[str] | None) -> _Options:
    parser = argparse.ArgumentParser("python -m sage.runtime.jobmanager", description="The SAGE JobManager.")
    parser.add_argument("--host", help="address to listen on (daemon.bind)")
    parser.add_argument("--port", type=int, help="port to listen on (daemon.port)")
    parser.add_argument("--ready-fd", type=int, help="descriptor on which to tell how the start went")
    found = parser.parse_args(arguments)
    return _Options(found.host, found.port, found.ready_fd)


def _configuration(options: _Options) -> Config:
    overrides: dict[str, object] = {}
    if options.host is not None:
        overrides["daemon.bind"] = options.host
    if options.port is not None:
        overrides["daemon.port"] = options.port
    return load(overrides=overrides)


def _token(config: Config) -> str:
    path = token_path(config)
    try:
        if create_token(path):
            sys.stderr.write(f"sage: a new token is in {path}\n")
    except OSError as error:
        raise UnsafeFileError(
            f"the token file {path} cannot be made: {error.strerror}", hint="see daemon.token_file", path=str(path)
        ) from error
    token = read_token(config)
    if token is None:
        raise UnsafeFileError(f"the token file {path} was removed while the JobManager started", path=str(path))
    return token


class _Lock:
    """Holds the lock of this SAGE_HOME; the kernel lets go of it however the process ends."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise _already_running(home, holder) from None

    def __enter__(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        # What an earlier daemon that was killed said of itself is true no more.
        self._home.daemon_file.unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _already_running(home: Home, holder: str) -> AlreadyRunningError:
    where = ""
    try:
        found = json.loads(home.daemon_file.read_bytes())
        where = f" on {found['host']} port {int(found['port'])}"
        holder = str(int(found["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        # It is starting or stopping, so it has no address to tell.
        where = ""
    return AlreadyRunningError(
        f"a JobManager of {home.root} runs already: process {holder or 'unknown'}{where}",
        hint="use it, stop it with sage jobmanager stop, or set SAGE_HOME to another folder",
        pid=int(holder) if holder.isdecimal() else None,
    )


def _allow_many_files() -> None:
    """Each connection and each running job takes a descriptor; the usual soft limit of 1024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
