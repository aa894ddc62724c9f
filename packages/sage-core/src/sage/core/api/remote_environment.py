"""RemoteEnvironment: the pipeline runs under a JobManager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sage.core.api.environment import Environment
from sage.core.api.job import Job
from sage.core.graph.model import LogicalGraph

if TYPE_CHECKING:
    from sage.core.client.jobmanager_client import JobManagerClient

__all__ = ["RemoteEnvironment"]


class RemoteEnvironment(Environment):
    """Sends its pipeline to a JobManager, which runs it and looks after its life.

    What is left out comes from the configuration (`sage config show`), else from the defaults and the token in
    ``SAGE_HOME``. Nothing is contacted before `submit`.

    Args:
        name: of the job, for people.
        host, port: where the JobManager listens.
        backend: what runs the job there; by default what the JobManager is configured to use.
        token: the bearer token.
        env_vars: environment variables of the job's processes, beside the general ones of the JobManager. They travel
            and are kept with the job; commands show their names only. Names must not begin with ``SAGE_``.
    """

    _where = "jobmanager"

    def __init__(
        self,
        name: str = "remote",
        host: str | None = None,
        port: int | None = None,
        backend: str | None = None,
        token: str | None = None,
        env_vars: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name)
        self._host = host
        self._port = port
        self._backend = backend
        self._token = token
        self._env_vars = dict(env_vars or {})
        self._client: JobManagerClient | None = None

    @property
    def client(self) -> JobManagerClient:
        """The client of the JobManager, made at first use."""
        if self._client is None:
            from sage.core.client.jobmanager_client import JobManagerClient

            self._client = JobManagerClient.from_config(host=self._host, port=self._port, token=self._token)
        return self._client

    def close(self) -> None:
        """Let go of the connection. The job goes on."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _start(self, graph: LogicalGraph, *, waited: bool) -> Job:
        from sage.core.api._remote_job import RemoteJob

        return RemoteJob.start(graph, self.env_uuid, self._backend, self._job_options(), self)

    def _job_options(self) -> Mapping[str, Any]:
        return {"env_vars": self._env_vars} if self._env_vars else {}

    def _backend_name(self) -> str | None:
        return self._backend
