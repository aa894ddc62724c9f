"""A graph and its plan, for people to read, to be drawn, and for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from sage.core.graph.kinds import SINK_KINDS, SOURCE_KINDS
from sage.core.graph.model import Edge, Operator, way_of
from sage.core.graph.policy import FAIL, ErrorPolicy
from sage.core.graph.unsaved import Unsaved, unsaved_state
from sage.core.plan.model import ExecutionPlan, PlanEdge

__all__ = ["Format", "explain"]

Format = Literal["text", "mermaid", "json"]


def explain(plan: ExecutionPlan, form: Format = "text") -> str:
    """What was declared and the tasks it becomes.

    Raises:
        ValueError: there is no such format.
    """
    if form == "text":
        return "\n".join(_text(plan, unsaved_state(plan.graph)))
    if form == "mermaid":
        return "\n".join(_mermaid(plan))
    if form == "json":
        unsaved = [found.to_json() for found in unsaved_state(plan.graph)]
        document = {"format": 1, "graph": plan.graph.to_json(), "plan": plan.to_json(), "unsaved": unsaved}
        return json.dumps(document, indent=2, allow_nan=False)
    raise ValueError(f"explain makes {', '.join(map(repr, get_args(Format)))}, not {form!r}")


def _text(plan: ExecutionPlan, unsaved: Sequence[Unsaved]) -> Iterable[str]:
    graph, names = plan.graph, {operator.id: _line(operator.uid) for operator in plan.graph.operators}
    yield f"pipeline '{graph.name}'"
    yield ""
    yield "operators"
    rows = []
    for operator in graph.operators:
        inputs = ", ".join(
            f"{names[edge.source]}{f' ({way})' if (way := _way(edge)) else ''}" for edge in graph.inputs_of(operator.id)
        )
        said = [f"← {inputs}" if inputs else "", _policy(operator.on_error)]
        rows.append(
            (
                f"{names[operator.id]} ×{operator.parallelism}",  # noqa: RUF001
                f"[{operator.location}]",
                "   ".join(filter(None, said)),
            )
        )
    yield from _columns(rows)
    if graph.services:
        yield ""
        yield "services"
        yield from _columns([(_line(service.name), f"[{service.location}]") for service in graph.services])
    yield ""
    yield "tasks"
    for stage in plan.stages:
        chain = " → ".join(names[number] for number in stage.operators)
        yield f"  stage {stage.id} ×{stage.parallelism}: {chain}"  # noqa: RUF001
    for edge in plan.edges:
        yield (
            f"  stage {edge.source_stage} ─{'back, ' if edge.back else ''}{edge.exchange}→ stage {edge.target_stage}"
            f"   ({names[edge.source]} → {names[edge.target]})"
        )
    if unsaved:
        yield ""
        yield "changed outside of the functions: not saved with the job, and a copy in another process"
        yield from _columns([(names[found.operator.id], str(found)) for found in unsaved])


def _way(edge: Edge | PlanEdge) -> str:
    return way_of(edge.exchange, None if edge.tag is None else _line(edge.tag), back=edge.back)


def _policy(policy: ErrorPolicy) -> str:
    if policy == FAIL:
        return ""
    then = policy.then.replace("_", " ")
    return f"on error: {f'retry {policy.retries} ×, then {then}' if policy.retries else then}"  # noqa: RUF001


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    """Rows whose cells stand below each other, as far as that does not make the lines too wide."""
    widths = [min(max(map(len, column)), 48) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _line(text: str) -> str:
    """Text of the user's that stays on its line."""
    return text if text.isprintable() else repr(text)[1:-1]


def _mermaid(plan: ExecutionPlan) -> Iterable[str]:
    operators, cut = plan.operators, {(edge.source, edge.target, edge.input, edge.tag): edge for edge in plan.edges}
    yield "flowchart LR"
    for stage in plan.stages:
        yield f'  subgraph stage{stage.id}["stage {stage.id} ×{stage.parallelism}"]'  # noqa: RUF001
        for number in stage.operators:
            yield f"    {_node(operators[number])}"
        yield "  end"
    for edge in plan.graph.edges:
        crossing = cut.get((edge.source, edge.target, edge.input, edge.tag))
        label, arrow = _way(crossing or edge), "-.->" if edge.back else "-->"
        yield f"  op{edge.source} {arrow}{f'|{_quoted(label)}|' if label else ''} op{edge.target}"


def _node(operator: Operator) -> str:
    left, right = "[", "]"
    if operator.kind in SOURCE_KINDS:
        left, right = "([", "])"
    elif operator.kind in SINK_KINDS:
        left, right = "[[", "]]"
    text = f"{_quoted(operator.uid)[:-1]}<br/>{_quoted(str(operator.location))[1:]}"
    return f"op{operator.id}{left}{text}{right}"


def _quoted(text: str) -> str:
    """Text in which Mermaid finds neither syntax nor HTML nor Markdown."""
    return '"' + re.sub(r"[^\w :/.]|\.(?=\s)|(?<=/)/", lambda found: f"#{ord(found[0])};", text) + '"'
