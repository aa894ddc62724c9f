"""The pickler of graphs: cloudpickle's, with six differences.

- A function whose module is imported in the job's process keeps that module's globals instead of a copy of them, and
  functions of ``__main__`` share the globals of the job's ``__main__``.
- It records what it meets: which modules the pickle needs, which objects of ``__main__`` it carries, whose code.
- What names itself instead of telling how to be rebuilt (cached functions, `typing.NewType` …) is rebuilt, where it
  lives in ``__main__``: the name leads nowhere in another process.
- Code keeps the name of its file, by which tracebacks find the author's line; cloudpickle drops it from 3.1.3 on.
- Enumerations keep their aliases and the attributes of their members.
- Open files are refused; cloudpickle would quietly send their content.
"""

from __future__ import annotations

import copyreg
import dis
import functools
import io
import pickle
import sys
import threading
import typing
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, BinaryIO, NoReturn, cast

import cloudpickle  # type: ignore[import-untyped]

from sage.core.client import _rebuild
from sage.core.client._imports import nested_code

__all__ = ["GraphPickler", "Record", "globals_used", "owner_of_globals"]

MAIN = "__main__"

# cloudpickle's registry of modules to pickle by value is global; one pickler at a time uses it.
_registry_lock = threading.RLock()


@dataclass
class Record:
    """What a pickle needs beyond its own bytes.

    Attributes:
        modules: names of modules that unpickling imports.
        values: (module, qualified name) → class, function or other object that travels by value and is found under
            that name, if at all.
        codes: code that travels by value, with the package that its relative imports start from.
        hooks: (class, name, value) → ``__init_subclass__`` of classes that travel by value. It is set when all classes
            are there: what it did for the author's subclasses is in the pickle and must not be done twice.
    """

    modules: set[str] = field(default_factory=set)
    values: dict[tuple[str, str], Any] = field(default_factory=dict)
    codes: list[tuple[CodeType, str | None]] = field(default_factory=list)
    hooks: list[tuple[type, str, Any]] = field(default_factory=list)


class _Globals:
    """Stands for the live globals of a module."""

    def __init__(self, name: str, made: bool) -> None:
        self._of = (name, made)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild.module_globals, self._of)


# cloudpickle says nothing about its types, so its pickler is Any to a type checker.
_CloudPickler: Any = cloudpickle.Pickler


class GraphPickler(_CloudPickler):  # type: ignore[misc]
    """Pickles one graph. Several calls of `dump` share what was pickled before; load them with one unpickler.

    Use it as a context manager: it holds a lock and changes cloudpickle's registry until it is left.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, protocol=5)
        self.record = Record()
        self._by_value: dict[str, bool] = {MAIN: True}
        self._registered: list[ModuleType] = []

    def __enter__(self) -> GraphPickler:
        _registry_lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for module in self._registered:
                cloudpickle.unregister_pickle_by_value(module)
        finally:
            _registry_lock.release()

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is FunctionType:
            return self._function(obj)
        if issubclass(kind, type):
            return self._class(obj)
        if obj is sys.stdout:
            return getattr, (sys, "stdout")
        if obj is sys.stderr:
            return getattr, (sys, "stderr")
        reducer = _REDUCERS.get(kind)
        if reducer is not None:
            return reducer(self, obj)
        if isinstance(obj, ModuleType):
            return self._module(obj)
        module = getattr(obj, "__module__", None)
        if type(module) is not str:
            return NotImplemented
        if kind is BuiltinFunctionType:
            self.record.modules.add(module)
        elif self._travels_by_value(module) and kind not in self.dispatch_table:
            reduced: Any = obj.__reduce_ex__(5)
            return self._named(obj, module, reduced) if isinstance(reduced, str) else reduced
        return NotImplemented

    def _travels_by_value(self, name: str) -> bool:
        """Whether what ``name`` defines travels by value: ``__main__``, and modules that no importer knows."""
        known = self._by_value.get(name)
        if known is None:
            module = sys.modules.get(name)
            known = (
                type(module) is ModuleType
                and "." not in name
                and module.__spec__ is None
                and getattr(module, "__file__", None) is None
            )
            self._by_value[name] = known
            if known and name not in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.register_pickle_by_value(module)
                self._registered.append(cast(ModuleType, module))
        return known

    def _function(self, function: FunctionType) -> Any:
        owner = owner_of_globals(function)
        by_value = owner is not None and self._travels_by_value(owner)
        if owner is not None:
            self.globals_ref.setdefault(id(function.__globals__), _Globals(owner, by_value and owner != MAIN))
        if isinstance(function.__module__, str):
            self._travels_by_value(function.__module__)  # so that cloudpickle knows, too
        reduced = super().reducer_override(function)
        if reduced is NotImplemented:
            self.record.modules.add(function.__module__)
            return reduced
        self._carries(function)
        if owner is None or not owner.startswith("sage."):
            self.record.codes.append((function.__code__, function.__globals__.get("__package__")))
        _, slots = reduced[2]
        if owner is not None and not by_value:
            # Its module is imported over there: everything the function refers to is in that module.
            self.record.modules.add(owner)
            slots["__globals__"] = {}
            slots["_cloudpickle_submodules"] = []
        else:
            slots["_cloudpickle_submodules"] += _submodules(function, slots["__globals__"].values())
        return reduced

    def _code(self, code: CodeType) -> Any:
        make, arguments = self.dispatch_table[CodeType](code)
        return make, (*arguments[:_FILENAME], code.co_filename, *arguments[_FILENAME + 1 :])

    def _class(self, cls: type) -> Any:
        if isinstance(cls.__module__, str):
            self._travels_by_value(cls.__module__)
        reduced = super().reducer_override(cls)
        if reduced is NotImplemented:
            self.record.modules.add(cls.__module__)
        elif len(reduced) > 2:  # the short ones are names of built-in types
            self._carries(cls)
            if issubclass(cls, Enum):
                return _reduce_enum(cls)
            attributes, _ = reduced[2]
            attributes["__qualname__"] = cls.__qualname__  # cloudpickle forgets it, and pickle finds nested ones by it
            if (hook := attributes.pop("__init_subclass__", None)) is not None:
                self.record.hooks.append((cls, "__init_subclass__", hook))
        return reduced

    def _module(self, module: ModuleType) -> Any:
        name = module.__name__
        if sys.modules.get(name) is not module:
            return NotImplemented
        if self._travels_by_value(name) and name != MAIN:
            return _rebuild.made_module, (name,)
        self.record.modules.add(name)
        return _rebuild.module, (name,)

    def _carries(self, value: Any) -> None:
        module = value.__module__
        name = value.__qualname__
        if not isinstance(module, str) or not self._travels_by_value(module) or "<" in name:
            return
        # Where a class was replaced by a new one of its name, the one the module holds now is the one to find.
        if (module, name) not in self.record.values or getattr(sys.modules.get(module), name, None) is value:
            self.record.values[module, name] = value

    def _named(self, obj: Any, module: str, name: str) -> Any:
        """Rebuild an object that would travel as its name in a module that is not there."""
        self.record.values.setdefault((module, name), obj)
        kind: Any = type(obj)
        if kind is typing.ParamSpec or kind is typing.TypeVarTuple:
            return kind, (obj.__name__,)
        if kind.__name__ == "TypeAliasType" and kind.__module__ == "typing":  # Python 3.12 and later
            return functools.partial(kind, type_params=obj.__type_params__), (obj.__name__, obj.__value__)
        return copyreg.__newobj__, (kind,), obj.__getstate__()  # type: ignore[attr-defined]

    def _lru_cache(self, obj: Any) -> Any:
        if self._travels_by_value(obj.__module__) or "<locals>" in obj.__qualname__:
            self._carries(obj)
            parameters = obj.cache_parameters()
            return _rebuild.cached_function, (obj.__wrapped__, parameters["maxsize"], parameters["typed"])
        self.record.modules.add(obj.__module__)
        return NotImplemented

    def _cached_property(self, obj: Any) -> Any:
        # Python 3.11 keeps a lock in it, which cannot travel.
        return functools.cached_property, (obj.func,), {"attrname": obj.attrname}

    def _weak_dict(self, obj: Any) -> Any:
        return type(obj), (dict(obj),)

    def _file(self, obj: io.TextIOWrapper) -> NoReturn:
        raise pickle.PicklingError(f"an open file cannot travel ({getattr(obj, 'name', 'without a name')!r})")


_FILENAME = 10  # its place among the arguments of CodeType, from Python 3.11 on

_REDUCERS: dict[type, Callable[[GraphPickler, Any], Any]] = {
    CodeType: GraphPickler._code,
    type(functools.lru_cache(lambda: None)): GraphPickler._lru_cache,
    functools.cached_property: GraphPickler._cached_property,
    weakref.WeakKeyDictionary: GraphPickler._weak_dict,
    weakref.WeakValueDictionary: GraphPickler._weak_dict,
    io.TextIOWrapper: GraphPickler._file,
}


def owner_of_globals(function: FunctionType) -> str | None:
    """The name of the module whose globals a function runs in, or None for globals that no module owns."""
    name = function.__globals__.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    return name if getattr(module, "__dict__", None) is function.__globals__ else None


def globals_used(code: CodeType) -> set[str]:
    """The names of globals that code, and what is nested in it, reads, writes or deletes."""
    return {
        instruction.argval
        for part in nested_code(code)
        for instruction in dis.get_instructions(part)
        if instruction.opname in ("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL")
    }


def _submodules(function: FunctionType, values: Any) -> list[ModuleType]:
    """Loaded submodules that nested code reaches as attributes of a package; cloudpickle reads the outermost only."""
    packages = [value for value in values if isinstance(value, ModuleType) and hasattr(value, "__path__")]
    if not packages:
        return []
    names = {name for code in nested_code(function.__code__) for name in code.co_names}
    return [
        module
        for package in packages
        for name, module in list(sys.modules.items())
        if name.startswith(package.__name__ + ".")
        and isinstance(module, ModuleType)
        and names.issuperset(name[len(package.__name__) + 1 :].split("."))
    ]


# What the metaclass makes anew with every enumeration.
_ENUM_OWN = frozenset(
    {
        "__dict__",
        "__weakref__",
        "__module__",
        "__qualname__",
        "_member_map_",
        "_member_names_",
        "_value2member_map_",
        "_unhashable_values_",
        "_unhashable_values_map_",
        "_hashable_values_",
    }
)


def _reduce_enum(cls: type[Enum]) -> tuple[Any, ...]:
    members = cls.__members__
    attributes = {name: value for name, value in vars(cls).items() if name not in _ENUM_OWN and name not in members}
    recipe = [(name, member._value_, _data_arguments(member)) for name, member in members.items()]
    states = {member._name_: _member_state(member) for member in cls.__members__.values()}
    arguments = (type(cls), cls.__name__, cls.__qualname__, cls.__module__, cls.__bases__, recipe)
    return _rebuild.enum_class, arguments, (attributes, states), None, None, _rebuild.set_enum_state


def _member_state(member: Enum) -> dict[str, Any]:
    own = ("_value_", "_name_", "__objclass__", "_sort_order_")
    return {name: value for name, value in vars(member).items() if name not in own}


def _data_arguments(member: Enum) -> tuple[Any, ...]:
    """What the data type of an enumeration (int, str, a date …) needs to make this member again."""
    if type(member)._member_type_ is object:  # type: ignore[attr-defined]
        return ()
    make, arguments, *_ = cast(tuple[Any, ...], object.__reduce_ex__(member, 2))
    return tuple(arguments[1:]) if make is copyreg.__newobj__ else tuple(arguments)  # type: ignore[attr-defined]
