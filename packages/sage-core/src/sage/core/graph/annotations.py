"""What the functions of operators are annotated to take and to put out, by kind of operator. None of them is called.

`Any` stands for everything that is not known.
"""

from __future__ import annotations

import collections
import collections.abc
import inspect
import types
from collections.abc import Iterable
from typing import Any, Union, Unpack, get_args, get_origin

from sage.core.graph.hints import parameter_type, return_type
from sage.core.graph.kinds import KINDS
from sage.core.graph.model import FunctionSpec, Operator

__all__ = ["ITERABLES", "MAPPINGS", "narrows_to", "puts_out", "returns", "takes"]

ITERABLES = frozenset(
    {
        list,
        set,
        frozenset,
        collections.deque,
        collections.abc.Iterable,
        collections.abc.Iterator,
        collections.abc.Generator,
        collections.abc.Reversible,
        collections.abc.Container,
        collections.abc.Collection,
        collections.abc.Sequence,
        collections.abc.MutableSequence,
        collections.abc.Set,
        collections.abc.MutableSet,
        collections.abc.KeysView,
        collections.abc.ValuesView,
    }
)
"""Types whose first argument is what they hold."""

MAPPINGS = frozenset(
    {
        dict,
        collections.OrderedDict,
        collections.defaultdict,
        collections.Counter,
        collections.ChainMap,
        collections.abc.Mapping,
        collections.abc.MutableMapping,
    }
)
"""Types whose first argument is their keys."""


def takes(operator: Operator, input: int) -> dict[str, Any]:
    """The types that records have to be of to be taken by input number ``input``, by how they are taken."""
    kind = KINDS[operator.kind]
    if not kind.takes:
        return {}
    spec = operator.function
    function, bound = _called(spec, kind.method.format(input), input)
    if operator.kind in ("reduce", "window_reduce"):
        first, second = parameter_type(function, 0, bound), parameter_type(function, 1, bound)
        known = _bracketed(spec, "Value")
        return {
            "takes": known if second is None else second,
            "what it accumulates begins as a record: takes": known if first is None else first,
        }
    if operator.kind == "window_process":
        found = parameter_type(function, 2, bound)
        return {"takes windows of": _bracketed(spec, "In") if found is None else _items(found)}
    if operator.kind in ("aggregate", "window_aggregate"):
        found = parameter_type(function, 1, bound)
        return {"its add takes": _bracketed(spec, "In") if found is None else found}
    if operator.kind in ("join", "interval_join", "window_join"):
        found, side = parameter_type(function, input, bound), "right" if input else "left"
        return {f"its {side} takes": _bracketed(spec, side.title()) if found is None else found}
    if operator.kind == "co_group":
        found, side = parameter_type(function, 2 + input, bound), "right" if input else "left"
        return {f"takes {side} records": _bracketed(spec, side.title()) if found is None else _items(found)}
    found = parameter_type(function, 0, bound)
    if operator.kind == "map_batches":
        return {} if operator.options.get("as_array") else {"takes batches of": _items(found)}
    how = f"its {kind.method.format(input)} takes" if "{}" in kind.method else "takes"
    return {how: _bracketed(spec, "In") if found is None else found}


def puts_out(operator: Operator, inputs: int) -> list[Any]:
    """The types of the records that an operator with so many inputs makes; not of those that it passes on."""
    if not KINDS[operator.kind].makes or operator.options.get("with_window"):
        return [Any]
    if operator.kind == "comap":
        returned = [return_type(_called(operator.function, f"map{number}", number)[0]) for number in range(inputs)]
        return [Any if found is None else found for found in returned]
    return [_made(operator.function, operator.kind)]


def returns(operator: Operator) -> list[Any]:
    """The types, one of which the function of an operator returns; none if nothing is known. None is not among them."""
    found = return_type(_called(operator.function, "execute", 0)[0])
    members = get_args(found) if get_origin(found) in (Union, types.UnionType) else (found,)
    return [member for member in members if member not in (None, types.NoneType)]


def narrows_to(operator: Operator) -> Any:
    """The type of what passes a ``filter`` whose function is annotated ``TypeGuard[…]`` or ``TypeIs[…]``."""
    found = return_type(_called(operator.function, "execute", 0)[0])
    name = getattr(get_origin(found), "_name", None)
    return get_args(found)[0] if name in ("TypeGuard", "TypeIs") else None


def _made(spec: FunctionSpec, kind: str) -> Any:
    if kind == "collection":
        return _items(return_type(spec.target)) if callable(spec.target) else Any
    method = "execute"
    if kind in (
        "aggregate",
        "window_aggregate",
    ):  # without a `result` of its own, the accumulator is put out as `add` leaves it
        method = "add" if _is_base(spec, "result") else "result"
    found = return_type(_called(spec, method, 0)[0])
    if found is None:
        return _bracketed(spec, "Out", "Value")
    if KINDS[kind].expands:
        return _items(found)
    if kind in ("batch", "filter_map", "source"):
        return _without(found, kind)
    if kind == "map_async" and get_origin(found) in (collections.abc.Awaitable, collections.abc.Coroutine):
        return Any  # a function that is only marked as one that is awaited
    return found


def _called(spec: FunctionSpec, method: str, input: int) -> tuple[Any, int]:
    """What is called for a record, and how many arguments it is given before those of the operator."""
    target = spec.target
    if spec.form == "class":
        found = inspect.getattr_static(target, method, None)
        if isinstance(found, staticmethod | classmethod):
            return found.__func__, 1 if isinstance(found, classmethod) else 0
        return (found, 1) if isinstance(found, types.FunctionType) else (None, 0)
    if spec.form == "instance":
        return getattr(target, method, None), 0
    if isinstance(target, tuple):  # a callable for each input
        return (target[input] if input < len(target) else None), 0
    return target, 0


def _is_base(spec: FunctionSpec, method: str) -> bool:
    """Whether a method is that of a base class of SAGE's, not the user's own."""
    found = getattr(spec.target, method, None)
    return str(getattr(found, "__module__", "")).startswith("sage.core.api.")


def _bracketed(spec: FunctionSpec, *names: str) -> Any:
    """What a type variable of SAGE's base class stands for: ``int`` for ``In`` behind ``MapFunction[int, str]``."""
    if spec.form not in ("class", "instance"):
        return Any
    kind = spec.target if isinstance(spec.target, type) else type(spec.target)
    for owner in kind.__mro__:
        for base in owner.__dict__.get("__orig_bases__", ()):
            origin = get_origin(base)
            if getattr(origin, "__module__", "").startswith("sage.core.api."):
                for variable, given in zip(origin.__parameters__, get_args(base), strict=False):
                    if variable.__name__ in names:
                        return given
    return Any


def _items(returned: Any) -> Any:
    """What iterating over a value of a type gives."""
    origin, args = get_origin(returned), get_args(returned)
    if origin in (Union, types.UnionType):
        return _either(_items(member) for member in args if member is not types.NoneType)
    if any(get_origin(item) is Unpack or getattr(item, "__unpacked__", False) for item in args):
        return Any
    if origin is tuple and args:
        return args[0] if args[-1] is ... else _either(args)
    if args and (origin in ITERABLES or origin in MAPPINGS):
        return args[0]
    return Any


def _without(found: Any, kind: str) -> Any:
    """A type without what is no record: None, and of sources `STOP`."""
    if get_origin(found) not in (Union, types.UnionType):
        return Any if _is_no_record(found, kind) else found
    return _either(member for member in get_args(found) if not _is_no_record(member, kind))


def _is_no_record(found: Any, kind: str) -> bool:
    if found is types.NoneType:
        return True
    # By name, since the graph knows nothing of the engine.
    return (
        kind in ("batch", "source")
        and getattr(found, "__qualname__", "") == "StopType"
        and found.__module__.startswith("sage.")
    )


def _either(members: Iterable[Any]) -> Any:
    found = tuple(members)
    try:
        return Union[found] if found else Any  # noqa: UP007 - a tuple of them
    except TypeError:  # something among them is no type
        return Any
