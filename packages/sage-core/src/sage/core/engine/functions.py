"""From what the user gave to what a subtask calls: every subtask builds its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from sage.core.errors import StateError
from sage.core.graph.model import FunctionSpec

if TYPE_CHECKING:
    from sage.core.engine.context import RuntimeContext
    from sage.core.engine.services import ServiceContext

__all__ = [
    "LOOK_EVERY",
    "build_function",
    "close_function",
    "close_iterator",
    "entry_point",
    "iterate",
    "looking_at_first",
    "open_function",
    "outputs_of",
    "wants_context",
]

LOOK_EVERY = 4096
"""Records between two looks at whether the task is still to work."""


def build_function(spec: FunctionSpec) -> Any:
    """The object whose method a subtask calls.

    Classes are instantiated, instances copied, so that no two subtasks share one; the same on every backend.
    Plain callables and data are used as they are.
    """
    if spec.form == "class":
        return spec.target(*copy.deepcopy(spec.args), **copy.deepcopy(dict(spec.kwargs)))
    if spec.form == "instance":
        return copy.deepcopy(spec.target)
    return spec.target


def entry_point(function: Any, spec: FunctionSpec) -> Callable[..., Any]:
    """What is called for each record: ``execute``, or the callable itself."""
    if spec.form in ("class", "instance"):
        execute: Callable[..., Any] = function.execute
        return execute
    call: Callable[..., Any] = function
    return call


def wants_context(function: Any, spec: FunctionSpec) -> bool:
    """Whether ``self.context`` must be kept up to date for this function."""
    return spec.form in ("class", "instance") and (
        hasattr(type(function), "__sage_function__") or hasattr(function, "open")
    )


def open_function(function: Any, spec: FunctionSpec, context: RuntimeContext | ServiceContext) -> Any:
    """Give the function its context and call its ``open``. Returns what that returned."""
    if spec.form not in ("class", "instance"):
        return None
    if hasattr(type(function), "__sage_function__"):
        own = getattr(function, "context", None)
        if own is not None and not isinstance(own, type(context)):
            message = f"its attribute 'context' is a {type(own).__name__}, and self.context is SAGE's"
            raise StateError(message, hint="give the attribute another name", attribute="context")
        object.__setattr__(function, "context", context)  # a function may be a frozen dataclass
    hook = getattr(function, "open", None)
    return hook(context) if callable(hook) else None


def close_function(function: Any, spec: FunctionSpec) -> Any:
    """Call the function's ``close``, if it has one. Returns what that returned."""
    if spec.form not in ("class", "instance"):
        return None
    hook = getattr(function, "close", None)
    return hook() if callable(hook) else None


def iterate(spec: FunctionSpec) -> Iterator[Any]:
    """An iterator over the records given to ``from_batch``: an iterable, or a callable that makes one."""
    if not callable(spec.target):
        return iter(spec.target)
    data = spec.target()
    if isinstance(data, str | bytes | bytearray):
        raise TypeError(f"it returned a {type(data).__name__}, which is one value: return a list, or yield the records")
    if data is None:
        raise TypeError("it returned None, not an iterable of records: return a list, or yield the records")
    return iter(data)


def close_iterator(records: Iterator[Any], spec: FunctionSpec) -> None:
    """Close what `iterate` made, a generator or an open file; not what the user made and may still use."""
    close = getattr(records, "close", None)
    if callable(close) and (callable(spec.target) or records is not spec.target):
        close()


def outputs_of(result: Any, goes_on: Callable[[], bool], what: str, *, or_none: bool = True) -> Sequence[Any]:
    """The records to put out for a call that returns any number of them: a generator is run to its end first.

    Args:
        result: what the call returned.
        goes_on: whether the task is still to work.
        what: the function, as a failure names it.
        or_none: whether None stands for no records.

    Raises:
        TypeError: it is no iterable of records, nor None where that is taken.
    """
    if type(result) is list or type(result) is tuple:
        return result
    if result is None and or_none:
        return ()
    if isinstance(result, str | bytes | bytearray) or not isinstance(result, Iterable):
        raise TypeError(
            f"{what} must return an iterable of records{' or None' if or_none else ''}, not {type(result).__name__}:"
            " return a list, or yield the records"
        )
    return _take_all(result, goes_on)


def looking_at_first(function: Callable[..., Any], looked: Callable[[], None]) -> Callable[..., Any]:
    """``function``, until it has returned once: a coroutine would go on as a record that nobody ever awaits.

    Args:
        function: the user's.
        looked: called then. From there on the function itself is to be called.

    Returns:
        a function that raises TypeError for a coroutine.
    """

    def first(*arguments: Any) -> Any:
        result = function(*arguments)
        if type(result) is CoroutineType:
            result.close()  # so that Python does not warn of it besides
            raise TypeError(
                "it returned a coroutine, which nothing awaits: call .map_async(…), and give it the coroutine function"
            )
        looked()
        return result

    return first


def _take_all(records: Iterable[Any], goes_on: Callable[[], bool]) -> list[Any]:
    """What an iterable of the user's holds; nothing if the task is cancelled meanwhile, since it may never end."""
    iterator = iter(records)
    taken = list(islice(iterator, LOOK_EVERY))
    if len(taken) == LOOK_EVERY:
        while some := list(islice(iterator, LOOK_EVERY)):
            taken += some
            if not goes_on():
                return []
    return taken
