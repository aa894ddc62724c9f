"""What functions change outside of themselves: globals, variables of functions around them, objects bound to them.

None of it is a job's state. It is not saved with the job, and where the job runs in another process, it is a copy that
changes there. Functions are looked at, compiled as they are; nothing is called, and no source is read. In doubt nothing
is said: an object that is only read is none of this, and of most objects nobody can tell what their methods change.
"""

from __future__ import annotations

import collections
import dis
import functools
import inspect
import itertools
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

from sage.core.graph.kinds import KINDS
from sage.core.graph.model import LogicalGraph, Operator, SourceLocation

__all__ = ["Unsaved", "unsaved_state"]

_LIST = frozenset({"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"})
_DICT = frozenset({"clear", "pop", "popitem", "setdefault", "update"})
_CHANGING: dict[type, frozenset[str]] = {
    list: _LIST,
    bytearray: _LIST,
    collections.deque: _LIST | {"appendleft", "extendleft", "popleft", "rotate"},
    dict: _DICT | {"subtract", "move_to_end"},
    set: frozenset(
        {
            "add",
            "clear",
            "difference_update",
            "discard",
            "intersection_update",
            "pop",
            "remove",
            "symmetric_difference_update",
            "update",
        }
    ),
}
"""Containers, and their methods that change them."""

_METHODS = frozenset[str]().union(*_CHANGING.values())
_WRITING = frozenset(
    number
    for name, number in dis.opmap.items()
    if name.startswith(("STORE_", "DELETE_")) and name.endswith(("_GLOBAL", "_DEREF", "_SUBSCR", "_ATTR"))
)

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
        yield from _of_class(spec.target, visited)
        return
    for target in spec.target if isinstance(spec.target, tuple) and spec.form == "callable" else (spec.target,):
        if callable(target):
            yield from _of_callable(target, (), KINDS[operator.kind].arguments, visited)


def _of_callable(target: Any, bound: tuple[Any, ...], records: int, visited: set[types.CodeType]) -> _Found:
    """What calling something with so many records changes; ``bound`` are the arguments it always gets first."""
    keywords: dict[str, Any] = {}
    while isinstance(target, functools.partial):
        target, bound, keywords = target.func, target.args + bound, {**target.keywords, **keywords}
    owner = target.__self__ if isinstance(target, types.BuiltinMethodType | types.MethodType) else None
    if owner is not None and target.__name__ in _changing(owner):
        yield f"calls {target.__name__} of {_named(owner)}", None
    elif isinstance(target, types.MethodType):
        yield from _of_callable(target.__func__, (owner, *bound), records, visited)
    elif isinstance(target, types.MethodDescriptorType) and bound:
        if target.__name__ in _changing(bound[0]):
            yield f"calls {target.__name__} of {_named(bound[0])}", None
    elif isinstance(target, types.FunctionType):
        yield from _of_function(target, _given(target, bound, keywords, records), visited)
    elif not isinstance(target, type):
        call = inspect.getattr_static(type(target), "__call__", None)
        if isinstance(call, types.FunctionType):
            yield from _of_function(call, _given(call, (target, *bound), keywords, records), visited)


def _of_class(target: Any, visited: set[types.CodeType]) -> _Found:
    """What the methods of a function class change, besides the attributes of its instances, which are state."""
    kind = target if isinstance(target, type) else type(target)
    own = dict(_attributes(target)) if kind is not target else {}
    bases = [base for base in kind.__mro__ if _is_users_module(base.__module__)]
    assigned = {name for base in bases for method in base.__dict__.values() for name in _assigned_on_self(method)}
    shared = {
        name: value
        for base in reversed(bases)
        for name, value in base.__dict__.items()
        if _changing(value) and name not in assigned and name not in own
    }
    for base in bases:
        for name, method in base.__dict__.items():
            if name not in _BEFORE_STATE and isinstance(method, types.FunctionType):
                yield from _of_function(method, {}, visited)
                yield from _of_shared(method, kind, shared)


def _of_shared(method: types.FunctionType, kind: type, shared: Mapping[str, Any]) -> _Found:
    """Containers in the body of a class are one for all its instances, and none of their own attributes."""
    if not shared or not method.__code__.co_argcount or not _is_users(method.__code__):
        return
    this = method.__code__.co_varnames[0]
    for change in _changes(method.__code__):
        name = change.path[0] if change.path else ""
        if change.root == this and name in shared and change.changes(shared[name], change.path[1:]):
            what = f"changes the {type(shared[name]).__name__} '{name}' that all instances of {kind.__name__} share"
            yield what, _location(method.__code__, change.line)


def _of_function(function: types.FunctionType, given: Mapping[str, Any], visited: set[types.CodeType]) -> _Found:
    """What a function changes; ``given`` are the parameters that are the same object at each call."""
    code = function.__code__
    if code in visited or not _is_users(code) or len(visited) >= _MOST_FUNCTIONS:
        return
    visited.add(code)
    around = {name: _content(cell) for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)}
    for inner in _nested(code):
        for change in _changes(inner):
            where = _location(inner, change.line)
            if change.how == "global":
                if function.__globals__.get(change.root, _MISSING) is not None or change.root not in _made_lazily(
                    inner
                ):
                    yield f"assigns the global variable '{change.root}'", where
            elif change.how == "nonlocal":
                if change.root in around and (
                    around[change.root] is not None or change.root not in _made_lazily(inner)
                ):
                    yield f"assigns '{change.root}', a variable of the function around it", where
            elif change.is_global:
                value = function.__globals__.get(change.root, _MISSING)
                if change.changes(value, change.path):
                    yield f"changes the global {_kind(value)} '{change.root}'", where
            elif change.root in around:
                if change.changes(around[change.root], change.path):
                    value = around[change.root]
                    yield f"changes the {_kind(value)} '{change.root}' of the function around it", where
            elif change.root in given and change.changes(given[change.root], change.path):
                how = "it belongs to" if change.root == "self" else f"that is bound to it as '{change.root}'"
                yield f"changes the {_kind(given[change.root])} {how}", where
        for path in _used(inner):  # what it uses, it may call
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
    stored: set[str] = set()
    for each in dis.get_instructions(code):
        if each.opname.startswith(("STORE_FAST", "STORE_DEREF")):  # newer Pythons store two at once
            stored.update(each.argval if isinstance(each.argval, tuple) else (each.argval,))
    return {name: value for name, value in given.items() if name not in stored}


@dataclass(frozen=True)
class _Change:
    """One instruction that changes something.

    Attributes:
        how: ``global`` and ``nonlocal`` assign the variable ``root``, ``attribute`` and ``item`` assign what is in it;
            else the name of a method that is called.
        path: of attributes (and ``[]`` for items) from the variable to what is changed.
    """

    how: str
    root: str
    is_global: bool
    path: tuple[str, ...]
    line: int | None

    def changes(self, value: Any, path: tuple[str, ...]) -> bool:
        """Whether it changes ``value``, or what is in there, at the end of ``path``, as far as one can see."""
        if value is _MISSING or isinstance(value, threading.local):
            return False
        if isinstance(value, types.ModuleType) and not _is_users_module(value.__name__):
            return False
        if self.how == "attribute" and len(path) == 1:
            return not isinstance(value, types.FunctionType)
        if path and path[0] != "[]":
            inner = _attributes(value).get(path[0], _MISSING)
            return not isinstance(inner, types.ModuleType) and self.changes(inner, path[1:])
        if path and self.how not in ("item", "attribute"):  # a method of an item: of which kind, nobody can tell
            return bool(_changing(value)) and self.how in _METHODS
        return not isinstance(value, types.ModuleType) if self.how == "item" else self.how in _changing(value)


@functools.lru_cache(maxsize=1024)
def _changes(code: types.CodeType) -> tuple[_Change, ...]:
    """The changes in a piece of code, itself and not what is nested in it."""
    if _WRITING.isdisjoint(code.co_code[::2]) and _METHODS.isdisjoint(code.co_names):
        return ()  # as most functions: looking at each instruction takes a hundred times as long
    return tuple(_found(code))


def _found(code: types.CodeType) -> Iterator[_Change]:
    """``a.b[c].append(d)`` is compiled to instructions that know where in the source they come from, and all that are
    about what is changed begin where its name does.
    """
    instructions = [each for each in dis.get_instructions(code) if each.opname != "CACHE"]
    for index, each in enumerate(instructions):
        name, line = str(each.argval), each.positions.lineno if each.positions else None
        if each.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            yield _Change("global", name, True, (), line)
        elif each.opname in ("STORE_DEREF", "DELETE_DEREF"):
            if name in code.co_freevars:
                yield _Change("nonlocal", name, False, (), line)
        elif each.opname in ("STORE_SUBSCR", "DELETE_SUBSCR"):
            yield from _change(instructions, index, "item")
        elif each.opname in ("STORE_ATTR", "DELETE_ATTR"):
            yield from _change(instructions, index, "attribute")
        elif each.opname in ("LOAD_METHOD", "LOAD_ATTR") and name in _METHODS:
            yield from _change(instructions, index, name)


def _change(instructions: list[dis.Instruction], index: int, how: str) -> Iterator[_Change]:
    start = _start(instructions[index])
    path = [str(instructions[index].argval)] if how == "attribute" else []
    if start is None:
        return
    for each in reversed(instructions[:index]):
        if _start(each) != start:
            continue
        if each.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_FAST", "LOAD_CLASSDEREF")):
            root = each.argval[0] if isinstance(each.argval, tuple) else str(each.argval)
            is_global = each.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME"))
            yield _Change(how, root, is_global, tuple(path), each.positions.lineno if each.positions else None)
            return
        if each.positions == instructions[index].positions:  # `a[b] += c` reads what it writes
            continue
        if each.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            path.insert(0, str(each.argval))
        elif each.opname == "BINARY_SUBSCR" or (each.opname == "BINARY_OP" and each.argrepr == "[]"):
            path.insert(0, "[]")
        elif each.opname.startswith("CALL"):  # it is about what was returned
            return


def _start(each: dis.Instruction) -> tuple[int, int] | None:
    where = each.positions
    if where is None or where.lineno is None or where.col_offset is None:
        return None
    return where.lineno, where.col_offset


@functools.lru_cache(maxsize=1024)
def _made_lazily(code: types.CodeType) -> frozenset[str]:
    """Variables that are compared with None, or asked for their truth: what they are set to then is made once."""
    instructions = list(dis.get_instructions(code))
    return frozenset(
        str(each.argval)
        for each, after in itertools.pairwise(instructions)
        if each.opname.startswith(("LOAD_GLOBAL", "LOAD_DEREF"))
        and ("JUMP" in after.opname or after.opname == "TO_BOOL")
    )


@functools.lru_cache(maxsize=1024)
def _used(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    """The globals that a piece of code reads, each with the attributes that it takes of it: ``helper.count``."""
    paths: list[tuple[str, ...]] = []
    follows = False  # whether the instruction before was about the last path
    for each in dis.get_instructions(code):
        if each.opname.startswith("LOAD_GLOBAL"):
            paths.append((str(each.argval),))
            follows = True
        elif follows and each.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            paths[-1] += (str(each.argval),)
        else:
            follows = False
    return tuple(dict.fromkeys(paths))


def _at(path: tuple[str, ...], variables: Mapping[str, Any]) -> Any:
    """What is found there, by way of modules of the user's."""
    found = variables.get(path[0])
    for name in path[1:]:
        if not isinstance(found, types.ModuleType) or not _is_users_module(found.__name__):
            return None
        found = vars(found).get(name)
    return found


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _nested(inner)


def _assigned_on_self(method: Any) -> Iterator[str]:
    if isinstance(method, types.FunctionType) and method.__code__.co_argcount:
        this = method.__code__.co_varnames[0]
        for change in _changes(method.__code__):
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


def _changing(value: Any) -> frozenset[str]:
    """The methods that change a container; none for what is no container."""
    return next((names for kind, names in _CHANGING.items() if kind in type(value).__mro__), frozenset())


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
