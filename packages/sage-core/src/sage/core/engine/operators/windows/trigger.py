"""When windows fire, as the engine sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sage.core.engine.operators.windows.spans import micros

__all__ = ["Rule", "Trigger"]


@dataclass(frozen=True, slots=True)
class Rule:
    """Fire after ``count`` records, or ``after`` so many microseconds of processing time; the other one is 0."""

    count: int = 0
    after: int = 0

    @classmethod
    def of(cls, options: Mapping[str, Any] | None) -> Rule | None:
        """What options tell."""
        if options is None:
            return None
        if options["kind"] == "after_count":
            return cls(count=options["count"])
        return cls(after=micros(options["seconds"]))


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a window fires.

    Attributes:
        at_end: whether it does at its end.
        early, late: when it does before its end, and from then on; None for not at all.
        accumulate: whether it keeps what it has put out.
    """

    at_end: bool
    early: Rule | None
    late: Rule | None
    accumulate: bool

    @classmethod
    def of(cls, options: Mapping[str, Any] | None) -> Trigger:
        """What options tell. A time window that is given none fires at its end, and for each late record."""
        if options is None:
            return cls(True, None, Rule(count=1), True)
        if options["kind"] == "at_end":
            late = Rule.of(options["late"]) or Rule(count=1)
            return cls(True, Rule.of(options["early"]), late, options["accumulate"])
        rule = Rule.of(options)
        return cls(False, rule, rule, options["accumulate"])

    @property
    def is_plain(self) -> bool:
        """Whether it is that of a time window that was given none."""
        return self.at_end and self.early is None and self.late == Rule(count=1) and self.accumulate
