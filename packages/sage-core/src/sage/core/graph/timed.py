"""Which streams have event time: known before anything runs."""

from __future__ import annotations

from collections.abc import Mapping

from sage.core.graph.model import LogicalGraph, Operator

__all__ = ["has_time"]


def has_time(graph: LogicalGraph) -> Mapping[int, bool]:
    """By operator, whether the records that it puts out carry times."""
    inputs: dict[int, list[int]] = {operator.id: [] for operator in graph.operators}
    for edge in graph.edges:
        inputs[edge.target].append(edge.source)
    found: dict[int, bool] = {}
    before: dict[int, bool] | None = None
    while found != before:  # more than twice only where loops are in others
        before = dict(found)
        for operator in graph.operators:
            taken = any(found.get(source, False) for source in inputs[operator.id])
            found[operator.id] = _puts_out_times(operator, taken)
    return found


def _puts_out_times(operator: Operator, taken: bool) -> bool:
    """Whether one operator does, if its input has times or not."""
    if operator.kind == "timestamps":
        return True
    if operator.options.get("final"):  # put out when time is over
        return False
    if operator.kind == "join" and operator.options.get("how") != "inner":  # as are some, of any time
        return False
    return taken
