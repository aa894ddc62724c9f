"""A warning for functions that keep something where it is lost."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from sage.core.graph.model import LogicalGraph

if TYPE_CHECKING:
    from sage.core.graph.unsaved import Unsaved

__all__ = ["StateWarning", "warn_of_unsaved"]


class StateWarning(UserWarning):
    """A function changes something outside of itself, and its job runs in another process.

    What changes there is a copy: this program's stays as it is, other subtasks may not see it, and nothing of it is
    saved with the job. Given once for each operator, at the line that declares it.
    """


def warn_of_unsaved(graph: LogicalGraph) -> None:
    """Warn of every operator whose function changes what is no state of the job."""
    from sage.core.graph.unsaved import unsaved_state

    found: dict[int, list[Unsaved]] = {}
    for each in unsaved_state(graph):
        found.setdefault(each.operator.id, []).append(each)
    for several in found.values():
        operator = several[0].operator
        hint = (
            "write the records somewhere, or run the pipeline on a LocalEnvironment"
            if operator.kind == "sink"
            else "keep it in an attribute of a function class, which is saved with the job"
        )
        warnings.warn_explicit(
            f"{operator.title} {' and '.join(map(str, several))}: the job runs in another process and"
            f" changes a copy there, which is not saved with it; {hint}",
            StateWarning,
            operator.location.file,
            operator.location.line,
        )
