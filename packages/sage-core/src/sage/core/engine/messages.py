"""What flows between tasks, always in order along one channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Batch", "EndOfInput", "Message"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in order. ``keys`` holds the key of each record where the channel is keyed, else it is None."""

    records: list[Any]
    keys: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class EndOfInput:
    """Nothing follows on this channel: one upstream subtask has ended."""


Message = Batch | EndOfInput
