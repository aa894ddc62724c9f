"""Who is next: what may happen in a simulated job, and the ways to choose among it."""

from __future__ import annotations

from typing import Protocol

from sage.core.testing._choices import Choices

__all__ = ["Actor", "ByPriority", "ByWeight"]


class Actor(Protocol):
    """Something that can happen."""

    name: str

    def is_possible(self) -> bool:
        """Whether it can happen now."""

    def act(self) -> str:
        """Let it happen. Returns what it was, for the trace."""


class ByWeight:
    """Picks among what is possible, some more often than others."""

    def __init__(self, actors: list[Actor], choices: Choices) -> None:
        self._actors = actors
        self._choices = choices
        self._weights = {id(actor): choices.one_of((0.02, 1.0, 1.0, 5.0)) for actor in actors}

    def possible(self) -> list[Actor]:
        return [actor for actor in self._actors if actor.is_possible()]

    def pick(self, possible: list[Actor]) -> Actor:
        point = self._choices.fraction() * sum(self._weights[id(actor)] for actor in possible)
        for actor in possible:
            point -= self._weights[id(actor)]
            if point < 0:
                return actor
        return possible[-1]


class ByPriority(ByWeight):
    """Always picks the first of an order in which, now and then, the one that was picked falls to the last place.

    Such orders let one part of a job run far ahead of another, which turns picked evenly hardly ever do.
    """

    def __init__(self, actors: list[Actor], choices: Choices) -> None:
        super().__init__([], choices)
        left = list(actors)
        while left:
            self._actors.append(left.pop(choices.below(len(left))))
        self._falls = choices.one_of((0.3, 0.1, 0.03))

    def pick(self, possible: list[Actor]) -> Actor:
        first = possible[0]
        if self._choices.chance(self._falls):
            self._actors.remove(first)
            self._actors.append(first)
        return first
