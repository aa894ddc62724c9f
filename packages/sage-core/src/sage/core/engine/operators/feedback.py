"""``from_future``: where a loop begins. What was sent back comes in, and goes round once more."""

from __future__ import annotations

from sage.core.engine.code import Code
from sage.core.engine.operators.base import Emit, Flow, RunningOperator
from sage.core.engine.spill import Backlog

__all__ = ["FeedbackOperator"]


class FeedbackOperator(RunningOperator):
    """Puts out each record that comes in.

    Attributes:
        backlog: the room for what waits to come in.
    """

    backlog: Backlog | None = None

    def build(self) -> None:
        """There is no function of the user's."""

    def open(self) -> None:
        """There is nothing to open."""

    def close(self) -> None:
        if self.backlog is not None:
            self.backlog.close()

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        emit(flow)
