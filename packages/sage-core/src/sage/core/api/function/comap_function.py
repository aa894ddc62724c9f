"""CoMapFunction: one method for each of several connected streams."""

from __future__ import annotations

from typing import Any, ClassVar

from sage.core.api.function.base_function import BaseFunction

__all__ = ["CoMapFunction"]


class CoMapFunction(BaseFunction):
    """Turns each record of connected streams into another.

    Define ``map0(value)`` for the first stream, ``map1(value)`` for the second, and so on: they share the
    function's attributes.
    """

    __sage_function__: ClassVar[str] = "comap"

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Not called: each stream has its own method."""
        raise TypeError("a CoMapFunction is called by map0, map1 …")
