"""Whether a value of one type can be one of another, judged as type checkers do, but in doubt for the program.

A type that is not known (`Any`, a type variable, a name that was not found, a callable) matches everything.
"""

from __future__ import annotations

import collections.abc
import inspect
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from sage.core.graph.annotations import ITERABLES, MAPPINGS

__all__ = ["may_be", "show"]

_DEEPEST = 20
_MOST_CLASSES = 10_000
_UNIONS = (Union, types.UnionType)
_WIDENED = (float, complex)
"""An int is one of these too, to annotations."""

_BYTES = (bytes, bytearray, memoryview)
_UNJUDGED = (object, collections.abc.Callable, typing.TextIO, typing.BinaryIO, typing.IO, typing.Generic)
"""Classes of which an annotation says nothing, or which values are said to be of that are not."""

_JUDGES = frozenset({"abc", "builtins", "collections", "enum", "os", "typing", "typing_extensions", "pydantic"})
"""Modules that redefine ``isinstance`` or ``issubclass`` and mean nothing else by it."""


def may_be(given: Any, wanted: Any, depth: int = 0) -> bool:
    """Whether some value of type ``given`` may be a value of type ``wanted``.

    So a ``Shape`` may be a ``Circle``, an ``int | None`` an ``int``, and a ``float`` an ``int``, as all of them may
    the other way round; an ``int`` is never a ``str``, nor a ``list[int]`` a ``list[str]``.
    """
    given, wanted = _plain(given), _plain(wanted)
    if given is Any or wanted is Any or depth > _DEEPEST:
        return True
    for one, other in ((given, wanted), (wanted, given)):
        if get_origin(one) in _UNIONS:
            members = get_args(one)
            return any(
                may_be(member, other, depth + 1) if one is given else may_be(other, member, depth + 1)
                for member in members
            )
    if get_origin(given) is Literal and get_origin(wanted) is Literal:
        return any(one == other for one in get_args(given) for other in get_args(wanted))
    if get_origin(given) is Literal:
        return any(may_be(type(value), wanted, depth + 1) for value in get_args(given))
    if get_origin(wanted) is Literal:
        return any(may_be(given, type(value), depth + 1) for value in get_args(wanted))
    one, other = get_origin(given) or given, get_origin(wanted) or wanted
    if not isinstance(one, type) or not isinstance(other, type):
        return True
    return _classes_meet(one, other) and _contents_meet(given, wanted, depth + 1)


def show(found: Any) -> str:
    """A type as one would write it."""
    if found is types.NoneType:
        return "None"
    if found is ...:
        return "..."
    origin, args = get_origin(found), get_args(found)
    if origin in _UNIONS:
        return " | ".join(map(show, args))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if isinstance(origin, type) and args and not any(isinstance(item, list) for item in args):
        return f"{show(origin)}[{', '.join(map(show, args))}]"
    if isinstance(found, type) and not isinstance(found, types.GenericAlias):
        return found.__qualname__.rpartition("<locals>.")[2]
    return re.sub(r"\btyping\.", "", str(getattr(found, "__name__", None) or found))


def _plain(found: Any) -> Any:
    """A type without names for it; `Any` for what says nothing."""
    for _ in range(_DEEPEST):
        if isinstance(found, typing.NewType):
            found = found.__supertype__
        elif isinstance(found, typing.TypeVar):  # whatever it stands for is one of these
            found = Union[found.__constraints__] if found.__constraints__ else found.__bound__ or Any  # noqa: UP007
        elif type(found).__name__ == "TypeAliasType" and type(found).__module__ in ("typing", "typing_extensions"):
            found = found.__value__
        elif get_origin(found) is typing.Annotated:
            found = found.__origin__
        else:
            break
    else:
        return Any
    if found is None:
        return types.NoneType
    origin = get_origin(found)
    if origin in _UNIONS or origin is Literal:
        return found
    kind = origin or found
    if not isinstance(kind, type) or kind in _UNJUDGED or not _is_nominal(kind):
        return Any
    return found


def _is_nominal(kind: type) -> bool:
    """Whether being an instance of a class means what it usually does, and can be asked without running its code."""
    if any(base is Any or base.__module__ == "unittest.mock" for base in kind.__mro__):  # they stand for anything
        return False
    asked = (
        type(kind).__instancecheck__,
        type(kind).__subclasscheck__,
        inspect.getattr_static(kind, "__subclasshook__"),
    )
    return all(_is_standard(getattr(each, "__func__", each)) for each in asked)


def _is_standard(judge: Any) -> bool:
    module = getattr(judge, "__module__", None) or "builtins"
    return module.partition(".")[0] in _JUDGES


def _classes_meet(one: type, other: type) -> bool:
    """Whether some object may be an instance of both, as far as the classes that there are tell."""
    if one in other.__mro__ or other in one.__mro__ or _name(one) == _name(other):
        return True  # two of one name are one to the program: a cell that was run again, a module that was reloaded
    if (one in _WIDENED and _classes_meet(int, other)) or (other in _WIDENED and _classes_meet(one, int)):
        return True
    if typing.is_typeddict(one) and typing.is_typeddict(other):  # what has the keys of both is both
        mine, others = _keys(one), _keys(other)
        return mine <= others or others <= mine
    if typing.is_typeddict(one) or typing.is_typeddict(other):
        return _classes_meet(dict if typing.is_typeddict(one) else one, dict if typing.is_typeddict(other) else other)
    for protocol, fitting in ((one, other), (other, one)):
        if getattr(protocol, "_is_protocol", False) and (
            not getattr(protocol, "_is_runtime_protocol", False)
            or inspect.getattr_static(fitting, "__getattr__", None) is not None
        ):
            return True
    try:
        return (
            issubclass(one, other)
            or issubclass(other, one)
            or (_is_open(one) and inspect.isabstract(other))
            or (_is_open(other) and inspect.isabstract(one))
            or _quacks(one, other)
            or _quacks(other, one)
            or (issubclass(one, _BYTES) and issubclass(other, _BYTES))
            or (_is_number(one) and _is_number(other))
            or any(issubclass(each, other) for each in _below(one))
            or any(issubclass(each, one) for each in _below(other))
        )
    except Exception:  # a protocol with attributes, of which classes tell nothing; or a metaclass that fails by itself
        return True


def _name(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


def _is_open(kind: type) -> bool:
    """Whether classes that are not even imported yet may well be of this kind: one that says what there is to be."""
    structural = "__subclasshook__" in kind.__dict__
    return structural or (inspect.isabstract(kind) and kind.__module__ != "collections.abc")


def _quacks(kind: type, duck: type) -> bool:
    """Whether a class has all that an abstract one of the standard library demands, as an array has of a Sequence."""
    demanded: frozenset[str] = getattr(kind, "__abstractmethods__", frozenset())
    return (
        kind.__module__ == "collections.abc"
        and duck.__module__ not in ("builtins", "collections.abc")
        and bool(demanded)
        and all(inspect.getattr_static(duck, name, None) is not None for name in demanded)
    )


def _keys(kind: Any) -> frozenset[str]:
    """The keys that a value of a TypedDict always has."""
    keys: frozenset[str] = kind.__required_keys__
    return keys


def _below(kind: type) -> Iterator[type]:
    """The classes derived from one of the user's. Those of the builtins are too many, and too odd to be meant."""
    if kind.__module__ == "builtins":
        return
    todo: list[type] = type.__subclasses__(kind)
    for _ in range(_MOST_CLASSES):
        if not todo:
            return
        yield (each := todo.pop())
        todo += type.__subclasses__(each)


def _is_number(kind: type) -> bool:
    from numbers import Number

    return issubclass(kind, Number) or _name(kind) in (("numpy", "bool"), ("numpy", "bool_"))


def _contents_meet(given: Any, wanted: Any, depth: int) -> bool:
    """Whether what is written in brackets goes together, where both have some."""
    one, other = get_origin(given), get_origin(wanted)
    mine, others = get_args(given), get_args(wanted)
    if not mine or not others:
        return True
    if one is tuple and other is tuple:
        return _tuples_meet(mine, others, depth)
    if one is other and one not in ITERABLES and one not in MAPPINGS:
        pairs = [*_variables(one, mine, others)]
    else:
        pairs = [*zip(_held(one, mine), _held(other, others), strict=False)]
    return all(may_be(each, every, depth) for each, every in pairs)


def _held(origin: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """What an iterable holds, and what a mapping leads to; nothing for what is neither, or may not be."""
    if origin is tuple and not any(map(_is_unpacked, args)):
        return (Union[tuple(item for item in args if item is not ...)],)  # noqa: UP007 - a tuple of them
    if origin in MAPPINGS:
        return args
    return args[:1] if origin in ITERABLES else ()


def _variables(origin: Any, mine: tuple[Any, ...], others: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    """What one class of the user's has in brackets here and there."""
    if origin is type:
        yield mine[0], others[0]
        return
    variables = getattr(origin, "__parameters__", ())
    if len(variables) == len(mine) == len(others) and all(type(each) is typing.TypeVar for each in variables):
        for variable, each, every in zip(variables, mine, others, strict=True):
            if not variable.__contravariant__:
                yield each, every


def _tuples_meet(mine: tuple[Any, ...], others: tuple[Any, ...], depth: int) -> bool:
    if any(map(_is_unpacked, (*mine, *others))):
        return True
    if mine[-1] is ...:
        mine = mine[:1] * (1 if others[-1] is ... else len(others))
    if others[-1] is ...:
        others = others[:1] * len(mine)
    return len(mine) == len(others) and all(
        may_be(each, every, depth) for each, every in zip(mine, others, strict=True)
    )


def _is_unpacked(item: Any) -> bool:
    return get_origin(item) is typing.Unpack or getattr(item, "__unpacked__", False)
