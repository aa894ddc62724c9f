"""What a window is to the functions that are called for one, and to those that read what it has put out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Value = TypeVar("Value", default=Any)
else:
    from typing import TypeVar

    Value = TypeVar("Value")

__all__ = ["Window", "WindowResult"]


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A stretch of time, in seconds since 1970: a record is in it if ``start <= time < end``.

    A count window and the global window hold records of all times: they go from ``-inf`` to ``inf``.
    """

    start: float
    end: float


class WindowResult(NamedTuple, Generic[Value]):
    """What a window has put out, and of which key and window it is. ``key`` is None without ``keyby``."""

    key: Any
    window: Window
    value: Value
