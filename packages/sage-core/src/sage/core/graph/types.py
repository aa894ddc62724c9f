"""The graph against the annotations of its functions: what one puts out has to be what the next one takes.

Only what is certainly wrong is a problem: no value of the one type could be one of the other. Records themselves are
not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from sage.core.errors import Problem
from sage.core.graph.annotations import narrows_to, puts_out, returns, takes
from sage.core.graph.kinds import KINDS
from sage.core.graph.matching import may_be, show
from sage.core.graph.model import Edge, LogicalGraph, Operator

__all__ = ["check_types"]

_Origin = tuple[Any, Operator]
"""A type, and the operator whose function is annotated to put it out."""

_Stream = list[list[_Origin]]
"""What a stream holds: records of every type in it, or, of those in one list, perhaps only some."""


def check_types(graph: LogicalGraph) -> list[Problem]:
    """All places where an operator is given what it does not take, in declaration order.

    Annotations are objects of any kind, and those of a stranger: one that cannot be dealt with says nothing.
    """
    inputs: dict[int, list[Edge]] = {operator.id: [] for operator in graph.operators}
    for edge in graph.edges:
        inputs[edge.target].append(edge)
    streams: dict[int, _Stream] = {}
    problems: dict[Problem, None] = {}  # a stream connected twice has one problem
    for operator in graph.operators:
        incoming: _Stream = []
        for edge in inputs[operator.id]:
            stream = streams[edge.source] if edge.tag is None and not edge.back else []  # what comes back may be all
            with suppress(Exception):
                problems.update(dict.fromkeys(_mismatches(operator, edge.input, stream)))
            incoming += stream or [[]]
        streams[operator.id] = []
        with suppress(Exception):
            problems.update(dict.fromkeys(_without_items(operator)))
        with suppress(Exception):
            streams[operator.id] = _outgoing(operator, incoming, len({edge.input for edge in inputs[operator.id]}))
    return list(problems)


def _mismatches(operator: Operator, input: int, stream: _Stream) -> Iterator[Problem]:
    wanted = takes(operator, input) if stream else {}
    for origins in stream:
        for how, kind in wanted.items():
            if not any(may_be(given, kind) for given, _ in origins):
                yield _mismatch(operator, how, kind, origins)
                break


def _without_items(operator: Operator) -> Iterator[Problem]:
    """What is wrong with an operator that puts out items, if what its function returns never has any."""
    returned = returns(operator) if KINDS[operator.kind].expands else []
    if returned and not any(map(_has_items, returned)):
        yield operator.problem(
            f"puts out the items of what it returns, but returns {' or '.join(map(show, returned))}",
            "return a list of records"
            if operator.kind == "map_batches"
            else "return a list of records, or call .map(…), which puts out what is returned",
        )


def _has_items(returned: Any) -> bool:
    text = isinstance(returned, type) and issubclass(returned, str | bytes | bytearray)
    return not text and may_be(returned, Iterable)


def _outgoing(operator: Operator, incoming: _Stream, inputs: int) -> _Stream:
    if operator.kind in ("keyby", "timestamps"):
        return [origins for origins in incoming if origins]
    if operator.kind == "filter":
        narrowed = narrows_to(operator)
        if narrowed is not None:
            return [[(narrowed, operator)]]
        # It may be there to let only one type through.
        return [[origin for origins in incoming for origin in origins]] if all(incoming) and incoming else []
    return [[(made, operator)] for made in puts_out(operator, inputs) if made is not Any]


def _mismatch(operator: Operator, how: str, wanted: Any, origins: list[_Origin]) -> Problem:
    names = [show(wanted), *(show(given) for given, _ in origins)]
    if names[0] in names[1:]:  # two types of one name
        names = [_in_full(wanted), *(_in_full(given) for given, _ in origins)]
    given = " or ".join(f"{name} from {origin.described}" for name, (_, origin) in zip(names[1:], origins, strict=True))
    return operator.problem(
        f"{how} {names[0]}, but gets {given}",
        "aggregate(…) has an accumulator of a type of its own"
        if "accumulates" in how
        else "convert the records between the two, or correct the annotation that is wrong",
    )


def _in_full(found: Any) -> str:
    module = getattr(found, "__module__", "")
    return f"{module}.{show(found)}" if module not in ("", "builtins", "typing", "types") else show(found)
