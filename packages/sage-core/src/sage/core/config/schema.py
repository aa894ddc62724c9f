"""The configuration as one tree of frozen dataclasses: names, kinds, defaults and help of every setting.

Validation, ``sage config`` and the reference page all read this tree; nothing about a setting is said twice.
"""

# ruff: noqa: RUF009  (every default is a dataclasses.field, made by the three helpers below)

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from sage.core.config.kinds import (
    Choice,
    Duration,
    FilePath,
    Flag,
    Integer,
    Kind,
    ListOf,
    Maybe,
    Number,
    Record,
    Size,
    Text,
)

__all__ = [
    "Checkpoints",
    "Config",
    "Daemon",
    "Head",
    "Jobs",
    "Limits",
    "Logs",
    "Monitor",
    "Output",
    "Plugins",
    "Remote",
    "Security",
    "Ssh",
    "SshWorker",
    "Tls",
    "Worker",
]

T = TypeVar("T")

_PORT = Integer(1, 65535)
_HOST = Text("a host name or address", r"[A-Za-z0-9_.:%][A-Za-z0-9_.:%-]*")
_USER = Text("a user name", r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")
_NAME = Text("a name", r"[A-Za-z0-9_.][A-Za-z0-9_.:-]*")


def _setting(kind: Kind[T], default: T, help: str) -> T:
    return field(default=default, metadata={"kind": kind, "help": help})


def _required(kind: Kind[T], help: str) -> T:
    return cast("T", field(metadata={"kind": kind, "help": help}))


def _section(cls: type[T], help: str) -> T:
    return cast("T", field(default_factory=cast("Any", cls), metadata={"kind": Record(cls), "help": help}))


@dataclass(frozen=True)
class Tls:
    """Certificates of the JobManager's port."""

    cert: Path | None = _setting(Maybe(FilePath()), None, "The daemon's certificate (PEM).")
    key: Path | None = _setting(Maybe(FilePath()), None, "The private key of `cert` (PEM).")
    ca: Path | None = _setting(
        Maybe(FilePath()),
        None,
        "What clients trust (PEM); for a self-signed certificate, that certificate. Setting `ca` or `cert` makes "
        "clients speak TLS; with `cert` alone they trust the certificate authorities of their system.",
    )


@dataclass(frozen=True)
class Daemon:
    """The JobManager: where it listens, and where clients find it."""

    host: str = _setting(_HOST, "127.0.0.1", "Where clients connect.")
    port: int = _setting(
        Integer(0, 65535),
        19001,
        "The JobManager's port. With 0 the daemon takes a free one, and clients of the same SAGE_HOME find it.",
    )
    bind: str = _setting(
        _HOST, "127.0.0.1", "The address the daemon listens on. Wider than loopback needs `tls` or `allow_plaintext`."
    )
    allowed_hosts: tuple[str, ...] = _setting(
        ListOf(_HOST), (), "Further host names that requests may carry, besides the loopback names, `host` and `bind`."
    )
    allow_plaintext: bool = _setting(
        Flag(), False, "Listen beyond loopback without TLS, so that tokens and jobs cross the network readable."
    )
    token_file: Path | None = _setting(
        Maybe(FilePath()),
        None,
        "The file with the bearer token; null means `token` in SAGE_HOME. Only its owner may read it.",
    )
    tls: Tls = _section(Tls, "Certificates of the JobManager's port.")
    backend: str = _setting(_NAME, "local", "The backend of jobs that name none.")
    max_running_jobs: int | None = _setting(
        Maybe(Integer(0)), None, "Jobs that run at once; further ones are queued. Null: no limit; 0: none starts."
    )


@dataclass(frozen=True)
class Head:
    """The cluster's head node."""

    host: str | None = _setting(Maybe(_HOST), None, "The head's host; null means this one.")
    head_port: int = _setting(_PORT, 6379, "The head's port.")
    temp_dir: str | None = _setting(Maybe(Text()), None, "A folder on the head for its temporary files.")
    num_cpus: float | None = _setting(Maybe(Number()), None, "CPUs the head offers; null: all it has.")
    num_gpus: float | None = _setting(Maybe(Number()), None, "GPUs the head offers; null: all it has.")
    dashboard: bool = _setting(Flag(), False, "Start the cluster's own dashboard.")
    dashboard_port: int = _setting(_PORT, 8265, "The dashboard's port.")


@dataclass(frozen=True)
class Worker:
    """What every worker node offers."""

    temp_dir: str | None = _setting(Maybe(Text()), None, "A folder on each worker for its temporary files.")
    num_cpus: float | None = _setting(Maybe(Number()), None, "CPUs a worker offers; null: all it has.")
    num_gpus: float | None = _setting(Maybe(Number()), None, "GPUs a worker offers; null: all it has.")


@dataclass(frozen=True)
class SshWorker:
    """One worker host."""

    host: str = _required(_HOST, "The worker's host.")
    port: int = _setting(_PORT, 22, "The port of its SSH server.")


@dataclass(frozen=True)
class Ssh:
    """How the hosts of the cluster are reached."""

    user: str | None = _setting(Maybe(_USER), None, "The user to log in as; null: as SSH itself is set up.")
    key_path: Path | None = _setting(Maybe(FilePath()), None, "The private key; null: as SSH itself is set up.")
    connect_timeout: float = _setting(Duration(), 10.0, "How long a host may take to answer.")
    workers: tuple[SshWorker, ...] = _setting(ListOf(Record(SshWorker)), (), "The worker hosts.")


@dataclass(frozen=True)
class Remote:
    """Where SAGE lives on the hosts of the cluster."""

    sage_home: str = _setting(Text("a path"), "~/.sage", "SAGE_HOME on those hosts.")
    python_path: str = _setting(Text("a path or command"), "python3", "Their Python interpreter.")


@dataclass(frozen=True)
class Checkpoints:
    """How jobs save their state."""

    interval: float | None = _setting(Maybe(Duration()), 10.0, "Time between checkpoints; null: none.")
    keep: int = _setting(Integer(1), 3, "Complete checkpoints kept for each job.")
    storage: str | None = _setting(
        Maybe(Text("a folder or a storage URL")), None, "Where checkpoints go; null: into the job's own folder."
    )
    max_operator_state: int = _setting(
        Size(),
        256 << 20,
        "The most that one operator's subtask may keep for its keys, and in its attributes, by the size when saved.",
    )


@dataclass(frozen=True)
class Jobs:
    """What becomes of jobs."""

    restart: str = _setting(
        Choice(("none", "fixed", "exponential")), "none", "The restart policy of jobs that bring none of their own."
    )
    retention_days: float | None = _setting(
        Maybe(Number()), None, "Days that an ended job is kept; null: until it is deleted."
    )
    keep: int | None = _setting(Maybe(Integer(0)), None, "Ended jobs kept at most, the oldest go first; null: all.")


@dataclass(frozen=True)
class Logs:
    """The logs of the daemon and of each job."""

    max_bytes: int = _setting(Size(4096), 16 << 20, "The size at which a log file is rotated.")
    keep: int = _setting(Integer(0), 3, "Rotated files kept beside the current one.")


@dataclass(frozen=True)
class Limits:
    """What the JobManager takes from its clients."""

    max_package: int = _setting(Size(), 64 << 20, "The largest submission package, as sent.")
    max_unpacked: int = _setting(Size(), 512 << 20, "The most that a package may hold unpacked.")
    max_package_files: int = _setting(Integer(1), 10_000, "Files in a package.")
    max_jobs: int = _setting(Integer(1), 100_000, "Jobs listed, running or ended.")
    max_connections: int = _setting(Integer(1), 256, "Connections served at once.")
    request_timeout: float = _setting(
        Duration(), 30.0, "Time a client may take to send its request or to read an answer."
    )


@dataclass(frozen=True)
class Security:
    """As whom jobs run."""

    run_as: str | None = _setting(Maybe(_USER), None, "The user that jobs run as; null: the daemon's own.")


@dataclass(frozen=True)
class Plugins:
    """Which installed plugins are used."""

    disable: tuple[str, ...] = _setting(
        ListOf(_NAME),
        (),
        "Plugins to leave alone, by distribution (`sage-plugins-example`) or by entry point (`hello`).",
    )


@dataclass(frozen=True)
class Output:
    """How commands print."""

    format: str = _setting(Choice(("table", "json", "yaml")), "table", "The form of what commands print.")
    colors: str = _setting(Choice(("auto", "always", "never")), "auto", "Colours; `auto` means only on a terminal.")


@dataclass(frozen=True)
class Monitor:
    """Live views."""

    refresh_interval: float = _setting(Duration(0.1), 2.0, "Time between two looks of `watch` and `top`.")


@dataclass(frozen=True)
class Config:
    """The whole configuration; `sage.core.config.load` makes one."""

    daemon: Daemon = _section(Daemon, "The JobManager: where it listens, and where clients find it.")
    head: Head = _section(Head, "The cluster's head node.")
    worker: Worker = _section(Worker, "What every worker node offers.")
    ssh: Ssh = _section(Ssh, "How the hosts of the cluster are reached.")
    remote: Remote = _section(Remote, "Where SAGE lives on the hosts of the cluster.")
    checkpoints: Checkpoints = _section(Checkpoints, "How jobs save their state.")
    jobs: Jobs = _section(Jobs, "What becomes of jobs.")
    logs: Logs = _section(Logs, "The logs of the daemon and of each job.")
    limits: Limits = _section(Limits, "What the JobManager takes from its clients.")
    security: Security = _section(Security, "As whom jobs run.")
    plugins: Plugins = _section(Plugins, "Which installed plugins are used.")
    output: Output = _section(Output, "How commands print.")
    monitor: Monitor = _section(Monitor, "Live views.")
