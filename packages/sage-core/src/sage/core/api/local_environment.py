"""LocalEnvironment: the pipeline runs in this process."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sage.core.api.environment import Environment
from sage.core.api.job import Job
from sage.core.graph.model import LogicalGraph

if TYPE_CHECKING:
    from sage.core.backends.api import Backend
    from sage.core.plugins.job_hooks import JobHooks

__all__ = ["LocalEnvironment"]


class LocalEnvironment(Environment):
    """Runs its pipeline in this process.

    Without ``autostop``, `submit` returns at once on the backend ``local``; a bounded job then keeps the
    interpreter alive until it is done, an unbounded one is cancelled when the program ends. On ``inline`` the
    pipeline runs to its end within `submit`.

    Args:
        name: of the job, for people.
        backend: ``local`` (a thread per task), ``inline`` (all in the caller's thread, one record at a time), or
            any other that is installed.
        options: of the backend, by name. ``inline`` has ``clock``, ``max_records`` and ``timeout``
            (see `sage.core.backends.inline.InlineOptions`). What it does not know is refused at `submit`.
    """

    def __init__(
        self, name: str = "local", backend: str = "local", *, options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(name)
        self._backend = backend
        self._options = dict(options or {})

    def close(self) -> None:
        """Wait for a bounded job; cancel an unbounded one."""
        from sage.core.api._local_job import LocalJob

        if isinstance(self._job, LocalJob):
            self._job.settle()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from sage.core.api._local_job import LocalJob

        if error is None or not isinstance(self._job, LocalJob):
            super().__exit__(kind, error, trace)
        elif not self._job.goes_on_after(error):
            self._job.cancel_and_wait()

    def submit(self, autostop: bool = False, timeout: float | None = 300) -> Job:
        from sage.core.engine.ctrl_c import Guard

        with Guard():  # also between the start of the job and the wait for its end
            return super().submit(autostop, timeout)

    def _start(self, graph: LogicalGraph, *, waited: bool) -> Job:
        from sage.core.api._local_job import LocalJob

        backend = self._make_backend()
        return LocalJob.start(graph, self.env_uuid, backend, self._backend, waited=waited, hooks=_hooks())

    def _make_backend(self) -> Backend:
        from sage.core.backends.api import BackendOptions
        from sage.core.plugins import backend as resolve_backend

        return resolve_backend(self._backend, BackendOptions(self._options))

    def _backend_name(self) -> str | None:
        return self._backend


def _hooks() -> JobHooks | None:
    """Plugins that are to be told of the job; where none is installed, nothing is imported to find that out."""
    from sage.core.plugins.metadata import is_claimed

    if not is_claimed("sage.plugins"):
        return None
    from sage.core.plugins.job_hooks import job_hooks_of_this_program

    return job_hooks_of_this_program()
