"""What plugins say of a pipeline when it is submitted: they may change it first, and then refuse it."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sage.core.engine import ctrl_c
from sage.core.errors import GraphError, Problem
from sage.core.graph.kinds import KINDS, SOURCE_KINDS
from sage.core.graph.model import LogicalGraph
from sage.core.graph.types import check_types
from sage.core.graph.validate import validate
from sage.core.plugins.loading import Plugin, broken, title
from sage.core.plugins.manager import default_manager
from sage.core.plugins.target import Target

__all__ = ["LIMIT", "ask_plugins"]

LIMIT = 30.0
"""Seconds that each graph hook may take."""

_REWRITE, _CHECK = "sage_graph_rewrite", "sage_graph_check"
_log = logging.getLogger("sage.job")


def ask_plugins(graph: LogicalGraph, target: Target) -> LogicalGraph:
    """The graph as the installed plugins want it.

    Raises:
        GraphError: a plugin refuses it.
        PluginError: a plugin failed at it, or made of it what cannot run.
    """
    plugins = default_manager().plugins_with(_REWRITE, _CHECK)
    for plugin in _ordered(plugins, _REWRITE):
        graph = _rewritten(plugin, graph, target)
    problems: list[Problem] = []
    for plugin in _ordered(plugins, _CHECK):
        problems += _found(plugin, graph, target)
    errors = [problem for problem in problems if problem.level == "error"]
    if errors:
        raise GraphError(errors)
    for problem in problems:
        _log.warning("%s", problem)
    return graph


def _ordered(plugins: Sequence[Plugin], hook: str) -> list[Plugin]:
    having = [plugin for plugin in plugins if hook in plugin.hooks]
    return sorted(having, key=lambda it: (not it.hooks[hook].tryfirst, it.hooks[hook].trylast))


def _rewritten(plugin: Plugin, graph: LogicalGraph, target: Target) -> LogicalGraph:
    made = _call(plugin, _REWRITE, {"graph": graph, "target": target})
    if made is None:
        made = graph  # what is in it may have been changed all the same
    if not isinstance(made, LogicalGraph):
        raise broken(plugin.claim, f"{_REWRITE} returned a {type(made).__qualname__}, not a LogicalGraph or None")
    try:
        problems = list(_misshapen(made)) or [*validate(made), *check_types(made)]
    except Exception as error:  # what is in it is of other types than a graph's
        raise broken(plugin.claim, f"{_REWRITE} made a graph that cannot be read: {error!r}") from error
    errors = [problem for problem in problems if problem.level == "error"]
    if errors:
        lines = "".join(f"\n    {number}. {problem}" for number, problem in enumerate(errors, 1))
        raise broken(plugin.claim, f"{_REWRITE} made a graph that cannot run:{lines}")
    return made


def _misshapen(graph: LogicalGraph) -> Iterator[Problem]:
    """What the recorder of pipelines never makes, so that nobody else looks for it."""
    for position, operator in enumerate(graph.operators):
        if operator.id != position:
            yield operator.problem(f"its id is {operator.id}, and its position {position}")
        if operator.kind not in KINDS:
            yield operator.problem("there is no such kind of operator")
        if (operator.kind in SOURCE_KINDS) == bool(graph.inputs_of(operator.id)) and operator.kind != "feedback":
            yield operator.problem("it has no input" if operator.kind not in SOURCE_KINDS else "a source has no input")
    count = len(graph.operators)
    for edge in graph.edges:
        if not (0 <= edge.source < count and 0 <= edge.target < count):
            yield Problem(f"there is an edge from {edge.source} to {edge.target}, and {count} operators")
        elif edge.back != (edge.source >= edge.target):
            yield Problem(f"the edge from {edge.source} to {edge.target} leads {'on' if edge.back else 'back'}")


def _found(plugin: Plugin, graph: LogicalGraph, target: Target) -> Iterator[Problem]:
    problems = _call(plugin, _CHECK, {"graph": graph, "target": target})
    if not isinstance(problems, list) or not all(isinstance(problem, Problem) for problem in problems):
        raise broken(plugin.claim, f"{_CHECK} returned {problems!r:.100}, not a list of Problem")
    for problem in problems:
        yield replace(problem, message=f"{problem.message} (so says {title(plugin.claim)})")


def _call(plugin: Plugin, hook: str, arguments: Mapping[str, Any]) -> Any:
    """Call a hook on a thread of its own, since one that does not return must not hold up `submit` without a word.

    Raises:
        PluginError: it raised, or did not return in time.
    """
    outcome: dict[str, Any] = {}
    context = contextvars.copy_context()

    def run() -> None:
        try:
            outcome["returned"] = context.run(plugin.call, hook, arguments)
        except BaseException as error:  # it is raised where the caller waits
            outcome["raised"] = error

    thread = threading.Thread(target=run, name=f"sage-hook-{plugin.claim.name}", daemon=True)
    thread.start()
    with ctrl_c.freely():
        thread.join(LIMIT)
    if "raised" in outcome:
        raise outcome["raised"]
    if "returned" not in outcome:
        raise broken(plugin.claim, f"{hook} has not returned within {LIMIT:g} s")
    return outcome["returned"]
