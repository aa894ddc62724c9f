"""A graph and its plan in words."""

from __future__ import annotations

from sage.core.graph.model import LogicalGraph
from sage.core.plan.model import ExecutionPlan

__all__ = ["explain"]


def explain(graph: LogicalGraph, plan: ExecutionPlan) -> str:
    """Two lists: what was declared, and the tasks it becomes."""
    names = {operator.id: operator.uid for operator in graph.operators}
    lines = [f"pipeline '{graph.name}'", "", "operators"]
    for operator in graph.operators:
        inputs = ", ".join(
            names[edge.source] if edge.exchange == "forward" else f"{names[edge.source]} ({edge.exchange})"
            for edge in graph.inputs_of(operator.id)
        )
        source = f" ← {inputs}" if inputs else ""
        lines.append(f"  {operator.uid} ×{operator.parallelism}{source}   [{operator.location}]")  # noqa: RUF001
    lines += ["", "tasks"]
    for stage in plan.stages:
        chain = " → ".join(names[number] for number in stage.operators)
        lines.append(f"  stage {stage.id} ×{stage.parallelism}: {chain}")  # noqa: RUF001
    for edge in plan.edges:
        lines.append(
            f"  stage {edge.source_stage} ─{edge.exchange}→ stage {edge.target_stage}"
            f"   ({names[edge.source]} → {names[edge.target]})"
        )
    return "\n".join(lines)
