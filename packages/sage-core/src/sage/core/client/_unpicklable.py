"""Finds what exactly cannot be pickled inside an object, and names the way to it.

The search takes the object apart as pickle would and tries each part, so it is as slow as many pickles; it runs only
after a pickle has failed. It survives cycles, and it is bounded: in a huge structure it names the part it got to.
"""

from __future__ import annotations

import copyreg
import functools
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import CellType, FunctionType, MappingProxyType, MethodType
from typing import Any

__all__ = ["Culprit", "Trial", "find_culprit"]

Trial = Callable[[Any], BaseException | None]
"""Pickles an object into nothing; gives the exception, or None where it went well."""

_TRIALS = 20_000
_DEPTH = 50
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


@dataclass(frozen=True)
class Culprit:
    """What cannot be pickled: the way to it, the object itself, and the reason that pickle gave."""

    path: str
    value: Any
    reason: str


@dataclass(frozen=True)
class _Path:
    """An expression, and where its first name comes from, if that is not plain from the expression."""

    expression: str
    origin: str | None = None
    name: str | None = None

    def attribute(self, name: str) -> _Path:
        return _Path(f"{self.expression}.{name}", self.origin, self.name)

    def item(self, key: Any) -> _Path:
        return _Path(f"{self.expression}[{reprlib.repr(key)}]", self.origin, self.name)

    def variable(self, what: str, name: str) -> _Path:
        return _Path(name, f"{what} {name!r} of {self.expression}", name)

    def __str__(self) -> str:
        if self.origin is None:
            return self.expression
        return self.origin if self.expression == self.name else f"{self.expression} ({self.origin})"


def find_culprit(value: Any, label: str, trial: Trial) -> Culprit | None:
    """The innermost part of ``value`` that ``trial`` refuses, or None where it accepts all of it.

    Args:
        label: what ``value`` is called in the path, ``args[0]``.
    """
    error = trial(value)
    if error is None:
        return None
    path = _Path(label)
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        return Culprit(label, value, "it is nested too deeply")
    return _Search(trial).find(value, path, error, 0) or Culprit(label, value, _text(error))


class _Search:
    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._left = _TRIALS
        self._visited: dict[int, Any] = {}

    def find(self, value: Any, path: _Path, error: BaseException, depth: int) -> Culprit | None:
        if id(value) in self._visited:
            return None  # in a cycle: the failing part lies on another way
        self._visited[id(value)] = value
        failing = False
        if depth < _DEPTH:
            for below, part in _safely(_parts(value, path)):
                if isinstance(part, _PLAIN):
                    continue
                if self._left == 0:
                    break
                self._left -= 1
                reason = self._trial(part)
                if reason is None:
                    continue
                failing = True
                found = self.find(part, below, reason, depth + 1)
                if found is not None:
                    return found
        return None if failing else Culprit(str(path), value, _text(error))


def _safely(parts: Iterator[tuple[_Path, Any]]) -> Iterator[tuple[_Path, Any]]:
    """The parts up to where the author's own code fails to give them; what is reported then is the whole."""
    try:
        yield from parts
    except BaseException:  # SystemExit, too
        return


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _parts(value: Any, path: _Path) -> Iterator[tuple[_Path, Any]]:
    """The parts that pickling ``value`` pickles, each with its path."""
    kind = type(value)
    if kind is dict:
        yield from _entries(path, value.items())
    elif kind in (list, tuple, set, frozenset):
        yield from ((path.item(index), item) for index, item in enumerate(value))
    elif kind is FunctionType:
        yield from _function_parts(value, path)
    elif issubclass(kind, type):
        yield from _class_parts(value, path)
    elif kind is MethodType:
        yield path.attribute("__self__"), value.__self__
        yield _Path(value.__func__.__qualname__), value.__func__
    elif kind is functools.partial:
        yield _Path(_name(value.func, f"{path}.func")), value.func
        yield path.attribute("args"), value.args
        yield path.attribute("keywords"), value.keywords
    elif kind is CellType:
        yield from _cell(value, path)
    elif kind in (staticmethod, classmethod):
        yield path, value.__func__
    elif kind is property:
        yield from ((path, part) for part in (value.fget, value.fset, value.fdel))
    elif kind is MappingProxyType:
        yield path, dict(value)
    else:
        yield from _instance_parts(value, path)


def _entries(path: _Path, entries: Iterable[tuple[Any, Any]]) -> Iterator[tuple[_Path, Any]]:
    for key, item in entries:
        yield path.item(key), item
        yield _Path(f"key {reprlib.repr(key)} of {path}"), key


def _cell(cell: CellType, path: _Path) -> Iterator[tuple[_Path, Any]]:
    try:
        yield path, cell.cell_contents
    except ValueError:
        return  # a variable without a value yet


def _function_parts(function: FunctionType, path: _Path) -> Iterator[tuple[_Path, Any]]:
    from sage.core.client._pickler import globals_used, owner_of_globals

    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        yield from _cell(cell, path.variable("closure variable", name))
    names = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    for name, item in [*zip(names[-len(defaults) :], defaults, strict=False), *(function.__kwdefaults__ or {}).items()]:
        yield path.variable("default of parameter", name), item
    if owner_of_globals(function) in (None, "__main__"):
        for name in sorted(globals_used(code)):
            if name in function.__globals__:
                yield path.variable("global variable", name), function.__globals__[name]
    yield from ((path.attribute(name), item) for name, item in vars(function).items())
    yield from ((path.variable("annotation", name), item) for name, item in function.__annotations__.items())


def _class_parts(cls: type, path: _Path) -> Iterator[tuple[_Path, Any]]:
    for name, item in vars(cls).items():
        if name not in ("__dict__", "__weakref__", "__doc__", "__module__", "_abc_impl"):
            yield _Path(f"{cls.__qualname__}.{name}"), item
    for base in cls.__bases__:
        yield _Path(base.__qualname__), base
    yield _Path(type(cls).__qualname__), type(cls)


def _instance_parts(value: Any, path: _Path) -> Iterator[tuple[_Path, Any]]:
    reducer = copyreg.dispatch_table.get(type(value))
    reduced = value.__reduce_ex__(5) if reducer is None else reducer(value)
    if not isinstance(reduced, tuple):
        return
    make, args, state, items, entries = (*reduced, None, None, None)[:5]
    yield from _state_parts(state, path)
    yield from ((path.item(index), item) for index, item in enumerate(items or ()))
    yield from _entries(path, entries or ())
    for index, item in enumerate(args or ()):
        if isinstance(item, type | FunctionType):
            yield _Path(_name(item, str(path))), item
        else:
            yield path.attribute(f"__reduce__()[1][{index}]"), item
    if make is not getattr and make is not copyreg.__newobj__:  # type: ignore[attr-defined]
        yield _Path(_name(make, str(path))), make


def _state_parts(state: Any, path: _Path) -> Iterator[tuple[_Path, Any]]:
    for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
        if isinstance(part, Mapping):
            for name, item in part.items():
                yield path.attribute(name) if isinstance(name, str) else path.item(name), item
        elif part is not None:
            yield path.attribute("__getstate__()"), part


def _name(value: Any, otherwise: str) -> str:
    name = getattr(value, "__qualname__", None)
    return name.rpartition("<locals>.")[2] if isinstance(name, str) else otherwise
