"""What operators have in common that put records out because it is time."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from sage.core.engine.event_time import MICROS
from sage.core.engine.operators.base import RunningOperator
from sage.core.errors import TimestampError
from sage.core.graph.windows import LATE

__all__ = ["TimedOperator"]


class TimedOperator(RunningOperator):
    """Puts records out when the watermark, or the clock, has come to a time."""

    acts_on_time: ClassVar[bool] = True

    def now(self) -> int:
        """Processing time, in microseconds."""
        return round(self.clock.time() * MICROS)

    def wake_at(self, time: int | None) -> None:
        """Have `firing` called at a processing time, in microseconds; None for not at all."""
        if time is None:
            self.deadline = math.inf
        else:
            self.deadline = self.clock.now() + max(0.0, time / MICROS - self.clock.time())

    def need_time(self, time: int | None) -> int:
        """The time of a record. Raises `TimestampError` where it came by an input without times."""
        if time is None:
            raise TimestampError(
                "the record has no event time: it came by a stream that was not given any",
                hint=f"call .assign_timestamps(…) on every stream that is put together before {self.spec.title}",
            )
        return time

    def drop_late(self, record: Any) -> None:
        """Count a record that came too late to matter, and put it out on the side."""
        self.late += 1
        taken = self.side.get(LATE)
        if taken is not None:
            taken.append(record)
