"""``join`` within a distance in event time."""

from __future__ import annotations

from sage.core.engine.operators.base import RunningOperator

__all__ = ["IntervalJoinOperator"]


class IntervalJoinOperator(RunningOperator):
    """Pairs of records whose times are near each other."""
