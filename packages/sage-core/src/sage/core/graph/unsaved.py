"""What functions change outside of themselves: globals, variables of functions around them, objects bound to them.

None of it is a job's state. It is not saved with the job, and where the job runs in another process, it is a copy that
changes there. Functions are looked at, compiled as they are; nothing is called, and no source is read. In doubt nothing
is said: an object that is only read is none of this, and of most objects nobody can tell what their methods change.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import sysconfig
import threading
import types
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage.core.graph.changes import (
    METHODS,
    Change,
    changes,
    changing_methods,
    kept_arguments,
    made_lazily,
    nested,
    stored_locals,
    used_globals,
)
from sage.core.graph.kinds import KINDS
from sage.core.graph.model import FunctionSpec, LogicalGraph, Operator, SourceLocation

__all__ = ["Unsaved", "unsaved_state"]

_BEFORE_STATE = frozenset({"__init__", "__new__", "close", "open"})
"""Methods that run again at each start: what they set anew is not lost."""

_INSTALLED = frozenset({"site-packages", "dist-packages"})
_MISSING = object()

_MOST_FUNCTIONS = 50
"""How many functions are looked at for one operator: its own, and those that are called from there."""


@dataclass(frozen=True)
class Unsaved:
    """Something that an operator's function changes and that is no state of the job.

    Attributes:
        operator: the one whose function it is.
        what: in words, as what its function does: ``changes the global list 'seen'``.
        where: the line that does it; None if the function itself is what changes something: ``seen.append``.
    """

    operator: Operator
    what: str
    where: SourceLocation | None

    def __str__(self) -> str:
        return f"{self.what} ({self.where})" if self.where else self.what

    def to_json(self) -> dict[str, Any]:
        where = str(self.where) if self.where else None
        return {"operator": self.operator.uid, "what": self.what, "where": where}


def unsaved_state(graph: LogicalGraph) -> tuple[Unsaved, ...]:
    """All of it that can be seen, in declaration order. The lists that `collect` fills are not among it."""
    found: list[Unsaved] = []
    for operator in graph.operators:
        if operator.options.get("collect"):
            continue
        seen: dict[str, SourceLocation | None] = {}
        with suppress(Exception):  # objects of strangers: of what cannot be looked at, nothing is said
            for what, where in _of_operator(operator):
                seen.setdefault(what, where)
        found += [Unsaved(operator, what, where) for what, where in seen.items()]
    return tuple(found)


_Found = Iterator[tuple[str, SourceLocation | None]]


def _of_operator(operator: Operator) -> _Found:
    spec, visited = operator.function, set[types.CodeType]()
    if spec.form in ("class", "instance"):
        yield from _of_class(spec, visited)
        return
    targets = spec.target if isinstance(spec.target, tuple) and spec.form == "callable" else (spec.target,)
    for target in (*targets, spec.on):
        if callable(target):
            yield from _of_callable(target, (), KINDS[operator.kind].arguments, visited)


def _of_callable(target: Any, bound: tuple[Any, ...], records: int, visited: set[types.CodeType]) -> _Found:
    """What calling something with so many records changes; ``bound`` are the arguments it always gets first."""
    keywords: dict[str, Any] = {}
    while isinstance(target, functools.partial):
        target, bound, keywords = target.func, target.args + bound, {**target.keywords, **keywords}
    owner = target.__self__ if isinstance(target, types.BuiltinMethodType | types.MethodType) else None
    if owner is not None and target.__name__ in changing_methods(owner):
        yield f"calls {target.__name__} of {_named(owner)}", None
    elif isinstance(target, types.MethodType):
        yield from _of_callable(target.__func__, (owner, *bound), records, visited)
    elif isinstance(target, types.MethodDescriptorType) and bound:
        if target.__name__ in changing_methods(bound[0]):
            yield f"calls {target.__name__} of {_named(bound[0])}", None
    elif isinstance(target, types.FunctionType):
        yield from _of_function(target, _given(target, bound, keywords, records), visited)
    elif not isinstance(target, type):
        call = inspect.getattr_static(type(target), "__call__", None)
        if isinstance(call, types.FunctionType):
            yield from _of_function(call, _given(call, (target, *bound), keywords, records), visited)


def _of_class(spec: FunctionSpec, visited: set[types.CodeType]) -> _Found:
    """What the methods of a function class change, besides the attributes of its instances, which are state."""
    kind = spec.target if isinstance(spec.target, type) else type(spec.target)
    own = dict(_attributes(spec.target)) if kind is not spec.target else {}
    bases = [base for base in kind.__mro__ if _is_users_module(base.__module__)]
    assigned = {name for base in bases for method in base.__dict__.values() for name in _assigned_on_self(method)}
    shared = {
        name: (value, "")
        for base in reversed(bases)
        for name, value in base.__dict__.items()
        if changing_methods(value) and name not in assigned and name not in own
    }
    if spec.form == "class":  # an instance is copied, and what its constructor was given with it
        anew = {name for base in bases for name in _assigned_on_self(base.__dict__.get("open"))}
        defaults = _kept_defaults(kind, spec)
        shared |= {name: (value, ", a default of __init__") for name, value in defaults.items() if name not in anew}
    for base in bases:
        for name, method in base.__dict__.items():
            if name not in _BEFORE_STATE and isinstance(method, types.FunctionType):
                yield from _of_function(method, {}, visited)
                yield from _of_shared(method, kind, shared)


def _kept_defaults(kind: type, spec: FunctionSpec) -> Mapping[str, Any]:
    """Containers that are defaults of the constructor, where it makes attributes of them as they are.

    They are made once, when the class is; arguments that are given are copied for each instance.
    """
    constructor = inspect.getattr_static(kind, "__init__", None)
    if not isinstance(constructor, types.FunctionType) or not _is_users(constructor.__code__):
        return {}
    defaults = _given(constructor, (None,), {}, len(spec.args))
    return {
        name: defaults[argument]
        for name, argument in kept_arguments(constructor.__code__).items()
        if argument not in spec.kwargs and changing_methods(defaults.get(argument))
    }


def _of_shared(method: types.FunctionType, kind: type, shared: Mapping[str, tuple[Any, str]]) -> _Found:
    """Containers in the body of a class, or in its constructor's defaults, are one for all its instances."""
    if not shared or not method.__code__.co_argcount or not _is_users(method.__code__):
        return
    this = method.__code__.co_varnames[0]
    for change in changes(method.__code__):
        name = change.path[0] if change.path else ""
        if change.root == this and name in shared:
            value, which = shared[name]
            if _applies(change, value, change.path[1:]):
                what = f"changes the {type(value).__name__} '{name}' that all instances of {kind.__name__} share{which}"
                yield what, _location(method.__code__, change.line)


def _of_function(function: types.FunctionType, given: Mapping[str, Any], visited: set[types.CodeType]) -> _Found:
    """What a function changes; ``given`` are the parameters that are the same object at each call."""
    code = function.__code__
    if code in visited or not _is_users(code) or len(visited) >= _MOST_FUNCTIONS:
        return
    visited.add(code)
    around = {name: _content(cell) for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)}
    for inner in nested(code):
        for change in changes(inner):
            where = _location(inner, change.line)
            if change.how == "global":
                if function.__globals__.get(change.root, _MISSING) is not None or change.root not in made_lazily(inner):
                    yield f"assigns the global variable '{change.root}'", where
            elif change.how == "nonlocal":
                if change.root in around and (around[change.root] is not None or change.root not in made_lazily(inner)):
                    yield f"assigns '{change.root}', a variable of the function around it", where
            elif change.is_global:
                value = function.__globals__.get(change.root, _MISSING)
                if _applies(change, value, change.path):
                    yield f"changes the global {_kind(value)} '{change.root}'", where
            elif change.root in around:
                if _applies(change, around[change.root], change.path):
                    value = around[change.root]
                    yield f"changes the {_kind(value)} '{change.root}' of the function around it", where
            elif change.root in given and _applies(change, given[change.root], change.path):
                how = "it belongs to" if change.root == "self" else f"that is bound to it as '{change.root}'"
                yield f"changes the {_kind(given[change.root])} {how}", where
        for path in used_globals(inner):  # what it uses, it may call
            if isinstance(used := _at(path, function.__globals__), types.FunctionType):
                yield from _of_function(used, {}, visited)
    for value in around.values():
        if isinstance(value, types.FunctionType):
            yield from _of_function(value, {}, visited)


def _given(
    function: types.FunctionType, bound: tuple[Any, ...], keywords: Mapping[str, Any], records: int
) -> dict[str, Any]:
    """Parameters that are the same object at each call: what is bound to them, or a default that nobody replaces."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    given = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    for name in names[len(bound) : len(bound) + records]:
        given.pop(name, None)
    given.update(function.__kwdefaults__ or {})
    given.update(zip(names, bound, strict=False))
    given.update(keywords)
    if not given:
        return {}
    stored = stored_locals(code)
    return {name: value for name, value in given.items() if name not in stored}


def _applies(change: Change, value: Any, path: tuple[str, ...]) -> bool:
    """Whether it changes ``value``, or what is in there, at the end of ``path``, as far as one can see."""
    if value is _MISSING or isinstance(value, threading.local):
        return False
    if isinstance(value, types.ModuleType) and not _is_users_module(value.__name__):
        return False
    if change.how == "attribute" and len(path) == 1:
        return not isinstance(value, types.FunctionType)
    if path and path[0] != "[]":
        inner = _attributes(value).get(path[0], _MISSING)
        return not isinstance(inner, types.ModuleType) and _applies(change, inner, path[1:])
    if path and change.how not in ("item", "attribute"):  # a method of an item: of which kind, nobody can tell
        return bool(changing_methods(value)) and change.how in METHODS
    return not isinstance(value, types.ModuleType) if change.how == "item" else change.how in changing_methods(value)


def _at(path: tuple[str, ...], variables: Mapping[str, Any]) -> Any:
    """What is found there, by way of modules of the user's."""
    found = variables.get(path[0])
    for name in path[1:]:
        if not isinstance(found, types.ModuleType) or not _is_users_module(found.__name__):
            return None
        found = vars(found).get(name)
    return found


def _assigned_on_self(method: Any) -> Iterator[str]:
    if isinstance(method, types.FunctionType) and method.__code__.co_argcount:
        this = method.__code__.co_varnames[0]
        for change in changes(method.__code__):
            if change.how == "attribute" and change.root == this and len(change.path) == 1:
                yield change.path[0]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return _MISSING


def _attributes(value: Any) -> Mapping[str, Any]:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _kind(value: Any) -> str:
    return "class" if isinstance(value, type) else type(value).__name__


def _named(value: Any) -> str:
    return f"a {type(value).__name__} of this program"


def _location(code: types.CodeType, line: int | None) -> SourceLocation:
    return SourceLocation(code.co_filename, line or code.co_firstlineno, code.co_qualname)


@functools.cache
def _libraries() -> tuple[str, ...]:
    """The folders of Python's own code, and of this package."""
    folders = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(__file__).parents[1])}
    return tuple(f"{folder}{os.sep}" for folder in folders)


def _is_users(code: types.CodeType) -> bool:
    file = code.co_filename
    return not file.startswith((*_libraries(), "<frozen")) and _INSTALLED.isdisjoint(Path(file).parts)


def _is_users_module(name: Any) -> bool:
    module = sys.modules.get(str(name))
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        return module is not None and str(name) not in sys.builtin_module_names
    return not file.startswith(_libraries()) and _INSTALLED.isdisjoint(Path(file).parts)
