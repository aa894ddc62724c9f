"""Where the daemon listens: the socket, TLS, and the names under which it may be addressed."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl

from sage.core.config import Config
from sage.core.errors import ConfigError, SageError

__all__ = ["PortTakenError", "client_host", "host_names", "listen", "tls_context"]


class PortTakenError(SageError):
    """Something else listens on the daemon's port; ``port`` and, where it can be known, ``pid``."""

    code = "port_taken"
    exit_code = 10


def listen(config: Config) -> socket.socket:
    """A socket that listens on ``daemon.bind`` and ``daemon.port``.

    Raises:
        ConfigError: the address is wider than loopback without TLS or ``allow_plaintext``, or cannot be bound.
        PortTakenError: the port is taken.
    """
    bind, port = config.daemon.bind, config.daemon.port
    family, address = _resolve(bind, port)
    is_loopback = ipaddress.ip_address(address[0].partition("%")[0]).is_loopback
    if not is_loopback and config.daemon.tls.cert is None and not config.daemon.allow_plaintext:
        raise ConfigError(
            f"daemon.bind is {bind}, which others can reach, and the JobManager has no certificate",
            hint="set daemon.tls.cert and daemon.tls.key, or daemon.allow_plaintext if the network is trusted;"
            " whoever reads the token there can run any code as this user",
            path="daemon -> bind",
        )
    # The protocol is named because asyncio turns Nagle's algorithm off only for sockets that say they are TCP; with it
    # every answer waits 40 ms for a delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)  # finds out at once whether the port is free; the server sets its own backlog
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise _taken(bind, port) from error
        raise ConfigError(
            f"the JobManager cannot listen on {bind}:{port}: {error.strerror}",
            hint="see daemon.bind and daemon.port",
            path="daemon -> bind",
        ) from error
    return listener


def tls_context(config: Config) -> ssl.SSLContext | None:
    """TLS with the configured certificate, None if there is none.

    Raises:
        ConfigError: certificate and key cannot be used.
    """
    tls = config.daemon.tls
    if tls.cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"daemon.tls.cert {tls.cert} and daemon.tls.key {tls.key} cannot be used: {error.strerror or error}",
            hint="both must be PEM files that belong together, the key without a passphrase",
            path="daemon -> tls -> cert",
        ) from error
    return context


def host_names(config: Config) -> set[str]:
    """Names and addresses that a request's Host may carry, besides those of loopback."""
    names = {config.daemon.host, config.daemon.bind, *config.daemon.allowed_hosts}
    return names - {"0.0.0.0", "::"}  # noqa: S104 - these bind, but address nobody


def client_host(config: Config) -> str:
    """Where clients on this host reach a daemon that listens on ``daemon.bind``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.daemon.bind, config.daemon.bind)  # noqa: S104


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(
            f"daemon.bind {host!r} is no address of this host: {error.strerror}", path="daemon -> bind"
        ) from error
    # IPv4 first: the default is 127.0.0.1, and "localhost" shall mean the same.
    family, _, _, _, address = min(found, key=lambda item: item[0] != socket.AF_INET)
    return family, address  # type: ignore[return-value]


def _taken(bind: str, port: int) -> PortTakenError:
    owner = _owner(port)
    told = f" by {owner[1]} (process {owner[0]})" if owner else ""
    return PortTakenError(
        f"port {port} of {bind} is taken{told}",
        hint="choose another: sage jobmanager start --port N, or daemon.port in the configuration",
        port=port,
        pid=owner[0] if owner else None,
    )


def _owner(port: int) -> tuple[int, str] | None:
    """Process and name of who listens on ``port``, if this user may know."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and getattr(connection.laddr, "port", None) == port
                and connection.pid
            ):
                return connection.pid, psutil.Process(connection.pid).name()
    except (psutil.Error, OSError):
        return None
    return None
