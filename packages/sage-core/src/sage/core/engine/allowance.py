"""How much the sources of a job may give before their input is said to have ended."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sage.core.engine.clock import Clock
from sage.core.engine.operators.source import SourceOperator
from sage.core.engine.task import Task

__all__ = ["InputAllowance"]


class InputAllowance:
    """Ends the input of all sources once they have given enough, or long enough.

    Args:
        tasks: all of the job's.
        clock: theirs.
        max_records: how many records in all; None for no limit.
        timeout: seconds from `begin`; None for no limit.
    """

    def __init__(self, tasks: Sequence[Task], clock: Clock, max_records: int | None, timeout: float | None) -> None:
        self._tasks = [task for task in tasks if task.chain.source is not None]
        self._sources = [source for task in tasks if isinstance(source := task.chain.source, SourceOperator)]
        self._clock = clock
        self._most = math.inf if max_records is None else max_records
        self._seconds = math.inf if timeout is None else timeout
        self._until = math.inf
        self._spent = False

    @staticmethod
    def check(max_records: int | None, timeout: float | None) -> None:
        """Raises ValueError where one of them makes no sense."""
        if max_records is not None and (isinstance(max_records, bool) or not isinstance(max_records, int)):
            raise ValueError(f"max_records must be a whole number, not {max_records!r}")
        if max_records is not None and max_records < 0:
            raise ValueError(f"max_records must be 0 or more, not {max_records}")
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
            raise ValueError(f"timeout must be a number of seconds, not {timeout!r}")
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must be 0 or more seconds, not {timeout}")

    def begin(self) -> None:
        """Time counts from here; a second call changes nothing."""
        self._until = min(self._until, self._clock.now() + self._seconds)

    @property
    def seconds_left(self) -> float:
        """Seconds until it is spent by time alone."""
        return math.inf if self._spent else max(0.0, self._until - self._clock.now())

    @property
    def records_left(self) -> float:
        """Records that may still be read."""
        return self._most - sum(source.records_out for source in self._sources)

    def apply(self) -> None:
        """End the input of the sources if the allowance is spent. To be called between steps."""
        if not self._spent and (self.records_left <= 0 or self._clock.now() >= self._until):
            self._spent = True
            for task in self._tasks:
                task.drain()
