"""Cuts a logical graph into stages."""

from __future__ import annotations

from sage.core.graph.model import Edge, Exchange, LogicalGraph, Operator
from sage.core.plan.model import ExecutionPlan, PlanEdge, Stage

__all__ = ["ALONE", "MAX_CHAIN", "MAX_NESTED", "make_plan"]

ALONE = frozenset({"map_async"})
"""Kinds that are a stage of their own: coroutines make no progress, and their time-outs run, while their thread is in
other code."""

MAX_CHAIN = 48
"""Operators in a row in one task."""

MAX_NESTED = 12
"""``flatmap`` in a row in one task: each is a loop inside the loop before it, and Python nests 20 at most."""


def make_plan(graph: LogicalGraph) -> ExecutionPlan:
    """Chain neighbouring operators that need no exchange, and make the rest edges between stages.

    An operator joins its upstream's stage if it has no other input, if neither is to be `ALONE`, if both have the
    same parallelism, and if the edge between them moves nothing: ``forward``, or any ``hash`` edge between single
    subtasks.
    """
    operators = {operator.id: operator for operator in graph.operators}
    stage_of: dict[int, int] = {}
    members: list[list[int]] = []
    depth: dict[int, int] = {}
    nested: dict[int, int] = {}
    for operator in graph.operators:
        inputs = graph.inputs_of(operator.id)
        loops = 1 if operator.kind in ("flatmap", "map_batches") else 0
        depth[operator.id], nested[operator.id] = 1, loops
        if len(inputs) == 1 and _chains(inputs[0], operators[inputs[0].source], operator):
            upstream = inputs[0].source
            if depth[upstream] < MAX_CHAIN and nested[upstream] + loops <= MAX_NESTED:
                depth[operator.id] = depth[upstream] + 1
                nested[operator.id] = nested[upstream] + loops
                stage_of[operator.id] = stage_of[upstream]
                members[stage_of[upstream]].append(operator.id)
                continue
        stage_of[operator.id] = len(members)
        members.append([operator.id])
    stages = tuple(Stage(number, tuple(chain), operators[chain[0]].parallelism) for number, chain in enumerate(members))
    crossing = [edge for edge in graph.edges if stage_of[edge.source] != stage_of[edge.target]]
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
        )
        for number, edge in enumerate(crossing)
    )
    return ExecutionPlan(graph, stages, edges)


def _chains(edge: Edge, source: Operator, target: Operator) -> bool:
    if source.parallelism != target.parallelism or ALONE & {source.kind, target.kind}:
        return False
    return edge.exchange == "forward" or (edge.exchange == "hash" and target.parallelism == 1)


def _exchange(edge: Edge, operators: dict[int, Operator]) -> Exchange:
    """A ``forward`` edge between different parallelisms can only share records out in turn."""
    if edge.exchange == "forward" and operators[edge.source].parallelism != operators[edge.target].parallelism:
        return "rebalance"
    return edge.exchange
