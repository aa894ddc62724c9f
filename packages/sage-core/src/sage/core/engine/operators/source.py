"""Sources: where records enter the pipeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Set
from itertools import islice
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.functions import close_iterator, iterate
from sage.core.engine.operators.base import ENDED, IDLE, MORE, Emit, Flow, RunningOperator
from sage.core.engine.saving import load
from sage.core.engine.stop import STOP

__all__ = ["BatchOperator", "CollectionOperator", "Drain", "SourceOperator", "StreamSourceOperator"]

Drain = Callable[[], None]
"""Generates what happens to what the call that has just returned has put out on the side."""


class SourceOperator(RunningOperator):
    """A source takes turns of a bounded number of records; a turn answers `MORE`, `IDLE` or `ENDED`."""

    wait: Callable[[float], None] | None = None
    """A source's own way of waiting for news, at most so many seconds; None for the task's."""

    not_before: float = -math.inf
    """When there may be something again, by `clock`, where an idle source knows that; earlier it need not be asked."""
    partition: str = ""
    """That which the records of the last turn are from, where it reads one partition in a turn."""

    idle_partitions: Set[str] = frozenset()
    """Those which have said that nobody is to wait for their event time."""

    ended_partitions: Set[str] = frozenset()
    """Those in which nothing follows."""

    def generate_turn(self, code: Code, ticks: str, emit: Emit, drain: Drain) -> None:
        """Write the lines of a turn: a loop over ``ticks``, a record for each, that leaves by ``return``."""
        if self.spec.is_partitioned and not self.context.partitions:
            code.line(f"return {ENDED}")
            return
        count = code.local("taken", "-1")
        with code.block(f"for {count} in {ticks}:"), self.calling(code, "source", None) as value:
            drain()
            self._generate_checks(code, value)
            emit(Flow(value, self.passing(code, Flow(value, count))))
        with code.block("else:"):
            code.line(f"{count} += 1")
        code.line(f"return {MORE}")

    def _generate_checks(self, code: Code, value: str) -> None:
        """Write the lines that leave the turn when ``value`` is no record."""
        raise TypeError("a kind of source says what ends it")


class BatchOperator(SourceOperator):
    """``BatchFunction``: None ends it, and `STOP` does, which cannot be meant as a record."""

    def _generate_checks(self, code: Code, value: str) -> None:
        with code.block(f"if {value} is None or {value} is {code.bind('STOP', STOP)}:"):
            code.line(f"return {ENDED}")


class StreamSourceOperator(SourceOperator):
    """``SourceFunction``: None is "nothing yet", `STOP` ends it."""

    def open(self) -> None:
        super().open()
        own = None if self.spec.function.form == "callable" else getattr(self.function, "wait", None)
        self.wait = own if callable(own) else None

    def _generate_checks(self, code: Code, value: str) -> None:
        with code.block(f"if {value} is None:"):
            code.line(f"return {IDLE}")
        with code.block(f"if {value} is {code.bind('STOP', STOP)}:"):
            code.line(f"return {ENDED}")


class CollectionOperator(SourceOperator):
    """Records given as an iterable, or as a callable that makes one; None is a record like any other."""

    _records: Iterator[Any] | None = None
    _skipped = 0

    def open(self) -> None:
        self._records = iterate(self.spec.function)

    def positions(self) -> dict[str, object]:
        """How many records were taken."""
        return {"": self._skipped + self.records_out}

    def go_on_at(self, positions: Mapping[str, bytes]) -> None:
        assert self._records is not None
        self._skipped = load(positions[""], "its position")
        if self._skipped:
            next(islice(self._records, self._skipped - 1, None), None)

    def close(self) -> None:
        records, self._records = self._records, None
        if records is not None:
            close_iterator(records, self.spec.function)

    def generate_turn(self, code: Code, ticks: str, emit: Emit, drain: Drain) -> None:
        assert self._records is not None
        self.generate_taking(code, self._records, ticks, emit)
