"""The annotations of any callable: what it takes at a position, what it returns. It is not called.

`Any` stands for what cannot be known, None for what is not annotated. Annotations that are text are not evaluated as
Python would: names are looked up and brackets applied, so that nothing runs and nothing is imported, and one name
that cannot be found leaves the rest of an annotation readable.
"""

from __future__ import annotations

import ast
import builtins
import collections
import collections.abc
import functools
import inspect
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["parameter_type", "return_type"]


def parameter_type(function: Any, position: int, bound: int = 0) -> Any:
    """The annotation of the parameter that takes a positional argument.

    Args:
        position: of the argument among those that the caller gives.
        bound: how many arguments come before them: ``self``, where a method was taken from its class.
    """
    function, bound = _unpeeled(function, bound)
    if isinstance(function, types.MethodDescriptorType):  # str.lower: its first argument has to be a str
        return function.__objclass__ if bound + position == 0 else None
    if not isinstance(function, types.FunctionType):
        return None
    code, position = function.__code__, bound + position
    if position < code.co_argcount:
        return _annotation(function, code.co_varnames[position])
    if code.co_flags & inspect.CO_VARARGS:
        return _annotation(function, code.co_varnames[code.co_argcount + code.co_kwonlyargcount])
    return None


def return_type(function: Any) -> Any:
    """The annotation of what a call returns; a class returns itself."""
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, type):
        return function if _makes_itself(function) else None
    function, _ = _unpeeled(function, 0)
    return _annotation(function, "return") if isinstance(function, types.FunctionType) else None


def _unpeeled(function: Any, bound: int) -> tuple[Any, int]:
    """The plain function below partials, methods, classes and callable objects, and how many arguments it has by then.

    What is decorated stays as it is: its annotations may be those of the function inside, and its types others.
    """
    while True:
        if isinstance(function, functools.partial):
            if any(value is _PLACEHOLDER for value in function.args):
                return None, 0
            function, bound = function.func, bound + len(function.args)
        elif isinstance(function, types.MethodType):
            function, bound = function.__func__, bound + 1
        elif isinstance(function, functools._lru_cache_wrapper):
            function = function.__wrapped__
        elif isinstance(function, types.FunctionType):
            decorated = "__wrapped__" in function.__dict__ or "__signature__" in function.__dict__
            return (None if decorated else function), bound
        elif isinstance(function, types.MethodDescriptorType):
            return function, bound
        elif isinstance(function, type):
            function, bound = _constructor(function), bound + 1
        else:
            call = inspect.getattr_static(type(function), "__call__", None)
            if not isinstance(call, types.FunctionType) or "__wrapped__" in getattr(function, "__dict__", ()):
                return None, 0
            function, bound = call, bound + 1


_PLACEHOLDER = getattr(functools, "Placeholder", object())


def _constructor(given: Any) -> Any:
    """The method that takes a class's arguments."""
    if type(given).__call__ is not type.__call__:
        return None
    if given.__new__ is object.__new__:
        return given.__init__
    return given.__new__ if given.__init__ is object.__init__ else None


def _makes_itself(given: type) -> bool:
    """Whether calling a class gives an instance of it, for all that can be seen."""
    if type(given).__call__ is not type.__call__:
        return False
    maker = next(base for base in given.__mro__ if "__new__" in base.__dict__)
    return maker.__module__ == "builtins" or hasattr(given, "_fields")


def _annotation(function: types.FunctionType, name: str) -> Any:
    try:
        annotations = _annotations(function)
        if name not in annotations:
            return None
        found = annotations[name]
        if found is None:
            return types.NoneType
        return _evaluated(found, _names(function)) if isinstance(found, str) else found
    except Exception:  # a lazy annotation may run any code, and fail in any way: then nothing is known
        return None


def _annotations(function: types.FunctionType) -> Mapping[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
    return function.__annotations__


def _names(function: types.FunctionType) -> Mapping[str, Any]:
    """What the names in an annotation that is text mean; `Any` for one that may mean something that is out of reach.

    Python looks them up among the globals. What the author means may stand nearer: in the class or the function
    around this one, among its type parameters. A global that happens to have the same name is then another thing.
    """
    hidden: set[str] = {each.__name__ for each in getattr(function, "__type_params__", ())}
    around, *path = function.__qualname__.split(".")
    if not path and not hidden:
        return function.__globals__
    outer = function.__globals__.get(around)
    for part in path:
        if isinstance(outer, type):
            hidden.update(outer.__dict__)
            outer = outer.__dict__.get(part)
        elif part == "<locals>":
            outer = inspect.unwrap(outer) if callable(outer) else None
            code = outer.__code__ if isinstance(outer, types.FunctionType) else None
            hidden.update(_bound_in(code) if code is not None else function.__globals__)
            break
    return collections.ChainMap(dict.fromkeys(hidden, Any), function.__globals__)


def _bound_in(code: types.CodeType) -> Iterator[str]:
    """The names that a function, or what stands in it, binds for itself."""
    yield from code.co_varnames
    yield from code.co_cellvars
    if not code.co_flags & inspect.CO_OPTIMIZED:  # the body of a class
        yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _bound_in(inner)


def _evaluated(text: str, names: Mapping[str, Any]) -> Any:
    if text.isidentifier():
        return _named(text, names)
    try:
        return _of(ast.parse(text.strip(), mode="eval").body, names)
    except Exception:  # no expression, or brackets where they do not belong: Python itself never looks at it
        return Any


def _of(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Name(name):
            return _named(name, names)
        case ast.Attribute(inner, name):
            # Not getattr: a module may import what it is asked for.
            return getattr(_of(inner, names), "__dict__", {}).get(name, Any)
        case ast.Constant(None):
            return types.NoneType
        case ast.Constant(str(text)):
            return _evaluated(text, names)
        case ast.BinOp(left, ast.BitOr(), right):
            return typing.Union[_of(left, names), _of(right, names)]  # noqa: UP007 - Any has no |
        case ast.Subscript(inner, brackets):
            return _bracketed(_of(inner, names), brackets, names)
    raise ValueError(f"no type: {ast.unparse(node)}")


def _bracketed(outer: Any, brackets: ast.expr, names: Mapping[str, Any]) -> Any:
    items = brackets.elts if isinstance(brackets, ast.Tuple) else [brackets]
    if outer is Any or outer in (typing.Callable, collections.abc.Callable):
        return Any
    if outer is typing.Annotated:
        return _of(items[0], names)
    if outer is typing.Literal:
        return typing.Literal[tuple(_literal(item, names) for item in items)]
    inner = [... if isinstance(item, ast.Constant) and item.value is ... else _of(item, names) for item in items]
    return outer[inner[0] if len(inner) == 1 else tuple(inner)]


def _literal(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Attribute):  # a member of an enum
        return getattr(_of(node.value, names), node.attr)
    return ast.literal_eval(node)


def _named(name: str, names: Mapping[str, Any]) -> Any:
    found = names[name] if name in names else getattr(builtins, name, Any)
    if found is None:
        return types.NoneType
    return Any if isinstance(found, str) else found
