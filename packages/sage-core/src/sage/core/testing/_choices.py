"""Everything that a simulation leaves to chance."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Choices"]

_T = TypeVar("_T")


class Choices:
    """Draws from one seed. The same draws in the same order give the same answers, on any Python, on any machine.

    Args:
        seed: any whole number.
    """

    def __init__(self, seed: int) -> None:
        self._next = random.Random(seed).random  # noqa: S311  (the one method whose sequence Python promises to keep)

    def below(self, count: int) -> int:
        """A whole number from 0 to ``count - 1``."""
        return int(self._next() * count)

    def chance(self, share: float) -> bool:
        """True in this share of all cases."""
        return self._next() < share

    def fraction(self) -> float:
        """A number from 0 to 1."""
        return self._next()

    def one_of(self, options: Sequence[_T]) -> _T:
        return options[self.below(len(options))]
