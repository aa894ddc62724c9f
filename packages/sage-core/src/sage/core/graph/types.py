"""The graph against the annotations of its functions: what one puts out has to be what the next one takes.

Only what is certainly wrong is a problem: no value of the one type could be one of the other. Records themselves are
not looked at.
"""

from __future__ import annotations

from typing import Any

from sage.core.errors import Problem
from sage.core.graph.annotations import narrows_to, puts_out, takes
from sage.core.graph.matching import may_be, show
from sage.core.graph.model import LogicalGraph, Operator

__all__ = ["check_types"]

_Origin = tuple[Any, Operator]
"""A type, and the operator whose function is annotated to put it out."""

_Stream = list[list[_Origin]]
"""What a stream holds: records of every type in it, or, of those in one list, perhaps only some."""


def check_types(graph: LogicalGraph) -> list[Problem]:
    """All places where an operator is given what it does not take, in declaration order."""
    streams: dict[int, _Stream] = {}
    problems: dict[Problem, None] = {}  # a stream connected twice has one problem
    for operator in graph.operators:
        edges = graph.inputs_of(operator.id)
        incoming: _Stream = []
        for edge in edges:
            stream = streams[edge.source] if edge.tag is None else []
            wanted = takes(operator, edge.input) if stream else Any
            for origins in stream:
                if not any(may_be(given, wanted) for given, _ in origins):
                    problems[_mismatch(operator, edge.input, wanted, origins)] = None
            incoming += stream or [[]]
        streams[operator.id] = _outgoing(operator, incoming, len({edge.input for edge in edges}))
    return list(problems)


def _outgoing(operator: Operator, incoming: _Stream, inputs: int) -> _Stream:
    if operator.kind == "keyby":
        return [origins for origins in incoming if origins]
    if operator.kind == "filter":
        narrowed = narrows_to(operator)
        if narrowed is not None:
            return [[(narrowed, operator)]]
        # It may be there to let only one type through.
        return [[origin for origins in incoming for origin in origins]] if all(incoming) and incoming else []
    return [[(made, operator)] for made in puts_out(operator, inputs) if made is not Any]


def _mismatch(operator: Operator, input: int, wanted: Any, origins: list[_Origin]) -> Problem:
    method = {
        "aggregate": "its add takes",
        "comap": f"its map{input} takes",
        "map_batches": "takes batches of",
    }.get(operator.kind, "takes")
    names = [show(wanted), *(show(given) for given, _ in origins)]
    if names[0] in names[1:]:  # two types of one name
        names = [_in_full(wanted), *(_in_full(given) for given, _ in origins)]
    given = " or ".join(
        f"{name} from {origin.kind} '{origin.name}' ({origin.location})"
        for name, (_, origin) in zip(names[1:], origins, strict=True)
    )
    return Problem(
        f"{operator.kind} '{operator.name}': {method} {names[0]}, but gets {given}",
        str(operator.location),
        operator.uid,
        "convert the records between the two, or correct the annotation that is wrong",
    )


def _in_full(found: Any) -> str:
    module = getattr(found, "__module__", "")
    return f"{module}.{show(found)}" if module not in ("", "builtins", "typing", "types") else show(found)
