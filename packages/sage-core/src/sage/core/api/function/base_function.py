"""What all function classes have in common."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sage.core.engine.context import RuntimeContext

__all__ = ["BaseFunction"]


class _Context:
    """``self.context`` before the engine has set it. No data descriptor, so that the engine's value wins at no cost."""

    def __get__(self, function: object | None, owner: type) -> Any:
        if function is None:
            return self
        raise AttributeError(f"{owner.__qualname__}.context is there from open() on, while the pipeline runs")


class _Logger:
    def __get__(self, function: object | None, owner: type) -> Any:
        if function is None:
            return self
        return logging.getLogger(f"sage.function.{owner.__qualname__}")


class BaseFunction(ABC):
    """A function that any one-input operator takes.

    Its life: ``__init__`` → ``open(context)`` → ``execute(…)`` for each record → ``close()``. Each subtask has an
    instance of its own; attributes are its state. ``super().__init__()`` is optional.

    Attributes:
        context: where this runs and, directly behind ``keyby``, the key of the record in hand. Only while running.
        logger: the standard logger ``sage.function.<class>``.
        transient: names of attributes that are no state: neither saved nor restored.

    A class whose attributes can be shared out among another number of subtasks says how, in a static method
    ``split_state(states, n)``: from the attributes of all subtasks there were, those of each of ``n``, as mappings.
    """

    __sage_function__: ClassVar[str] = "any"
    transient: ClassVar[Collection[str]] = ()

    if TYPE_CHECKING:
        context: RuntimeContext
        logger: logging.Logger
    else:
        context = _Context()
        logger = _Logger()

    def open(self, context: RuntimeContext) -> Awaitable[None] | None:  # noqa: B027 - overriding it is optional
        """Called once before the first record, where the function runs: connect, load, open.

        In an `AsyncMapFunction`, and nowhere else, it may be a coroutine function.
        """

    def call_service(self, name: str, *, timeout: float | None = None) -> Any:
        """A handle on the service ``name``: ``self.call_service("db").find(key)``.

        Args:
            name: as registered by ``env.register_service``.
            timeout: seconds that each call may take; then it raises `ServiceTimeoutError`.

        Raises:
            UnknownServiceError: none was registered under that name.
        """
        return self.context.call_service(name, timeout=timeout)

    def call_service_async(self, name: str, *, timeout: float | None = None) -> Any:
        """Like `call_service`, for coroutines: ``await self.call_service_async("db").find(key)``."""
        return self.context.call_service_async(name, timeout=timeout)

    @abstractmethod
    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Called for each record; what it returns depends on the operator."""

    def close(self) -> Awaitable[None] | None:  # noqa: B027 - overriding it is optional
        """Called once at the end, however it came: flush, close. What it raises fails the job.

        In an `AsyncMapFunction`, and nowhere else, it may be a coroutine function.
        """
