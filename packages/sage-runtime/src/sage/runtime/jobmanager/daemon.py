"""The daemon put together: its parts, in the order in which they start and stop."""

from __future__ import annotations

import asyncio
import os
import platform
import ssl
import sys
from collections.abc import Callable
from importlib.metadata import version
from socket import socket

from sage.core import timestamps
from sage.core.client.package import MEDIA_TYPE, PackageLimits
from sage.core.config import Config
from sage.core.models import API_VERSION, DaemonInfo
from sage.core.plugins import installed_backends
from sage.core.plugins.job_hooks import installed_job_hooks
from sage.runtime.jobmanager.app import make_app
from sage.runtime.jobmanager.events import Hub
from sage.runtime.jobmanager.guard import ExpectedBody, Guard, Tokens
from sage.runtime.jobmanager.home import Home
from sage.runtime.jobmanager.limits import Limits
from sage.runtime.jobmanager.locks import NamedLocks
from sage.runtime.jobmanager.meters import Meters
from sage.runtime.jobmanager.network import host_names
from sage.runtime.jobmanager.offload import Offload
from sage.runtime.jobmanager.parts import API_PREFIX, Parts
from sage.runtime.jobmanager.records import Records
from sage.runtime.jobmanager.removal import Removal
from sage.runtime.jobmanager.server import HttpServer
from sage.runtime.jobmanager.session_log import SessionLog
from sage.runtime.jobmanager.store import Store
from sage.runtime.jobmanager.submissions import Submissions, finish_deletions, sweep_unacknowledged
from sage.runtime.jobmanager.supervisor import Supervisor, SupervisorSettings
from sage.runtime.jobmanager.watch import FolderWatch

__all__ = ["Daemon"]

_ADMIN = "admin"


class Daemon:
    """One run of the JobManager.

    Args:
        token: the administrator's.
        session: where it logs.
        tls: serve HTTPS with this context.

    Attributes:
        started_at: when, as everybody is told.

    Raises:
        StoreError: the index of jobs cannot be opened.
    """

    def __init__(
        self, config: Config, home: Home, token: str, session: SessionLog, tls: ssl.SSLContext | None = None
    ) -> None:
        self.started_at = timestamps.now()
        self._config = config
        self._home = home
        self._tokens = Tokens({_ADMIN: token})
        self._session = session
        self._tls = tls
        self._limits = _limits(config)
        self._store = Store(home.database, jobs=home.jobs)
        self._hub: Hub | None = None
        self._server: HttpServer | None = None
        self._hooks = installed_job_hooks()
        self._stop_asked = False

    async def run(self, listener: socket, announce: Callable[[], None]) -> None:
        """Serve on ``listener`` until `stop`; calls ``announce`` once requests are answered."""
        offload = Offload()
        watch = FolderWatch()
        try:
            await finish_deletions(self._home, self._store, offload)
            await offload.read(sweep_unacknowledged, self._home, await self._store.uuids())
            parts = self._parts(offload, watch)
            await parts.supervisor.start()
            try:
                await self._serve(parts, listener, announce)
            finally:
                await parts.supervisor.stop()
        finally:
            watch.close()
            if self._hooks is not None:
                await asyncio.to_thread(self._hooks.close)
            # A start of a shim that is under way is finished, so that it is not left half done.
            await asyncio.to_thread(offload.close)
            await asyncio.to_thread(self._store.close)

    def stop(self) -> None:
        """Answer what is open, then let `run` return. Running jobs go on."""
        self._stop_asked = True
        if self._hub is not None:
            self._hub.close()
        if self._server is not None:
            self._server.stop()

    async def _serve(self, parts: Parts, listener: socket, announce: Callable[[], None]) -> None:
        guard = Guard(
            make_app(parts),
            tokens=self._tokens,
            hosts=host_names(self._config),
            limits=self._limits,
            body_of=self._body_of,
            connections=lambda: self._server.connections if self._server else 0,
            observe=parts.meters.request,
        )
        self._hub = parts.hub
        self._server = HttpServer(guard, self._limits, self._tls)
        if self._stop_asked:
            return  # while jobs were taken up again
        serving = asyncio.get_running_loop().create_task(self._server.serve(sockets=[listener]), name="http")
        accepting = asyncio.get_running_loop().create_task(self._server.accepting.wait(), name="accepting")
        await asyncio.wait({serving, accepting}, return_when=asyncio.FIRST_COMPLETED)
        accepting.cancel()
        if self._server.accepting.is_set():
            announce()
        await serving

    def _parts(self, offload: Offload, watch: FolderWatch) -> Parts:
        config, home, store, limits = self._config, self._home, self._store, self._limits
        locks = NamedLocks()
        hub = Hub(readers=limits.readers)
        records = Records(home, offload)
        settings = SupervisorSettings(
            max_running=config.daemon.max_running_jobs,
            log_max_bytes=config.logs.max_bytes,
            log_keep=config.logs.keep,
        )
        supervisor = Supervisor(home, store, records, hub, watch, offload, self._session, settings, self._hooks)
        submissions = Submissions(
            home,
            store,
            offload,
            limits=PackageLimits(
                max_bytes=limits.package_bytes,
                max_unpacked=config.limits.max_unpacked,
                max_files=config.limits.max_package_files,
            ),
            max_jobs=config.limits.max_jobs,
            backends=installed_backends,
            default_backend=config.daemon.backend,
            max_waiting=limits.queue,
            waiting=lambda: supervisor.waiting,
            locks=locks,
        )
        return Parts(
            home=home,
            limits=limits,
            info=self._info(),
            store=store,
            records=records,
            hub=hub,
            watch=watch,
            offload=offload,
            supervisor=supervisor,
            submissions=submissions,
            removal=Removal(home, store, supervisor, offload, locks),
            meters=Meters(lambda: len(hub)),
        )

    def _info(self) -> DaemonInfo:
        return DaemonInfo(
            sage=version("sage-runtime"),
            api=API_VERSION,
            python=platform.python_version(),
            implementation=sys.implementation.name,
            cloudpickle=version("cloudpickle"),
            pid=os.getpid(),
            started_at=self.started_at,
            session_log=str(self._session.path),
            backends=installed_backends(),
        )

    def _body_of(self, method: str, path: str) -> ExpectedBody | None:
        if method == "POST" and path == f"{API_PREFIX}/jobs":
            return ExpectedBody((MEDIA_TYPE,), self._limits.package_bytes)
        return None


def _limits(config: Config) -> Limits:
    given = config.limits
    return Limits(
        package_bytes=given.max_package,
        connections=given.max_connections,
        header_timeout=given.request_timeout,
        body_timeout=given.request_timeout,
        write_timeout=given.request_timeout,
    )
