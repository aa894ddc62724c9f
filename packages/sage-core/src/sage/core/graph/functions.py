"""Judges what a user gave as a function, without calling any of it."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sage.core.graph.kinds import KINDS, SOURCE_KINDS
from sage.core.graph.model import FunctionSpec, ServiceMethod

__all__ = [
    "Given",
    "Slip",
    "describe_connector",
    "describe_data",
    "describe_function",
    "describe_functions",
    "describe_lookup",
    "describe_service",
    "function_kind",
    "is_function_class",
]

_FLATMAP = "call .flatmap(…), which puts out each record that it yields"
_FLATMAP_AFTER_JOIN = "return a list of them, and call .flatmap(…) on what join puts out"
_FOR_GENERATORS = {
    "batch": "return one record a call, or give env.from_batch a generator function instead of a class",
    "source": "return one record a call; env.from_batch takes a generator function, and reads what it yields",
    "map": _FLATMAP,
    "filter_map": _FLATMAP,
    "comap": "return a list of them, and call .flatmap(…) on what comap puts out",
    "join": _FLATMAP_AFTER_JOIN,
    "interval_join": _FLATMAP_AFTER_JOIN,
    "window_join": _FLATMAP_AFTER_JOIN,
}
"""Kinds whose records would be generators, and what to do instead."""

_KEYWORDS = (
    "name",
    "uid",
    "parallelism",
    "on_error",
    "final",
    "max_size",
    "max_wait",
    "as_array",
    "concurrency",
    "ordered",
    "timeout",
    "how",
    "within",
    "on",
    "cache_size",
    "cache_ttl",
    "out_of_order",
    "idle_after",
    "max_ahead",
    "with_window",
)
"""What methods of streams and environments take themselves; the others go to the function's constructor."""

_WRITTEN_AS = {
    "filter_map": "map",
    "interval_join": "join",
    "window_reduce": "reduce",
    "window_aggregate": "aggregate",
    "window_join": "join",
}
"""Kinds that take the functions of another one."""

_METHODS = {
    "timestamps": ".assign_timestamps",
    "window_process": ".window(…).process",
    "comap": ".connect(…).comap",
    "coprocess": ".connect(…).process",
    "join": ".connect(…).join",
    "co_group": ".connect(…).co_group",
}
"""By the kind that a function class was written for, what takes it, where that is no method of streams by its name."""

_INSTEAD = {
    "aggregate": " or an instance of one",
    "window_aggregate": " or an instance of one",
    "comap": ", an instance of one, or one callable for each stream",
    "coprocess": " or an instance of one",
}
"""Kinds that no single callable serves, and what else does."""


@dataclass(frozen=True)
class Slip:
    """Something wrong with what was given, and what to do about it."""

    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Given:
    """A function as given: what to build, its name for people, and what is wrong with it."""

    spec: FunctionSpec
    name: str
    slips: tuple[Slip, ...] = ()


def function_kind(given: Any) -> str | None:
    """The kind a function class was written for (``any`` for `BaseFunction`), None for what is not one of ours."""
    kind = given if isinstance(given, type) else type(given)
    marker = getattr(kind, "__sage_function__", None)
    return marker if isinstance(marker, str) else None


def is_function_class(given: Any) -> bool:
    """Whether a class is to be instantiated by SAGE, rather than called for each record as ``str`` or ``int`` are."""
    given = _without_brackets(given)
    return isinstance(given, type) and (function_kind(given) is not None or callable(getattr(given, "execute", None)))


def describe_functions(given: tuple[Any, ...], kind: str, inputs: int) -> Given:
    """Describe one plain callable for each input of an operator."""
    slips = [slip for each in given for slip in _callable(each, kind)] if all(map(callable, given)) else []
    if len(given) != inputs or not all(map(callable, given)):
        slips = [Slip(f"takes one callable for each of its {inputs} inputs, not {len(given)} values")]
    return Given(FunctionSpec("callable", given), "+".join(map(_name, given)), tuple(slips))


def describe_function(
    given: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], kind: str, *, inputs: int = 1
) -> Given:
    """Describe a class with constructor arguments, an instance, or a plain callable for an operator of ``kind``.

    Args:
        inputs: how many inputs the operator has; with several, the class has a method for each.
    """
    given = _without_brackets(given)
    name = _name(given)
    if is_function_class(given):
        slips = _wrong_kind(given, kind) or [*_constructor(given, args, kwargs), *_methods(given, kind, inputs)]
        return Given(FunctionSpec("class", given, args, dict(kwargs)), name, tuple(slips))
    extra = []
    if args or kwargs:
        what = ", ".join((*(type(value).__name__ for value in args), *(f"{key}=…" for key in kwargs)))
        extra.append(
            Slip(
                f"constructor arguments only go with a function class: {what}",
                _meant(kwargs) or _meant_for(given, name, kind),
            )
        )
    if not isinstance(given, type) and callable(getattr(given, "execute", None)):
        slips = _wrong_kind(given, kind) or _methods(given, kind, inputs)
        return Given(FunctionSpec("instance", given), name, (*extra, *slips))
    if not isinstance(given, type) and function_kind(given) is not None:
        return Given(FunctionSpec("instance", given), name, (*extra, *_methods(given, kind, inputs)))
    if callable(given) and kind not in _INSTEAD:
        return Given(FunctionSpec("callable", given), name, (*extra, *_callable(given, kind)))
    example = f"for example a class derived from {KINDS[kind].base}{'' if kind in _INSTEAD else ', or a lambda'}"
    slip = Slip(
        f"expects a function class{_INSTEAD.get(kind, ', an instance of one, or a callable')},"
        f" not {type(given).__name__}",
        "env.from_batch(…) reads records that are there" if kind == "source" else example,
    )
    return Given(FunctionSpec("callable", given), name, (slip,))


def describe_lookup(
    given: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    on: Any,
    services: Mapping[str, Given],
    *,
    threads: bool,
) -> tuple[str, Given]:
    """Describe what a lookup calls: a function in any form, or ``"service.method"``.

    Args:
        on: what it is called with, as a callable of a record.
        services: those registered so far.
        threads: whether a plain method of a service is to be called on threads.

    Returns:
        the kind of the operator, ``lookup`` or ``lookup_async``, and the description.
    """
    if isinstance(given, str):
        service, dot, method = given.partition(".")
        found = services.get(service)
        bound = None if found is None else getattr(found.spec.target, method, None)
        kind = "lookup_async" if threads or inspect.iscoroutinefunction(bound) else "lookup"
        named = service and dot and method.isidentifier()
        slips = () if named else (Slip(f"{given!r:.100} is no 'service.method'"),)
        if args or kwargs:
            slips = (*slips, Slip("constructor arguments only go with a function class"))
        described = Given(FunctionSpec("callable", ServiceMethod(service, method)), given, slips)
    else:
        execute = getattr(given, "execute", given)
        awaited = any(map(inspect.iscoroutinefunction, (execute, getattr(type(execute), "__call__", None))))  # noqa: B004
        kind = "lookup_async" if awaited else "lookup"
        described = describe_function(given, args, kwargs, kind)
    if not callable(on) or is_function_class(on):
        wrong = [Slip(f"on takes a function of a record, which gives what to look up, not {_shown(on)}")]
    else:
        wrong = _called(on, [None], "lookup", "its on", 1)
    return kind, replace(described, spec=replace(described.spec, on=on), slips=(*described.slips, *wrong))


def _shown(given: Any) -> str:
    return f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__


def describe_connector(given: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], kind: str) -> Given:
    """Describe a connector's source (``read``) or sink (``write``): a class with its arguments, or an instance."""
    name, called = _name(given), KINDS[kind].methods
    missing = [method for method in called if not callable(getattr(given, method, None))]
    if missing:
        slip = Slip(f"does not define {', '.join(missing)}: what a connector has to define: {', '.join(called)}")
        return Given(FunctionSpec("instance", given), name, (slip,))
    return _built(given, args, kwargs)


def describe_service(given: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Given:
    """Describe a service: any class with its constructor arguments, or an instance."""
    found = _built(given, args, kwargs)
    return replace(found, slips=(*found.slips, *_hooks(found.spec.target)))


def _built(given: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Given:
    """A class with its constructor arguments, or an instance, of whatever methods."""
    given = _without_brackets(given)
    name = _name(given)
    if isinstance(given, type):
        return Given(FunctionSpec("class", given, args, dict(kwargs)), name, tuple(_constructor(given, args, kwargs)))
    slips = (Slip("constructor arguments only go with a class"),) if args or kwargs else ()
    return Given(FunctionSpec("instance", given), name, slips)


def describe_data(given: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Given:
    """Describe records: an iterable, or a callable that makes one."""
    name = _name(given) if callable(given) else type(given).__name__
    bound = functools.partial(given, *args, **kwargs) if callable(given) and (args or kwargs) else given
    spec = FunctionSpec("data", bound)
    if isinstance(given, str | bytes | bytearray):
        return Given(spec, name, (Slip(f"a {name} is one value, not a collection of records", "put it into a list"),))
    if is_function_class(given) or function_kind(given) is not None:
        slip = Slip(
            f"{name} is a function, not a collection of records", "call env.from_batch(…) or env.from_source(…)"
        )
        return Given(spec, name, (slip,))
    if not callable(given) and not isinstance(given, Iterable):
        message = f"expects a BatchFunction, an iterable, or a callable that makes one, not {type(given).__name__}"
        return Given(spec, name, (Slip(message, "put the records into a list: env.from_batch([…])"),))
    if (args or kwargs) and not callable(given):
        return Given(spec, name, (Slip("arguments only go with a class or a callable"),))
    if callable(given) and (problem := _refuses(given, args, kwargs)):
        return Given(spec, name, (Slip(f"cannot be called with these arguments: {problem}"),))
    return Given(spec, name)


def _without_brackets(given: Any) -> Any:
    """``Pair`` for ``Pair[int]``: types in brackets are for type checkers; it is the class that is built."""
    origin = typing.get_origin(given)
    return origin if isinstance(origin, type) and callable(given) else given


def _name(given: Any) -> str:
    while isinstance(given, functools.partial):
        given = given.func
    name = getattr(given, "__qualname__", None)
    if not isinstance(name, str):
        return type(given).__qualname__
    return name.rpartition("<locals>.")[2]


def _wrong_kind(given: Any, kind: str) -> list[Slip]:
    marker = function_kind(given)
    if marker in (None, "any", kind, _WRITTEN_AS.get(kind)):
        return []
    return [
        Slip(
            f"is a {marker} function, but this is a {kind} operator",
            f"derive it from {KINDS[kind].base}, or call {_method_for(str(marker))}(…)",
        )
    ]


def _method_for(kind: str) -> str:
    return f"env.from_{kind}" if kind in SOURCE_KINDS else _METHODS.get(kind, f".{kind}")


def _constructor(given: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Slip]:
    problem = _refuses(given, args, kwargs)
    return [Slip(f"its constructor does not take these arguments: {problem}", _meant(kwargs))] if problem else []


def _meant(kwargs: Mapping[str, Any]) -> str | None:
    """A hint if a keyword is almost one that the method takes itself."""
    import difflib

    for key in kwargs:
        found = difflib.get_close_matches(key, _KEYWORDS, n=1, cutoff=0.75)
        if found and found[0] != key:
            return f"did you mean {found[0]}=?"
    return None


def _meant_for(given: Any, name: str, kind: str) -> str:
    """Where arguments belong that no constructor takes."""
    if not callable(given) or callable(getattr(given, "execute", None)):
        return f"give them where it is made: {name}(…)"
    if kind == "reduce":
        return "reduce has no initial value: call .aggregate(…), where create() gives it, or bind them in a lambda"
    return f"bind them: a lambda, or functools.partial({name}, …), which puts them before the record"


def _methods(given: Any, kind: str, inputs: int) -> list[Slip]:
    """What is wrong with the methods that an operator of ``kind`` calls."""
    called = {name.format(number): count for name, count in KINDS[kind].methods.items() for number in range(inputs)}
    for name in called:
        method = getattr(given, name, None)
        if not callable(method) or getattr(method, "__isabstractmethod__", False):
            if callable(getattr(given, "result", None)):  # its base has one
                called.pop("result", None)
            return [Slip(f"does not define {name}", _to_define(kind, called))]
    missing = sorted(getattr(given, "__abstractmethods__", ())) if isinstance(given, type) else []
    if missing:
        return [Slip(f"does not define {', '.join(missing)}, which its base demands")]
    slips = []
    for name, count in called.items():
        slips += _called(getattr(given, name), _arguments(given, name, count), kind, f"its {name}", count)
    if not KINDS[kind].awaits:
        hooks = [name for name in _HOOKS if inspect.iscoroutinefunction(getattr(given, name, None))]
        slips += [Slip(f"its {name} is a coroutine function, which only map_async awaits") for name in hooks]
    return [*slips, *_hooks(given)]


_HOOKS = {"open": ("context",), "close": ()}
"""What is called besides, if it is there, and with what."""


def _hooks(given: Any) -> list[Slip]:
    """What is wrong with ``open`` and ``close`` of a function or a service."""
    slips = []
    for name, arguments in _HOOKS.items():
        method = getattr(given, name, None)
        problem = _refuses(method, tuple(_arguments(given, name, len(arguments))), {}) if callable(method) else None
        if problem is not None:
            shape = ", ".join(("self", *arguments))
            slips.append(Slip(f"its {name} cannot be called as SAGE does: {problem}", f"def {name}({shape}): …"))
        elif inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
            slips.append(
                Slip(f"its {name} is a generator function: SAGE would call it, and nothing of it would ever run")
            )
    return slips


def _arguments(given: Any, name: str, count: int) -> list[Any]:
    """Stand-ins for what a method is called with, ``self`` included where it is taken from its class."""
    static = inspect.getattr_static(given, name, None)
    is_unbound = isinstance(given, type) and not isinstance(static, staticmethod | classmethod)
    return [None] * (count + is_unbound)


def _to_define(kind: str, methods: Iterable[str]) -> str:
    article = "an" if kind[0] in "aeiou" else "a"
    return f"what {article} {kind} function has to define: {', '.join(methods)}"


def _callable(given: Callable[..., Any], kind: str) -> list[Slip]:
    count = KINDS[kind].arguments
    slips = _called(given, [None] * count, kind, "it", count)
    if slips and isinstance(given, type) and given.__module__ != "builtins":
        return [Slip(f"does not define execute, and {slips[0].message}", _to_define(kind, KINDS[kind].methods))]
    return slips


def _called(function: Callable[..., Any], arguments: list[Any], kind: str, what: str, count: int) -> list[Slip]:
    call = getattr(type(function), "__call__", None)  # noqa: B004 - looked at, not asked
    if KINDS[kind].awaits:
        if inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(call):
            return [Slip(f"{what} is an async generator function: map_async puts out one result for each record")]
        if not inspect.iscoroutinefunction(function) and not inspect.iscoroutinefunction(call):
            return [Slip(f"{what} is no coroutine function", "define it by async def, or call .map(…)")]
    elif _is_async(function) or _is_async(call):
        return [Slip(f"{what} is a coroutine function, which {kind} would call and never await", _awaits(kind))]
    if KINDS[kind].drops_generators and inspect.isgeneratorfunction(function):
        return [Slip(f"{what} is a generator function: {kind} would call it, and nothing of it would ever run")]
    if kind in _FOR_GENERATORS and inspect.isgeneratorfunction(function):
        message = f"{what} is a generator function: each call would give a generator as a record"
        return [Slip(message, _FOR_GENERATORS[kind])]
    problem = _refuses(function, tuple(arguments), {})
    if problem is None:
        return []
    return [
        Slip(f"{what} cannot be called with {count} argument{'' if count == 1 else 's'}, as {kind} does: {problem}")
    ]


def _awaits(kind: str) -> str | None:
    return "call .map_async(…)" if kind in ("map", "filter_map", "sink") else None


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _refuses(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """Why a callable would refuse these arguments; None if it takes them or does not say what it takes."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # many built-ins have none
        return None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return f"{error} (it takes {signature})"
    return None
