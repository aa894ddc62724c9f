"""Services: one instance per host, called by name from any function, by many threads at once."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sage.core.engine.callers import Callers
from sage.core.engine.events import Attempt
from sage.core.engine.failures import OperatorError
from sage.core.engine.functions import build_function
from sage.core.errors import PipelineError, ServiceTimeoutError, UnknownServiceError
from sage.core.graph.model import ServiceSpec

__all__ = [
    "AsyncServiceHandle",
    "ServiceContext",
    "ServiceHandle",
    "ServiceRegistry",
]


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


class _RunningService:
    """One instance; in the shape of a running operator, so that a failure of it is told like any other."""

    def __init__(self, spec: ServiceSpec) -> None:
        self.spec = spec
        self.function: Any = None
        self.callers = Callers(spec.name)
        self.failed = 0

    def open(self, context: ServiceContext) -> None:
        self.function = build_function(self.spec.function)
        hook = getattr(self.function, "open", None)
        if callable(hook):
            hook(context)

    def close(self) -> None:
        self.callers.close()
        hook = getattr(self.function, "close", None)
        if callable(hook):
            hook()


class ServiceRegistry:
    """The services of one host.

    Args:
        specs: what was registered.
        attempt: which deployment.
        users: number of tasks; when all have left, the services are closed.
    """

    def __init__(self, specs: Iterable[ServiceSpec], attempt: Attempt, users: int) -> None:
        self._services = {spec.name: _RunningService(spec) for spec in specs}
        self._attempt = attempt
        self._users = users
        self._lock = threading.Lock()
        self._begun: list[_RunningService] = []
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

    def get(self, name: str) -> Any:
        """The instance registered as ``name``.

        Raises:
            UnknownServiceError: there is none.
        """
        return self._running(name).function

    def callers(self, name: str) -> Callers:
        """The threads that call it for those who give a time-out. Raises as `get` does."""
        return self._running(name).callers

    def _running(self, name: str) -> _RunningService:
        service = self._services.get(name)
        if service is None or service.function is None:
            registered = tuple(self._services)
            raise UnknownServiceError(
                f"there is no service '{name}'; registered are: {', '.join(registered) or 'none'}",
                hint=f"call env.register_service('{name}', …) before submit",
                registered=registered,
            )
        return service

    def _context(self, service: _RunningService) -> ServiceContext:
        attempt = self._attempt
        return ServiceContext(attempt.job, attempt.name, service.spec.name, attempt.attempt)


class ServiceHandle:
    """What ``call_service`` gives: its methods are those of the service.

    Without a time-out a method is called on the caller's own thread; with one, on another, one of ``callers``.
    """

    def __init__(self, name: str, service: Any, timeout: float | None, callers: Callers) -> None:
        self._name = name
        self._service = service
        self._timeout = timeout
        self._callers = callers

    def __reduce__(self) -> Any:
        raise TypeError("a handle on a service cannot be pickled: ask for it with call_service() where it is needed")

    def __getattr__(self, method: str) -> Callable[..., Any]:
        bound = _method(self._name, self._service, method)
        if inspect.iscoroutinefunction(bound):
            raise PipelineError(
                f"{self._name}.{method} is a coroutine function",
                hint=f"call it from a coroutine: await self.call_service_async('{self._name}').{method}(…)",
            )
        if self._timeout is None:
            return bound
        timeout = self._timeout

        def call(*args: Any, **kwargs: Any) -> Any:
            answer = self._callers.call(functools.partial(bound, *args, **kwargs))
            try:
                return answer.result(timeout)
            except TimeoutError as error:
                if answer.done():
                    raise  # the service's own
                raise _too_late(self._name, method, timeout) from error

        return call


class AsyncServiceHandle:
    """What ``call_service_async`` gives: its methods return awaitables.

    A coroutine method is awaited, a plain one called on a thread, so that the event loop goes on.
    """

    def __init__(self, name: str, service: Any, timeout: float | None) -> None:
        self._name = name
        self._service = service
        self._timeout = timeout

    def __reduce__(self) -> Any:
        raise TypeError("a handle on a service cannot be pickled: ask for it with call_service() where it is needed")

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        bound = _method(self._name, self._service, method)

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
                raise _too_late(self._name, method, self._timeout) from error

        return call


def _method(name: str, service: Any, method: str) -> Callable[..., Any]:
    bound = getattr(service, method, None)
    if method.startswith("_") or not callable(bound):
        public = [item for item in dir(service) if not item.startswith("_") and callable(getattr(service, item, None))]
        raise AttributeError(f"the service '{name}' has no method '{method}'; it has: {', '.join(public) or 'none'}")
    call: Callable[..., Any] = bound
    return call


def _too_late(name: str, method: str, timeout: float) -> ServiceTimeoutError:
    return ServiceTimeoutError(f"the service '{name}' has not answered {method} within {timeout:g} s", service=name)
