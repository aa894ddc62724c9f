"""What is saved of an operator: the data, apart from how it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sage.core.engine.event_time import MIN_TIME
from sage.core.graph.model import MAX_PARALLELISM

__all__ = ["OperatorSnapshot"]


@dataclass(frozen=True)
class OperatorSnapshot:
    """What one subtask of an operator has saved: bytes only, so that it can be stored and sent.

    Everything is pickled by reference (plain pickle, protocol 5): it meets the classes of the program that loads it.

    Attributes:
        kind: the operator's.
        attributes: its function's attributes; None if it has none.
        keyed: by name of the state, by key, what is kept; None if there is no keyed state.
        groups: first and last of the key groups that ``keyed`` covers.
        states: by name of the state, its kind.
        ttl_times: by name of the state, the time by which it expires, for state that does. Its values come with how
            long ago they were written, in microseconds, or, for event time, when.
        broadcast: by name of the state, what is the same on all subtasks: saved by the first of them alone.
        in_flight: what was taken in and has not been put out, in order, as ``(record,)`` or ``(record, key)``; None if
            there is none.
        source: by partition, where reading goes on; for sources that have a position beside their attributes.
        timers: by key, the timers that are set; None if there are none.
        watermark: the event time of the operator's input, in microseconds.
        seen: the latest event time of a record, where the operator goes by that.
    """

    kind: str
    attributes: bytes | None = None
    keyed: bytes | None = None
    groups: tuple[int, int] = (0, MAX_PARALLELISM - 1)
    states: Mapping[str, str] = field(default_factory=dict)
    ttl_times: Mapping[str, str] = field(default_factory=dict)
    broadcast: bytes | None = None
    in_flight: bytes | None = None
    source: Mapping[str, bytes] = field(default_factory=dict)
    timers: bytes | None = None
    watermark: int = MIN_TIME
    seen: int = MIN_TIME
