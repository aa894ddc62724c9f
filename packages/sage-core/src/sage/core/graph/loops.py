"""The loops of a graph: operators that records come by again and again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sage.core.graph.model import LogicalGraph

__all__ = ["Loop", "find_loops"]


@dataclass(frozen=True)
class Loop:
    """Operators each of which is reached from every other one: a loop with those inside it and those that cross it.

    Attributes:
        heads: where back edges lead to, in declaration order.
        operators: all of them, the heads too.
    """

    heads: tuple[int, ...]
    operators: frozenset[int]


def find_loops(graph: LogicalGraph) -> tuple[Loop, ...]:
    """The loops of ``graph``, by their first heads. No operator is in two."""
    following, preceding = _neighbours(graph)
    loops: dict[frozenset[int], list[int]] = {}
    for head in sorted({edge.target for edge in graph.edges if edge.back}):
        operators = _reached(head, following) & _reached(head, preceding)
        if operators:
            loops.setdefault(operators, []).append(head)
    return tuple(Loop(tuple(heads), operators) for operators, heads in loops.items())


def _reached(start: int, steps: Mapping[int, Iterable[int]]) -> frozenset[int]:
    """Where one or more ``steps`` from ``start`` lead."""
    found: set[int] = set()
    left = [start]
    while left:
        new = set(steps.get(left.pop(), ())) - found
        found |= new
        left += new
    return frozenset(found)


def _neighbours(graph: LogicalGraph) -> tuple[Mapping[int, set[int]], Mapping[int, set[int]]]:
    following: dict[int, set[int]] = {}
    preceding: dict[int, set[int]] = {}
    for edge in graph.edges:
        following.setdefault(edge.source, set()).add(edge.target)
        preceding.setdefault(edge.target, set()).add(edge.source)
    return following, preceding
