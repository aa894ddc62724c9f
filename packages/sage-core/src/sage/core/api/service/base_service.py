"""BaseService: what a service may derive from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sage.core.engine.services import ServiceContext

__all__ = ["BaseService"]


class BaseService:
    """A service has methods of its own choosing, which functions call by ``self.call_service(name).method(…)``.

    There is one instance per host, made before any function is opened. Its methods are called by many threads at
    once. It is outside the pipeline's state: what must survive belongs into the functions' attributes.
    """

    def open(self, context: ServiceContext) -> None:
        """Called once before any function's ``open``: connect, load."""

    def close(self) -> None:
        """Called once after the last function's ``close``. What it raises fails the job."""
