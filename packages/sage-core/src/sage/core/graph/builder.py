"""Records operators as the API declares them and turns them into a validated graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sage.core.errors import GraphError, Problem
from sage.core.graph.functions import Given
from sage.core.graph.model import Edge, Exchange, LogicalGraph, Operator, ServiceSpec, SourceLocation
from sage.core.graph.policy import FAIL, ErrorPolicy
from sage.core.graph.types import check_types
from sage.core.graph.validate import validate

__all__ = ["GraphBuilder", "Upstream"]


@dataclass(frozen=True)
class Upstream:
    """Where an operator's records come from: an operator, how its records travel, by which output, to which input."""

    operator: int
    exchange: Exchange = "forward"
    tag: str | None = None
    input: int = 0


@dataclass(frozen=True)
class _Fill:
    """A stream that goes back to where its records came from."""

    head: int
    upstream: Sequence[Upstream]
    location: SourceLocation


@dataclass
class _Declared:
    kind: str
    given: Given
    name: str | None
    uid: str | None
    parallelism: int
    location: SourceLocation
    upstream: Sequence[Upstream]
    options: Mapping[str, Any] = field(default_factory=dict)
    on_error: ErrorPolicy = FAIL


class GraphBuilder:
    """Collects declarations. Nothing is judged before `build`, so that all problems come out together."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._declared: list[_Declared] = []
        self._services: list[tuple[str, Given, SourceLocation]] = []
        self._fills: list[_Fill] = []
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._declared)

    def add(
        self,
        kind: str,
        given: Given,
        *,
        location: SourceLocation,
        upstream: Sequence[Upstream] = (),
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        options: Mapping[str, Any] | None = None,
        on_error: ErrorPolicy | None = None,
    ) -> int:
        """Declare an operator. Returns its id."""
        self._places.setdefault(str(location), len(self._places))
        self._declared.append(
            _Declared(
                kind,
                given,
                name,
                uid,
                parallelism,
                location,
                upstream,
                options or {},
                FAIL if on_error is None else on_error,
            )
        )
        return len(self._declared) - 1

    def add_service(self, name: str, given: Given, location: SourceLocation) -> None:
        """Declare a service."""
        self._places.setdefault(str(location), len(self._places))
        self._services.append((name, given, location))

    def fill(self, head: int, upstream: Sequence[Upstream], location: SourceLocation) -> None:
        """Declare that records go back to the operator ``head``, of kind ``feedback``."""
        self._places.setdefault(str(location), len(self._places))
        self._fills.append(_Fill(head, upstream, location))

    @property
    def services(self) -> Mapping[str, Given]:
        """Those declared so far, by name."""
        return {name: given for name, given, _ in self._services}

    def parallelism_of(self, operator: int) -> int:
        return self._declared[operator].parallelism

    def operators(self) -> tuple[Operator, ...]:
        """All operators declared so far, as they stand."""
        operators: list[Operator] = []
        seen: dict[str, int] = {}
        for number, item in enumerate(self._declared):
            uid, name = item.uid, item.name or item.given.name
            if uid is None:
                stem = f"{item.kind}:{name}"
                seen[stem] = seen.get(stem, 0) + 1
                uid = stem if seen[stem] == 1 else f"{stem}#{seen[stem]}"
            operators.append(
                Operator(
                    id=number,
                    uid=uid,
                    kind=item.kind,
                    name=name,
                    function=item.given.spec,
                    parallelism=item.parallelism,
                    location=item.location,
                    options=dict(item.options),
                    on_error=item.on_error,
                )
            )
        return tuple(operators)

    def build(self) -> LogicalGraph:
        """The graph.

        Raises:
            GraphError: with all problems there are.
        """
        graph, problems = self.draft()
        if problems:
            raise GraphError(problems)
        return graph

    def draft(self) -> tuple[LogicalGraph, list[Problem]]:
        """The graph as it stands, and what is wrong with it, in the order of the lines that declare it."""
        problems: list[Problem] = []
        edges: list[Edge] = []
        operators = self.operators()
        for operator, item in zip(operators, self._declared, strict=True):
            problems += [operator.problem(slip.message, slip.hint) for slip in item.given.slips]
            edges += [Edge(up.operator, operator.id, up.input, up.exchange, up.tag) for up in item.upstream]
        for fill in self._fills:
            edges += [Edge(up.operator, fill.head, 0, "forward", up.tag, back=True) for up in fill.upstream]
        problems += self._filled_twice(operators)
        services = tuple(ServiceSpec(name, given.spec, location) for name, given, location in self._services)
        for name, given, location in self._services:
            problems += [Problem(f"service '{name}': {s.message}", str(location), hint=s.hint) for s in given.slips]
        graph = LogicalGraph(self._name, operators, tuple(edges), services)
        problems += [*validate(graph), *check_types(graph)]
        order = {repr(operator.uid): operator.id for operator in reversed(graph.operators)}
        end = len(self._places)  # for what concerns the whole pipeline
        return graph, sorted(
            problems, key=lambda it: (self._places.get(it.where or "", end), order.get(repr(it.operator), 0))
        )

    def _filled_twice(self, operators: Sequence[Operator]) -> Iterator[Problem]:
        before: dict[int, _Fill] = {}
        for fill in self._fills:
            if fill.head in before:
                head = operators[fill.head]
                yield Problem(
                    f"{head.title}: it is filled already, at {before[fill.head].location}",
                    str(fill.location),
                    head.uid,
                    "fill it once, with the union of what goes back",
                )
            before.setdefault(fill.head, fill)
