"""Timestamp functions: they tell when what a record tells of has happened."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import ClassVar, Generic

from sage.core.api._typevars import In
from sage.core.api.function.base_function import BaseFunction

__all__ = ["TimestampFunction"]


class TimestampFunction(BaseFunction, Generic[In]):
    """The event time of a record, for ``assign_timestamps``.

    It may have a method ``watermark(record, time)``, called after `execute` with the time in seconds. It returns the
    watermark that holds once this record is processed, in seconds or as an aware datetime, or None where it stays as it
    is; then ``out_of_order`` plays no part.
    """

    __sage_function__: ClassVar[str] = "timestamps"

    @abstractmethod
    def execute(self, value: In, /) -> float | datetime:
        """When it happened: seconds since 1970, or an aware datetime."""
