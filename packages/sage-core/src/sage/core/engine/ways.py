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


class Hop:
    """Where an operator's records go: to an operator of the same chain, or to an output.

    ``input`` is the number of that operator's input, ``tag`` the side output that the records leave by, ``keyed`` and
    ``timed`` whether they have keys and event times.
    """

    __slots__ = ("input", "keyed", "tag", "target", "timed")

    def __init__(
        self,
        target: RunningOperator | Output,
        *,
        keyed: bool,
        timed: bool = False,
        input: int = 0,
        tag: str | None = None,
    ) -> None:
        self.target = target
        self.keyed = keyed
        self.timed = timed
        self.input = input
        self.tag = tag
