"""Cuts a logical graph into stages."""

from __future__ import annotations

from dataclasses import dataclass

from sage.core.graph.kinds import KINDS
from sage.core.graph.loops import find_loops
from sage.core.graph.model import Edge, Exchange, LogicalGraph, Operator
from sage.core.graph.policy import FAIL
from sage.core.graph.timed import has_time
from sage.core.plan.model import ExecutionPlan, PlanEdge, Stage

__all__ = ["MAX_CHAIN", "MAX_INDENTED", "MAX_NESTED", "make_plan"]

MAX_CHAIN = 48
"""Operators in a row in one task, that is on the longest path from its first one."""

MAX_NESTED = 12
"""Loops inside one another in the code of one task, as ``flatmap`` and side outputs make: Python nests 20 at most."""

MAX_INDENTED = 80
"""Levels by which operators indent the code of one task: Python reads 100 at most."""


def make_plan(graph: LogicalGraph) -> ExecutionPlan:
    """Chain neighbouring operators that need no exchange, and make the rest edges between stages.

    An operator joins its upstream's stage if it has no other input, if neither awaits anything, if both have the
    same parallelism, if the edge between them moves nothing (``forward``, or any ``hash`` edge between single
    subtasks), and if the code of the path down to it stays within what Python can take. Where a loop begins is a
    stage of its own, and no stage is in a loop with a part of its operators only: a task is asked whether its loop
    has drained as a whole.
    """
    loops = {operator: loop for loop in find_loops(graph) for operator in loop.operators}
    operators = {operator.id: operator for operator in graph.operators}
    stage_of: dict[int, int] = {}
    members: list[list[int]] = []
    sizes: dict[int, _Size] = {}
    for operator in graph.operators:
        inputs = graph.inputs_of(operator.id)
        sizes[operator.id] = own = _size(operator)
        if (
            len(inputs) == 1
            and loops.get(inputs[0].source) is loops.get(operator.id)
            and _chains(graph, inputs[0], operators[inputs[0].source], operator)
        ):
            upstream = inputs[0].source
            size = sizes[upstream].plus(own, aside=inputs[0].tag is not None)
            if size.fits:
                sizes[operator.id] = size
                stage_of[operator.id] = stage_of[upstream]
                members[stage_of[upstream]].append(operator.id)
                continue
        stage_of[operator.id] = len(members)
        members.append([operator.id])
    stages = tuple(Stage(number, tuple(chain), operators[chain[0]].parallelism) for number, chain in enumerate(members))
    crossing = [edge for edge in graph.edges if stage_of[edge.source] != stage_of[edge.target]]
    timed = has_time(graph)
    edges = tuple(
        PlanEdge(
            id=number,
            source=edge.source,
            target=edge.target,
            source_stage=stage_of[edge.source],
            target_stage=stage_of[edge.target],
            input=edge.input,
            exchange=_exchange(edge, operators),
            tag=edge.tag,
            back=edge.back,
            timed=timed[edge.source],
        )
        for number, edge in enumerate(crossing)
    )
    return ExecutionPlan(graph, stages, edges)


@dataclass(frozen=True)
class _Size:
    """What the code of a task needs down to one of its operators."""

    operators: int
    loops: int
    levels: int

    def plus(self, other: _Size, *, aside: bool) -> _Size:
        """With one more operator behind it; ``aside`` if that takes a side output, which is read in a loop."""
        return _Size(
            self.operators + other.operators,
            self.loops + other.loops + aside,
            self.levels + other.levels + 2 * aside,
        )

    @property
    def fits(self) -> bool:
        return self.operators <= MAX_CHAIN and self.loops <= MAX_NESTED and self.levels <= MAX_INDENTED


def _size(operator: Operator) -> _Size:
    kind = KINDS[operator.kind]
    return _Size(1, kind.loops, kind.levels + (operator.on_error != FAIL))


def _chains(graph: LogicalGraph, edge: Edge, source: Operator, target: Operator) -> bool:
    if "feedback" in (source.kind, target.kind):
        return False
    if source.parallelism != target.parallelism or KINDS[source.kind].awaits or KINDS[target.kind].awaits:
        return False
    if edge.exchange == "hash":
        return target.parallelism == 1 or _keeps_keys(graph, source)
    return edge.exchange == "forward"


def _keeps_keys(graph: LogicalGraph, operator: Operator) -> bool:
    """Whether its records are where their keys belong already: it puts them out with the keys they came with."""
    return KINDS[operator.kind].keeps_keys and all(edge.exchange == "hash" for edge in graph.inputs_of(operator.id))


def _exchange(edge: Edge, operators: dict[int, Operator]) -> Exchange:
    """A ``forward`` edge between different parallelisms can only share records out in turn."""
    if edge.exchange == "forward" and operators[edge.source].parallelism != operators[edge.target].parallelism:
        return "rebalance"
    return edge.exchange
