"""The singleton by which a source says that it has ended."""

from __future__ import annotations

from typing import Final, final

__all__ = ["STOP", "StopType"]


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
