"""How records come into a chain, go on within it, and leave it."""

from __future__ import annotations

from dataclasses import dataclass

from sage.core.engine.operators.base import RunningOperator
from sage.core.engine.output import Output

__all__ = ["Hop", "Way"]


@dataclass(frozen=True)
class Way:
    """How records reach a chain: by which input of its first operator, and whether with keys, and with event times."""

    input: int = 0
    keyed: bool = False
    timed: bool = False


@dataclass(frozen=True)
class Hop:
    """Where an operator's records go: to an operator of the same chain, or to an output.

    Attributes:
        keyed, timed: whether they have keys, and event times.
        tag: the side output that they leave by.
    """

    target: RunningOperator | Output
    keyed: bool
    timed: bool = False
    tag: str | None = None
