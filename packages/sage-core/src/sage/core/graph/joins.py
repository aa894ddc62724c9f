"""What can be wrong with joins and lookups, besides what can be with any operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sage.core.errors import Problem
from sage.core.graph.awaiting import wrong_in_awaiting
from sage.core.graph.durations import is_duration
from sage.core.graph.model import LogicalGraph, Operator, ServiceMethod
from sage.core.graph.windows import is_event_window, window_title, wrong_in_window

__all__ = ["ALONE", "JOIN_KINDS", "LOOKUP_KINDS", "check_joining"]

JOIN_KINDS: Final = frozenset({"join", "interval_join", "window_join", "co_group"})
"""Kinds of operators that find pairs in two streams."""

LOOKUP_KINDS: Final = frozenset({"lookup", "lookup_async"})
"""Kinds of operators that find something for each record elsewhere."""

ALONE: Final[Mapping[str, tuple[bool, bool]]] = {
    "inner": (False, False),
    "left": (True, False),
    "right": (False, True),
    "outer": (True, True),
}
"""By ``how`` of a join, whether a left, and a right, record is put out that has no partner."""

_Wrong = Iterator[tuple[str, str | None]]
"""What is wrong, each with a hint or None."""


def check_joining(operator: Operator, graph: LogicalGraph, timed: Mapping[int, bool]) -> list[Problem]:
    """All problems of a join or a lookup; none of any other operator.

    Args:
        operator: the one.
        graph: where it is in.
        timed: by operator, whether what it puts out carries times.
    """
    found: list[tuple[str, str | None]] = []
    if operator.kind in JOIN_KINDS:
        found += _wrong_inputs(operator, graph, timed)
        found += _wrong_in_join(operator.options)
        found += _wrong_window(operator.options)
    if operator.kind in LOOKUP_KINDS:
        found += _wrong_in_lookup(operator.options, awaited=operator.kind == "lookup_async")
        found += _wrong_service(operator, graph)
    return [operator.problem(message, hint) for message, hint in found]


def _wrong_inputs(operator: Operator, graph: LogicalGraph, timed: Mapping[int, bool]) -> _Wrong:
    edges = graph.inputs_of(operator.id)
    count = len({edge.input for edge in edges})
    if count != 2:
        yield f"joins two streams, not {count}", "join the result with the next one"
    if any(edge.exchange != "hash" for edge in edges):
        yield "pairs are of one key, and not all of its records have one", "a.connect(b).keyby(key_of_a, key_of_b)"
    untimed = sorted({edge.input for edge in edges if not timed[edge.source]})
    what = _in_event_time(operator.options)
    if what is not None and untimed:
        which = "both streams" if len(untimed) > 1 else f"the {'right' if untimed[0] else 'left'} stream"
        hint = "call .assign_timestamps(…) before it"
        yield f"{what} is of event time, which the records of {which} do not have", hint


def _in_event_time(options: Mapping[str, Any]) -> str | None:
    """By what a join needs event times; None if it does not."""
    window = options.get("window")
    if window is not None:
        return window_title(window) if is_event_window(window) else None
    return "within=…" if "within" in options else None


def _wrong_window(options: Mapping[str, Any]) -> _Wrong:
    window = options.get("window")
    if window is None:
        return
    if "within" in options:
        yield "takes within=… or window=…, not both", None
    yield from wrong_in_window(window)
    if window["kind"] in ("count", "global"):
        yield f"takes Tumbling(…), Sliding(…) or Session(…): {window_title(window)} is not of time", None


def _wrong_in_join(options: Mapping[str, Any]) -> _Wrong:
    how = options.get("how", "inner")
    if how not in list(ALONE):
        hint = "'outer' puts out what is alone on either side" if how in ("full", "full outer", "full_outer") else None
        yield f"how must be 'inner', 'left', 'right' or 'outer', not {how!r:.100}", hint
    within = options.get("within")
    if within is None:
        return
    if not isinstance(within, list) or len(within) != 2 or not all(map(_is_distance, within)):
        yield (
            f"within must be two numbers of seconds, or timedeltas, (lower, upper), not {_shown(within)}",
            "within=(-60, 0): the right record is up to a minute before the left one",
        )
    elif within[0] > within[1]:
        yield f"within=({within[0]:g}, {within[1]:g}) holds no pair: its lower end is above its upper one", None


def _is_distance(value: object) -> bool:
    return is_duration(abs(value)) if isinstance(value, int | float) and not isinstance(value, bool) else False


def _shown(within: object) -> str:
    return f"({', '.join(map(repr, within))})"[:100] if isinstance(within, list) else f"{within!r:.100}"


def _wrong_in_lookup(options: Mapping[str, Any], *, awaited: bool) -> _Wrong:
    size, ttl = options["cache_size"], options["cache_ttl"]
    if options["how"] not in ("inner", "left"):
        yield (
            f"how must be 'inner' or 'left', not {options['how']!r:.100}",
            "only what comes by the stream is looked up",
        )
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        yield f"cache_size must be a whole number from 0, not {size!r:.100}", None
    if ttl is not None and not is_duration(ttl, above_zero=True):
        yield f"cache_ttl must be a number of seconds above 0, a timedelta, or None, not {ttl!r:.100}", None
    elif ttl is not None and size == 0:
        yield "cache_ttl has no effect without a cache", "cache_size=…"
    if not awaited:
        given = ", ".join(name for name in ("concurrency", "timeout") if options.get(name) is not None)
        if given:
            yield f"{given} is for coroutine functions, and for methods of services", "define it by async def"
        return
    yield from ((message, None) for message in wrong_in_awaiting(options))


def _wrong_service(operator: Operator, graph: LogicalGraph) -> _Wrong:
    """What is wrong with ``"service.method"``."""
    called = operator.function.target
    if not isinstance(called, ServiceMethod):
        return
    services = {service.name: service for service in graph.services}
    service = services.get(called.service)
    if service is None:
        registered = ", ".join(map(str, services)) or "none"
        hint = f"env.register_service('{called.service}', …); registered are: {registered}"
        yield f"calls '{called}', and there is no service '{called.service}'", hint
        return
    method = getattr(service.function.target, called.method, None)
    if called.method.startswith("_") or (method is not None and not callable(method)):
        yield f"the service '{called.service}' has no method '{called.method}' to be called", None
    elif method is None and service.function.form == "class":
        yield f"the service '{called.service}' has no method '{called.method}'", None
