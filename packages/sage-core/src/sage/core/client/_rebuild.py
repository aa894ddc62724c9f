"""What a pickled graph calls to rebuild what pickle and cloudpickle cannot.

Pickles name these functions, so their names and arguments belong to version 1 of the package format: they may gain
arguments with defaults, and nothing else.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

__all__ = ["cached_function", "enum_class", "made_module", "module", "module_globals", "set_enum_state"]


def module(name: str) -> ModuleType:
    """The module ``name``, imported if need be."""
    return sys.modules.get(name) or importlib.import_module(name)


def made_module(name: str) -> ModuleType:
    """The module ``name`` that no file holds: it is made here, and filled by what is rebuilt."""
    found = sys.modules.get(name)
    if found is None:
        found = sys.modules[name] = ModuleType(name)
    return found


def module_globals(name: str, made: bool = False) -> dict[str, Any]:
    """The live globals of a module, so that a function rebuilt from its code shares them with everything there."""
    return vars(made_module(name) if made else module(name))


def cached_function(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    """A function with an `functools.lru_cache`, whose cache begins empty."""
    return functools.lru_cache(maxsize=maxsize, typed=typed)(function)


def enum_class(
    metaclass: Any,
    name: str,
    qualname: str,
    module: str,
    bases: tuple[type, ...],
    members: Iterable[tuple[str, Any, tuple[Any, ...]]],
) -> Any:
    """An enumeration with exactly these members, made without calling the author's ``__new__`` or ``__init__``.

    Args:
        members: name, value and the arguments for the data type's ``__new__``, aliases included, in their order.
    """
    made = list(members)

    def new(cls: Any, index: int) -> Any:
        _, value, args = made[index]
        data_type = cls._member_type_
        member = data_type.__new__(cls, *args)
        member._value_ = value
        return member

    def init(self: Any, index: int) -> None:
        """The members' attributes follow with the state."""

    namespace = metaclass.__prepare__(name, bases)
    namespace["__module__"] = module
    namespace["__qualname__"] = qualname
    namespace["__new__"] = new
    namespace["__init__"] = init
    for index, (member_name, _, _) in enumerate(made):
        namespace[member_name] = index
    return metaclass.__new__(metaclass, name, bases, namespace)


def set_enum_state(cls: Any, state: tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]]) -> None:
    """Give a class made by `enum_class` the author's methods and its members their attributes."""
    attributes, members = state
    for name in ("__new__", "__init__", "__new_member__", "_new_member_"):
        if name not in attributes and name in vars(cls):
            type.__delattr__(cls, name)
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)
    for name, values in members.items():
        vars(cls._member_map_[name]).update(values)
