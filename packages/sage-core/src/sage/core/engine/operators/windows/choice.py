"""Which operator runs which windows."""

from __future__ import annotations

from typing import Any

from sage.core.engine.operators.base import RunningOperator
from sage.core.engine.operators.windows.base import WindowedOperator
from sage.core.engine.operators.windows.counts import CountOperator
from sage.core.engine.operators.windows.panes import PaneOperator
from sage.core.engine.operators.windows.sessions import SessionOperator
from sage.core.engine.operators.windows.slots import SlotOperator
from sage.core.engine.operators.windows.trigger import Trigger
from sage.core.graph.model import Operator

__all__ = ["WindowOperator"]


class WindowOperator(WindowedOperator):
    """Stands for the operators over windows where their kind alone is known."""

    @classmethod
    def class_for(cls, spec: Operator) -> type[RunningOperator]:
        options: Any = spec.options
        kind = options["window"]["kind"]
        if kind == "session":
            return SessionOperator
        if kind == "count":
            return CountOperator
        merges = spec.kind != "window_aggregate" or callable(getattr(spec.function.target, "merge", None))
        if kind == "global" or not Trigger.of(options["trigger"]).is_plain or (kind == "sliding" and not merges):
            return SlotOperator
        return PaneOperator
