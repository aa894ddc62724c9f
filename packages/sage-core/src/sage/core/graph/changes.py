"""What a function changes and what it uses, read from how it is compiled. Nothing is called, and no source is read."""

from __future__ import annotations

import collections
import dis
import functools
import itertools
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "METHODS",
    "Change",
    "changes",
    "changing_methods",
    "kept_arguments",
    "made_lazily",
    "nested",
    "stored_locals",
    "used_globals",
]

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

METHODS = frozenset[str]().union(*_CHANGING.values())
"""All of these methods."""

_WRITING = frozenset(
    number
    for name, number in dis.opmap.items()
    if name.startswith(("STORE_", "DELETE_")) and name.endswith(("_GLOBAL", "_DEREF", "_SUBSCR", "_ATTR"))
)


@dataclass(frozen=True)
class Change:
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


@functools.lru_cache(maxsize=1024)
def changes(code: types.CodeType) -> tuple[Change, ...]:
    """The changes in a piece of code, itself and not what is nested in it."""
    if _WRITING.isdisjoint(code.co_code[::2]) and METHODS.isdisjoint(code.co_names):
        return ()  # as most functions: looking at each instruction takes a hundred times as long
    return tuple(_found(code))


def _found(code: types.CodeType) -> Iterator[Change]:
    """``a.b[c].append(d)`` is compiled to instructions that know where in the source they come from, and all that are
    about what is changed begin where its name does.
    """
    instructions = [each for each in dis.get_instructions(code) if each.opname != "CACHE"]
    for index, each in enumerate(instructions):
        name, line = str(each.argval), each.positions.lineno if each.positions else None
        if each.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            yield Change("global", name, True, (), line)
        elif each.opname in ("STORE_DEREF", "DELETE_DEREF"):
            if name in code.co_freevars:
                yield Change("nonlocal", name, False, (), line)
        elif each.opname in ("STORE_SUBSCR", "DELETE_SUBSCR"):
            yield from _change(instructions, index, "item")
        elif each.opname in ("STORE_ATTR", "DELETE_ATTR"):
            yield from _change(instructions, index, "attribute")
        elif each.opname in ("LOAD_METHOD", "LOAD_ATTR") and name in METHODS:
            yield from _change(instructions, index, name)


def _change(instructions: list[dis.Instruction], index: int, how: str) -> Iterator[Change]:
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
            yield Change(how, root, is_global, tuple(path), each.positions.lineno if each.positions else None)
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
def made_lazily(code: types.CodeType) -> frozenset[str]:
    """Variables that are compared with None, or asked for their truth: what they are set to then is made once."""
    instructions = list(dis.get_instructions(code))
    return frozenset(
        str(each.argval)
        for each, after in itertools.pairwise(instructions)
        if each.opname.startswith(("LOAD_GLOBAL", "LOAD_DEREF"))
        and ("JUMP" in after.opname or after.opname == "TO_BOOL")
    )


@functools.lru_cache(maxsize=1024)
def used_globals(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
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


def stored_locals(code: types.CodeType) -> frozenset[str]:
    """The variables of its own that a piece of code assigns, its parameters among them."""
    stored: set[str] = set()
    for each in dis.get_instructions(code):
        if each.opname.startswith(("STORE_FAST", "STORE_DEREF")):  # newer Pythons store two at once
            stored.update(each.argval if isinstance(each.argval, tuple) else (each.argval,))
    return frozenset(stored)


@functools.lru_cache(maxsize=1024)
def kept_arguments(code: types.CodeType) -> Mapping[str, str]:
    """Attributes that a method sets once, and to a parameter as it came: ``self.rows = given``."""
    kept: dict[str, str] = {}
    twice: set[str] = set()
    this, parameters = code.co_varnames[0], code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    replaced = stored_locals(code)
    instructions = [each for each in dis.get_instructions(code) if each.opname != "CACHE"]
    for index, each in enumerate(instructions):
        if each.opname not in ("STORE_ATTR", "DELETE_ATTR"):
            continue
        name, loaded = str(each.argval), _loaded_before(instructions, index)
        if name in kept:
            twice.add(name)
        kept[name] = loaded[0] if len(loaded) == 2 and loaded[1] == this else ""
    return {
        name: argument
        for name, argument in kept.items()
        if name not in twice and argument in parameters and argument not in replaced
    }


def _loaded_before(instructions: list[dis.Instruction], index: int) -> tuple[str, ...]:
    """The last two variables that are loaded right before an instruction, whichever way it is come to."""
    loaded: tuple[str, ...] = ()
    for each in reversed(instructions[:index]):
        if len(loaded) >= 2 or not each.opname.startswith(("LOAD_FAST", "LOAD_DEREF")):
            break
        loaded = (*(each.argval if isinstance(each.argval, tuple) else (str(each.argval),)), *loaded)
        if each.is_jump_target:
            break
    return loaded[-2:]


def nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """A piece of code, and all that is defined in it."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from nested(inner)


def changing_methods(value: Any) -> frozenset[str]:
    """The methods that change a container; none for what is no container."""
    return next((names for kind, names in _CHANGING.items() if kind in type(value).__mro__), frozenset())
