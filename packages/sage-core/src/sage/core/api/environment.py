"""What all environments have in common: they record a pipeline and hand it on."""

from __future__ import annotations

import logging
import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, Unpack, overload

from sage.core.api._reading import Reading
from sage.core.api._typevars import Value
from sage.core.api.datastream import DataStream
from sage.core.api.job import Job
from sage.core.errors import AlreadySubmittedError, WrongStateError
from sage.core.graph.builder import GraphBuilder, Upstream
from sage.core.graph.functions import (
    Given,
    describe_data,
    describe_function,
    describe_service,
    function_kind,
    is_function_class,
)
from sage.core.graph.location import users_location
from sage.core.graph.model import FunctionSpec, LogicalGraph
from sage.core.graph.policy import ErrorPolicy

if TYPE_CHECKING:
    from sage.core.api._forms import Batch, Keywords, Source
    from sage.core.engine.stop import StopType
    from sage.core.plan.explain import Format
    from sage.core.plugins.target import Where

__all__ = ["Environment"]

_Job = TypeVar("_Job", bound=Job)
_log = logging.getLogger("sage.job")


class Environment(Reading):
    """Records a pipeline. Nothing is opened, started or imported before `submit`.

    Args:
        name: of the job, for people.

    Attributes:
        env_uuid: the uuid that the job has, or will have.
    """

    _where: ClassVar[Where] = "local"

    def __init__(self, name: str) -> None:
        self.name = name
        self.env_uuid = str(uuid.uuid4())
        self._builder = GraphBuilder(name)
        self._job: Job | None = None
        self._explained = False

    @overload
    def from_batch(
        self,
        source: type[Batch[Value]],
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Value]: ...
    @overload
    def from_batch(self, source: Batch[Value] | Iterable[Value], **keywords: Unpack[Keywords]) -> DataStream[Value]: ...
    @overload
    def from_batch(
        self,
        source: Callable[..., Iterable[Value]],
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Value]: ...
    def from_batch(
        self,
        source: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """A source that ends.

        Args:
            source: a `BatchFunction` (class with constructor arguments, or instance), which ends with None; or an
                iterable; or a callable that makes one. An iterable may hold None.
        """
        if is_function_class(source) or function_kind(source) or callable(getattr(source, "execute", None)):
            given = describe_function(source, args, kwargs, "batch")
            return self._declare("batch", given, name, uid, parallelism, on_error)
        return self._declare("collection", describe_data(source, args, kwargs), name, uid, parallelism, on_error)

    def from_collection(
        self,
        records: Iterable[Value] | Callable[[], Iterable[Value]],
        *,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
    ) -> DataStream[Value]:
        """A source of the records of an iterable, in its order."""
        return self._declare("collection", describe_data(records, (), {}), name, uid, parallelism, None)

    @overload
    def from_source(
        self,
        source: type[Source[Value]],
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Value]: ...
    @overload
    def from_source(
        self, source: Source[Value] | Callable[[], Value | StopType | None], **keywords: Unpack[Keywords]
    ) -> DataStream[Value]: ...
    def from_source(
        self,
        source: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """A source that may go on for ever.

        Args:
            source: a `SourceFunction` (class with constructor arguments, or instance), or a callable; None is
                "nothing yet", `STOP` ends it.
        """
        given = describe_function(source, args, kwargs, "source")
        return self._declare("source", given, name, uid, parallelism, on_error)

    def from_future(
        self, name: str, *, in_memory: int = 100_000, on_disk: int = 1 << 30, uid: str | None = None
    ) -> DataStream[Any]:
        """A stream that is not there yet: what `DataStream.fill_future` sends back, so that records go in a loop.

        The loop is over once no more records come into it and none goes round in it any more.

        Args:
            name: of the loop, for people.
            in_memory: records that may wait to go round again in memory; further ones wait in a temporary file.
                Before that comes to pass, no more records are let into the loop.
            on_disk: bytes that this file may hold. A loop that needs more, since it makes ever more of its records,
                fails the job with a `FeedbackError`.
            uid: a stable identity; made of the name by default.
        """
        given = Given(FunctionSpec("data", ()), name)
        return self._declare("feedback", given, name, uid, 1, None, {"in_memory": in_memory, "on_disk": on_disk})

    def register_service(self, name: str, service: Any, *args: Any, **kwargs: Any) -> None:
        """Make a service known that functions call by ``self.call_service(name).method(…)``.

        Args:
            name: to call it by.
            service: any class with its constructor arguments, or an instance; its ``open(context)`` and ``close()``
                are called if it has them. Each host has one instance, which many threads call at once.
        """
        self._recorder().add_service(name, describe_service(service, args, kwargs), users_location())

    def explain(self, format: Format = "text") -> str:
        """The operators as declared and the tasks they will run as. Nothing runs.

        Args:
            format: ``text`` for people, ``mermaid`` for a drawing, ``json`` for programs.

        Raises:
            GraphError: the pipeline cannot run.
            ValueError: there is no such format.
        """
        from sage.core.plan.explain import explain
        from sage.core.plan.planner import make_plan

        graph = self._builder.build()
        self._explained = True
        return explain(make_plan(graph), format)

    def submit(self, autostop: bool = False, timeout: float | None = 300) -> Job:
        """Check the pipeline and run it.

        Args:
            autostop: wait until the job and its clean-up have ended.
            timeout: seconds to wait with ``autostop``; None waits for ever.

        Raises:
            GraphError: the pipeline cannot run, or a plugin refuses it; all its problems are listed.
            PluginError: a plugin that judges pipelines failed at it.
            PackagingError: something in it cannot travel to where it runs.
            AlreadySubmittedError: this environment was submitted before.
            JobFailedError: the job failed while it was waited for.
            WaitTimeoutError: it did not end in time; it goes on.
        """
        from sage.core.api._capture import capture, capture_folder

        folder = capture_folder()
        if folder is not None:
            return self.hand_over(
                lambda graph: capture(
                    folder,
                    self._judged(graph, "jobmanager"),
                    self.env_uuid,
                    self._backend_name(),
                    self._job_options(),
                )
            )
        job = self.hand_over(lambda graph: self._start(self._judged(graph, self._where), waited=autostop))
        if autostop or job.in_callers_thread:
            job.wait(timeout if autostop else None)
        return job

    def hand_over(self, start: Callable[[LogicalGraph], _Job]) -> _Job:
        """Let ``start`` make a job of the pipeline: what `submit` does, and whatever takes its place.

        Raises:
            GraphError: the pipeline cannot run; all its problems are listed.
            AlreadySubmittedError: this environment was submitted before.
        """
        self._job = job = start(self._recorder("make a new environment for another run").build())
        return job

    def get_job_status(self) -> dict[str, Any]:
        """The job's status; ``"status"`` is its state, ``not_submitted`` or ``deleted``."""
        if self._job is None:
            return {"status": "not_submitted", "uuid": self.env_uuid, "name": self.name}
        return self._job.status()

    def stop(self) -> None:
        """Ask the job to stop.

        Raises:
            WrongStateError: nothing was submitted.
        """
        if self._job is None:
            raise WrongStateError(f"'{self.name}' was not submitted, so there is no job to stop")
        self._job.stop()

    @abstractmethod
    def close(self) -> None:
        """Let go of what the environment holds. Closing twice does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._job is None and len(self._builder) and not self._explained:
            _log.warning("nothing of '%s' has run: env.submit() was not called before leaving it", self.name)
        self.close()

    @abstractmethod
    def _start(self, graph: LogicalGraph, *, waited: bool) -> Job:
        """Hand the graph on; ``waited`` says that the job's end is waited for."""

    @abstractmethod
    def _backend_name(self) -> str | None:
        """The backend asked for, None for whatever the JobManager is configured to use."""

    def _judged(self, graph: LogicalGraph, where: Where) -> LogicalGraph:
        """The graph as installed plugins want it, if they let it run."""
        from sage.core.plugins.metadata import is_claimed

        if not is_claimed("sage.plugins"):  # nothing else of plugins need be imported then
            return graph
        from sage.core.plugins import Target
        from sage.core.plugins.graph_hooks import ask_plugins

        return ask_plugins(graph, Target(where, self._backend_name()))

    def _job_options(self) -> Mapping[str, Any]:
        """What else the package of the job says of it."""
        return {}

    def _recorder(self, then: str = "declare all of it before submit()") -> GraphBuilder:
        """Where declarations go, as long as they count; ``then`` says what to do once they do not.

        Raises:
            AlreadySubmittedError: what is declared now would be in no job.
        """
        if self._job is not None:
            raise AlreadySubmittedError(
                f"'{self.name}' was submitted before, as job {self._job.uuid}",
                hint=f"one environment is one job: {then}",
                job=self._job.uuid,
            )
        return self._builder

    def _declare(
        self,
        kind: str,
        given: Given,
        name: str | None,
        uid: str | None,
        parallelism: int,
        on_error: ErrorPolicy | None,
        options: Mapping[str, Any] | None = None,
        upstream: tuple[Upstream, ...] = (),
    ) -> DataStream[Any]:
        number = self._recorder().add(
            kind,
            given,
            location=users_location(),
            upstream=upstream,
            name=name,
            uid=uid,
            parallelism=parallelism,
            options=options,
            on_error=on_error,
        )
        return DataStream(self, (Upstream(number),))
