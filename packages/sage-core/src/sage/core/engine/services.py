"""Services: one instance per host, called by name from any function, by many threads at once."""

from __future__ import annotations

import inspect
import queue
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sage.core.engine.events import Attempt
from sage.core.engine.failures import OperatorError
from sage.core.engine.functions import build_function, close_function, open_function
from sage.core.engine.threads import Threads
from sage.core.errors import PipelineError, ServiceTimeoutError, UnknownServiceError
from sage.core.graph.model import ServiceSpec

__all__ = [
    "AsyncServiceHandle",
    "Handle",
    "RunningService",
    "ServiceContext",
    "ServiceHandle",
    "ServiceRegistry",
]

_MOST_CALLS = 128
"""Calls of one service with a time-out that may be under way at once, those that were given up included."""


@dataclass(frozen=True)
class ServiceContext:
    """What a service may know about where it runs.

    Attributes:
        job: uuid of the job.
        job_name: name of its environment.
        service: the name it was registered under.
        attempt: how often the job was continued, from 1.
    """

    job: str
    job_name: str
    service: str
    attempt: int


class RunningService:
    """One instance; in the shape of a running operator, so that a failure of it is told like any other.

    Attributes:
        failed: how often its ``open`` or ``close`` has raised.
    """

    def __init__(self, spec: ServiceSpec) -> None:
        self.spec = spec
        self.function: Any = None
        self.failed = 0
        self._threads = Threads(f"sage-service-{spec.name}", _MOST_CALLS, queues=False)

    def open(self, context: ServiceContext) -> None:
        self.function = build_function(self.spec.function)
        open_function(self.function, self.spec.function, context)

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Call on a thread that is not the caller's.

        Raises:
            ServiceTimeoutError: as many calls as there may be have not returned.
        """
        try:
            return self._threads.submit(method, *args, **kwargs)
        except queue.Full:
            name = self.spec.name
            raise ServiceTimeoutError(
                f"{_MOST_CALLS} calls of the service '{name}' have not returned, so no further one is made",
                hint="find out why it does not answer; a time-out gives up the wait for a call, not the call",
                service=name,
            ) from None

    def close(self) -> None:
        self._threads.shutdown()
        close_function(self.function, self.spec.function)


class ServiceRegistry:
    """The services of one host.

    Args:
        specs: what was registered.
        attempt: which deployment.
        users: number of tasks; when all have left, the services are closed.
    """

    def __init__(self, specs: Iterable[ServiceSpec], attempt: Attempt, users: int) -> None:
        self._services = {spec.name: RunningService(spec) for spec in specs}
        self._attempt = attempt
        self._users = users
        self._lock = threading.Lock()
        self._begun: list[RunningService] = []
        self._are_open: bool | None = None

    def open(self) -> bool:
        """Open all services, once; every task calls this before it opens its functions.

        Returns:
            whether they are open; where not, another task has met the reason and reported it.

        Raises:
            OperatorError: a service could not be opened, now.
        """
        with self._lock:
            if self._are_open is None:
                self._are_open = False
                for service in self._services.values():
                    self._begun.append(service)
                    with OperatorError.boundary(service, "open"):
                        service.open(self._context(service))
                self._are_open = True
            return self._are_open

    def leave(self) -> None:
        """A task has ended. With the last one the services are closed, last opened first.

        Raises:
            OperatorError: of the first that failed to close; all were tried.
        """
        with self._lock:
            self._users -= 1
            if self._users:
                return
            closing, self._begun = self._begun[::-1], []
        first: OperatorError | None = None
        for service in closing:
            try:
                with OperatorError.boundary(service, "close"):
                    service.close()
            except OperatorError as error:
                if first is None:
                    first = error
                else:
                    first.add_note(f"Then {error}")
        if first is not None:
            raise first

    def get(self, name: str) -> RunningService:
        """What is registered as ``name``.

        Raises:
            UnknownServiceError: nothing is.
        """
        service = self._services.get(name)
        if service is None:
            registered = tuple(self._services)
            raise UnknownServiceError(
                f"there is no service '{name}'; registered are: {', '.join(registered) or 'none'}",
                hint=f"call env.register_service('{name}', …) before submit",
                registered=registered,
            )
        return service

    def _context(self, service: RunningService) -> ServiceContext:
        attempt = self._attempt
        return ServiceContext(attempt.job, attempt.name, service.spec.name, attempt.attempt)


class Handle:
    """What user code holds of a service; it gives the methods of the service as its own."""

    def __init__(self, service: RunningService, timeout: float | None) -> None:
        self._name = service.spec.name
        self._service = service
        self._timeout = timeout

    def __reduce__(self) -> Any:
        raise TypeError("a handle on a service cannot be pickled: ask for it with call_service() where it is needed")

    def _method(self, method: str) -> Callable[..., Any]:
        service = self._service.function
        bound = getattr(service, method, None)
        if method.startswith("_") or not callable(bound):
            public = [name for name in dir(service) if name[0] != "_" and callable(getattr(service, name, None))]
            raise AttributeError(
                f"the service '{self._name}' has no method '{method}'; it has: {', '.join(public) or 'none'}"
            )
        call: Callable[..., Any] = bound
        return call

    def _too_late(self, method: str) -> ServiceTimeoutError:
        return ServiceTimeoutError(
            f"the service '{self._name}' has not answered {method} within {self._timeout:g} s",
            hint="find out why it does not, or give it longer by timeout=…",
            service=self._name,
        )


class ServiceHandle(Handle):
    """What ``call_service`` gives.

    Without a time-out a method is called on the caller's own thread; with one, on another.
    """

    def __getattr__(self, method: str) -> Callable[..., Any]:
        bound = self._method(method)
        if inspect.iscoroutinefunction(bound):
            raise PipelineError(
                f"{self._name}.{method} is a coroutine function",
                hint=f"call it from a coroutine: await self.call_service_async('{self._name}').{method}(…)",
            )
        if self._timeout is None:
            return bound

        def call(*args: Any, **kwargs: Any) -> Any:
            answer = self._service.call(bound, *args, **kwargs)
            try:
                return answer.result(self._timeout)
            except TimeoutError as error:
                if answer.done():
                    raise  # the service's own
                raise self._too_late(method) from error

        return call


class AsyncServiceHandle(Handle):
    """What ``call_service_async`` gives: the methods return awaitables.

    A coroutine method is awaited, a plain one called on a thread, so that the event loop goes on.
    """

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        import asyncio  # whoever has no coroutines need not wait for it

        bound = self._method(method)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if inspect.iscoroutinefunction(bound):
                answer = bound(*args, **kwargs)
            else:
                answer = asyncio.to_thread(bound, *args, **kwargs)
            scope = asyncio.timeout(self._timeout)
            try:
                async with scope:
                    return await answer
            except TimeoutError as error:
                if self._timeout is None or not scope.expired():
                    raise  # the service's own
                raise self._too_late(method) from error

        return call
