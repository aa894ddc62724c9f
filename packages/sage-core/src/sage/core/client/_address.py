"""Where a JobManager is: checks of what was given, and what is known of the one of this SAGE_HOME."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from sage.core.errors import ConfigError, DaemonUnreachableError
from sage.core.versions import version_of

if TYPE_CHECKING:
    import ssl

    from sage.core.config import Config

__all__ = ["check_address", "other_port", "refused_hint", "running_port", "tls_context"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def check_address(host: str, port: int, token: str | None) -> None:
    """Return if these can be an address and a token.

    Raises:
        ConfigError: they cannot.
    """
    if not host or not host.isprintable() or any(c in " /?#@[]" for c in host):
        raise ConfigError(f"{host!r} is no host name or address", path="daemon -> host")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise ConfigError(f"{port!r} is no port: a whole number from 1 to 65535", path="daemon -> port")
    if token is not None and (not token or not token.isascii() or not token.isprintable() or " " in token):
        raise ConfigError(
            "the token is no token: it must be one word of visible ASCII characters", path="daemon -> token_file"
        )


def tls_context(config: Config) -> ssl.SSLContext | None:
    """How a client verifies the configured JobManager; None where plain HTTP is configured.

    Raises:
        ConfigError: the certificate authority's file cannot be used.
    """
    tls = config.daemon.tls
    if tls.ca is None and tls.cert is None:
        return None
    import ssl

    try:
        return ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
    except OSError as error:  # ssl.SSLError is one, too
        raise ConfigError(
            f"daemon -> tls -> ca: {tls.ca} cannot be used: {error.strerror or error}", path="daemon -> tls -> ca"
        ) from error


def _running() -> tuple[str, int] | None:
    """Where the JobManager of this SAGE_HOME listens, as it says itself; None if none runs."""
    from sage.core.config import sage_home

    try:
        found = json.loads((sage_home() / "daemon.json").read_bytes())
        host, port = str(found["host"]), int(found["port"])
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # Behind the name, which may itself hold spaces and parentheses: the state is field 3, the start time field 22.
        state, *fields = Path(f"/proc/{int(found['pid'])}/stat").read_bytes().rpartition(b")")[2].split()
        same = (int(fields[18]), boot) == (int(found["start_time"]), found["boot_id"])
    except (OSError, ValueError, TypeError, KeyError, IndexError, ConfigError):
        return None  # also where the file is somebody else's
    return (host, port) if same and state not in (b"Z", b"X") else None


def running_port() -> int:
    """The port of the JobManager of this SAGE_HOME.

    Raises:
        DaemonUnreachableError: none runs.
    """
    found = _running()
    if found is None:
        from sage.core.config import sage_home

        raise DaemonUnreachableError(
            f"no JobManager of {sage_home()} runs, and daemon.port is 0, so only a running one knows its port",
            hint=_start_hint(),
            reason="refused",
        )
    return found[1]


def refused_hint(host: str, port: int) -> str:
    """What to do when nobody listens there."""
    if host not in _LOOPBACK:
        return "start it on that host, or check daemon.host and daemon.port (--host, --port)"
    return other_port(host, port) or _start_hint()


def _start_hint() -> str:
    """How to start one on this machine, with what is not installed yet."""
    missing = [distribution for distribution in ("sage-cli", "sage-runtime") if version_of(distribution) is None]
    install = f"pip install {' '.join(missing)}, then " if missing else ""
    return f"start it: {install}sage jobmanager start"


def other_port(host: str, port: int) -> str | None:
    """That the JobManager of this SAGE_HOME listens on another port, if it does: what is spoken to is not that one."""
    found = _running() if host in _LOOPBACK else None
    if found is None or found[1] == port:
        return None
    port = found[1]
    return f"the JobManager of this SAGE_HOME listens on port {port}: port={port}, --port {port}, or set daemon.port"
