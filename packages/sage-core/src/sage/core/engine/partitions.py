"""Which partitions the sources of a plan have, and which of them each subtask reads."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from sage.core.engine.failures import headline
from sage.core.engine.functions import build_function
from sage.core.engine.snapshot import OperatorSnapshot
from sage.core.errors import GraphError, Problem, SageError
from sage.core.graph.model import Operator
from sage.core.plan.model import ExecutionPlan

__all__ = ["list_partitions", "share_of"]

_log = logging.getLogger(__name__)


def list_partitions(
    plan: ExecutionPlan, restored: Mapping[str, Sequence[OperatorSnapshot]] | None = None
) -> Mapping[str, tuple[str, ...]]:
    """By uid, the partitions of each source that gives some.

    Asked once for all subtasks, so that they agree on who reads what although files may come and go. A job that goes on
    keeps those that it had; only a source without end may have got more meanwhile.

    Args:
        plan: of the job.
        restored: by uid, what the operator's subtasks have saved.

    Raises:
        GraphError: they cannot be listed.
    """
    found: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []
    cause: Exception | None = None
    for operator in plan.graph.operators:
        if operator.is_partitioned:
            kept = _kept(restored.get(operator.uid, ())) if restored else ()
            if kept and not operator.is_endless:
                found[operator.uid] = kept
                continue
            try:
                partitions = _checked(build_function(operator.function).partitions())
            except Exception as error:  # code of the user's
                cause = cause or error
                problems.append(_unlisted(operator, error))
                continue
            found[operator.uid] = (*kept, *(name for name in partitions if name not in set(kept)))
            if max(len(partitions), 1) < operator.parallelism:
                what = "1 partition" if len(partitions) == 1 else f"{len(partitions)} partitions"
                _log.warning(
                    "source '%s': %s for %d subtasks, some have nothing to read",
                    operator.name,
                    what,
                    operator.parallelism,
                )
    if problems:
        raise GraphError(problems) from cause
    return found


def share_of(partitions: Sequence[str], subtask: int, parallelism: int) -> tuple[str, ...]:
    """The partitions that a subtask reads: those whose number leaves its own when divided by the parallelism."""
    return tuple(partitions[subtask::parallelism])


def _kept(saved: Sequence[OperatorSnapshot]) -> tuple[str, ...]:
    """The partitions of which positions were saved, in the order in which they were dealt out."""
    rows = zip_longest(*(part.source for part in saved))
    return tuple(name for row in rows for name in row if name is not None)


def _checked(given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"partitions() must return a list of names, not {given!r:.200}")
    twice = next((name for name in given if given.count(name) > 1), None) if len(set(given)) < len(given) else None
    if twice is not None:
        raise ValueError(f"partitions() names {twice!r} twice")
    return tuple(given)


def _unlisted(operator: Operator, error: Exception) -> Problem:
    what, hint = f"its partitions cannot be listed: {headline(error)}", None
    if isinstance(error, SageError):
        what, hint = error.message, error.hint
    return operator.problem(what, hint)
