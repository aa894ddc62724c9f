"""What a source says instead of giving records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

__all__ = ["STOP", "Later", "StopType"]


@final
class StopType:
    """The type of `STOP`. It has one instance, also after pickling and copying."""

    _instance: StopType | None = None

    def __new__(cls) -> StopType:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __reduce__(self) -> str:
        return "STOP"

    def __repr__(self) -> str:
        return "STOP"


STOP: Final = StopType()
"""Returned by a source's ``execute`` when nothing will ever come again."""


@dataclass(frozen=True, slots=True)
class Later:
    """Returned by a connector's reader that knows for how long it has nothing: it is asked again after that.

    Attributes:
        seconds: how long, by the job's clock, which jumps there where it is a virtual one; infinite for ever.
        idle: nobody is to wait for the event time of this partition, until it gives a record again.
    """

    seconds: float
    idle: bool = False
