"""The pipeline as frozen data: what the API records, the planner reads and the job's process receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sage.core.errors import Problem
from sage.core.graph.policy import DEAD_LETTERS, FAIL, ErrorPolicy

__all__ = [
    "MAX_PARALLELISM",
    "Declared",
    "Edge",
    "Exchange",
    "FunctionForm",
    "FunctionSpec",
    "LogicalGraph",
    "Operator",
    "ServiceMethod",
    "ServiceSpec",
    "SourceLocation",
    "way_of",
]

FunctionForm = Literal["class", "instance", "callable", "data"]
"""How a user gave a function: a class with constructor arguments, an instance, a plain callable, or records."""

MAX_PARALLELISM = 128
"""Number of key groups, fixed for a job's life; hence the highest parallelism of an operator."""

Exchange = Literal["forward", "rebalance", "hash", "broadcast"]
"""How records of one operator find the subtasks of the next."""


@dataclass(frozen=True)
class SourceLocation:
    """A line of the user's program."""

    file: str
    line: int
    function: str | None = None

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}"


@dataclass(frozen=True)
class FunctionSpec:
    """A function as the user gave it, from which each subtask builds its own.

    Attributes:
        form: what ``target`` is.
        target: the class, instance, callable or iterable.
        args, kwargs: constructor arguments, for the form ``class`` only.
        on: of a lookup, what it is asked for a record.
    """

    form: FunctionForm
    target: Any
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    on: Any = None


@dataclass(frozen=True)
class ServiceMethod:
    """A method of a service, given in place of a function: ``"service.method"``."""

    service: str
    method: str

    def __str__(self) -> str:
        return f"{self.service}.{self.method}"


class _Named:
    """How what a user declares is called in what they read."""

    kind: str
    name: str
    location: SourceLocation

    @property
    def title(self) -> str:
        return f"{self.kind} '{self.name}'"

    @property
    def described(self) -> str:
        """With the line that declares it."""
        return f"{self.title} ({self.location})"


@dataclass(frozen=True)
class Operator(_Named):
    """One operator of the logical graph.

    Attributes:
        id: position in declaration order.
        uid: stable name under which its state is kept.
        kind: ``batch``, ``source``, ``map``, ``filter``, ``flatmap``, ``keyby``, ``reduce``, ``sink`` …
        name: what people read.
        function: what it calls.
        parallelism: number of subtasks.
        location: the user's line that added it.
        options: settings of this kind of operator, plain JSON values.
        on_error: what happens to a record whose function raises.
    """

    id: int
    uid: str
    kind: str
    name: str
    function: FunctionSpec
    parallelism: int
    location: SourceLocation
    options: Mapping[str, Any] = field(default_factory=dict)
    on_error: ErrorPolicy = FAIL

    @property
    def is_endless(self) -> bool:
        """Whether this is a source that may never end."""
        return self.kind == "source" or (self.kind == "read" and not self.options.get("bounded"))

    @property
    def is_partitioned(self) -> bool:
        """Whether this is a source that lists what there is to read, for several subtasks to share."""
        if self.kind in ("batch", "source") and self.function.form in ("class", "instance"):
            return callable(getattr(self.function.target, "partitions", None))
        return self.kind == "read"

    def problem(self, message: str, hint: str | None = None) -> Problem:
        """What is wrong with it, as it is told to the user."""
        return Problem(f"{self.title}: {message}", str(self.location), self.uid, hint)


@dataclass(frozen=True)
class ServiceSpec(_Named):
    """A service that functions call by name; one instance per host."""

    name: str
    function: FunctionSpec
    location: SourceLocation
    kind: str = "service"

    @property
    def uid(self) -> str:
        return f"service:{self.name}"


Declared = Operator | ServiceSpec
"""What a user declares with a function of theirs, and an error may have to name."""


@dataclass(frozen=True)
class Edge:
    """Records of operator ``source`` go to input number ``input`` of operator ``target``.

    ``tag`` names the side output they come from; None for the operator's own output. ``back`` says that the edge
    closes a loop: it leads to an operator that was declared before.
    """

    source: int
    target: int
    input: int
    exchange: Exchange
    tag: str | None = None
    back: bool = False


@dataclass(frozen=True)
class LogicalGraph:
    """An immutable DAG of operators, and the edges that lead back in it.

    ``operators`` is in declaration order, which is a topological one but for back edges. Those lead to operators of
    kind ``feedback``, and nothing else does.
    """

    name: str
    operators: tuple[Operator, ...]
    edges: tuple[Edge, ...]
    services: tuple[ServiceSpec, ...] = ()

    @property
    def declared(self) -> tuple[Declared, ...]:
        """Everything that has a function of the user's."""
        return (*self.operators, *self.services)

    def inputs_of(self, operator: int) -> tuple[Edge, ...]:
        return tuple(edge for edge in self.edges if edge.target == operator)

    def to_json(self) -> dict[str, Any]:
        """The graph as the JobManager may see it: names and shape, no code and no records."""
        return {
            "name": self.name,
            "operators": [
                {
                    "id": operator.id,
                    "uid": operator.uid,
                    "kind": operator.kind,
                    "name": operator.name,
                    "parallelism": operator.parallelism,
                    "location": str(operator.location),
                    "options": dict(operator.options),
                    "on_error": operator.on_error.to_json(),
                }
                for operator in self.operators
            ],
            "edges": [
                {
                    "source": edge.source,
                    "target": edge.target,
                    "input": edge.input,
                    "exchange": edge.exchange,
                    "tag": edge.tag,
                    "back": edge.back,
                }
                for edge in self.edges
            ],
            "services": [{"name": service.name, "location": str(service.location)} for service in self.services],
        }


def way_of(exchange: str, tag: str | None, *, back: bool = False) -> str:
    """How records take an edge, in words for people; empty if straight forward."""
    said = ["back"] if back else []
    said += [] if exchange == "forward" else [exchange]
    if tag is not None:
        said.append("dead letters" if tag == DEAD_LETTERS else f"side output {tag}")
    return ", ".join(said)
