"""Promises: a short id, one sentence, where it is documented, and the function that finds out."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

__all__ = [
    "ASYNC",
    "ELSEWHERE",
    "FEEDBACK",
    "MODULES",
    "PARALLEL",
    "UNBOUNDED",
    "Promise",
    "promise",
    "promise_of",
    "promises",
]

PARALLEL = frozenset({"threads", "processes", "hosts"})
"""A backend with one of these runs tasks beside each other, and beside whoever submits."""

ELSEWHERE = frozenset({"processes", "hosts"})
"""A backend with one of these runs tasks in other processes than the author's."""

ASYNC = frozenset({"async"})
FEEDBACK = frozenset({"feedback"})
UNBOUNDED = frozenset({"unbounded"})

MODULES = (
    "order",
    "keys",
    "exchanges",
    "nothing",
    "flow",
    "ends",
    "streams",
    "functions",
    "errors",
    "state",
    "services",
    "event_time",
    "windows",
    "loops",
    "coroutines",
    "stopping",
    "counts",
    "volume",
    "processes",
    "contract",
)
"""Where the promises of backends are, in the order in which they are told."""

_Function = TypeVar("_Function", bound=Callable[..., None])


@dataclass(frozen=True)
class Promise:
    """What has to be kept.

    Attributes:
        id: short, stable, for reports: ``order.path``.
        text: one sentence.
        reference: the page of the documentation below ``docs``, with its heading.
        needs: of each of these a backend has some capability, or it does not claim this.
    """

    id: str
    text: str
    reference: str
    needs: tuple[frozenset[str], ...] = ()

    @property
    def group(self) -> str:
        """What it belongs to, for tables."""
        return self.id.partition(".")[0]

    def is_claimed(self, capabilities: frozenset[str]) -> bool:
        return all(some & capabilities for some in self.needs)

    @property
    def need(self) -> str:
        """What it needs, in words."""
        return ", and ".join(" or ".join(sorted(some)) for some in self.needs)


def promise(id: str, text: str, reference: str, *needs: frozenset[str]) -> Callable[[_Function], _Function]:
    """Says of a function that it finds out whether a promise is kept: it raises if not."""

    def mark(function: _Function) -> _Function:
        function.sage_promise = Promise(id, text, reference, needs)  # type: ignore[attr-defined]
        return function

    return mark


def promise_of(function: Any) -> Promise | None:
    """What a function finds out."""
    found = getattr(function, "sage_promise", None)
    return found if isinstance(found, Promise) else None


def promises(subject: Literal["backend", "connector"] = "backend") -> tuple[Promise, ...]:
    """All that a backend, or a connector, has to keep."""
    if subject == "connector":
        connectors = importlib.import_module("sage.core.testing.connectors")
        places: list[Any] = [connectors.SourceConformance, connectors.SinkConformance]
    else:
        places = [importlib.import_module(f"sage.core.testing.conformance.{name}") for name in MODULES]
    return tuple(found for place in places for item in vars(place).values() if (found := promise_of(item)))
