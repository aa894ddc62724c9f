"""The type variables of streams and functions.

Each has a default, so that a class may be derived from ``MapFunction`` as well as from ``MapFunction[int, str]``, and
``DataStream`` is a type without brackets too. Python before 3.13 knows no defaults, and needs none at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Accumulator", "In", "Inputs", "Left", "Out", "Record", "Right", "Value"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar, TypeVarTuple, Unpack

    Record = TypeVar("Record", covariant=True, default=Any)
    In = TypeVar("In", contravariant=True, default=Any)
    Left = TypeVar("Left", contravariant=True, default=Any)
    Right = TypeVar("Right", contravariant=True, default=Any)
    Out = TypeVar("Out", covariant=True, default=Any)
    Value = TypeVar("Value", default=Any)
    Accumulator = TypeVar("Accumulator", default=Any)
    Inputs = TypeVarTuple("Inputs", default=Unpack[tuple[Any, ...]])
else:
    from typing import TypeVar, TypeVarTuple

    Record = TypeVar("Record", covariant=True)
    In = TypeVar("In", contravariant=True)
    Left = TypeVar("Left", contravariant=True)
    Right = TypeVar("Right", contravariant=True)
    Out = TypeVar("Out", covariant=True)
    Value = TypeVar("Value")
    Accumulator = TypeVar("Accumulator")
    Inputs = TypeVarTuple("Inputs")
