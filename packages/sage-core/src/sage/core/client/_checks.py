"""What in a graph cannot travel to a job's process, or be copied for a subtask: all of it, each with the way to it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, BinaryIO, cast

from sage.core.client._unpicklable import Culprit, Trial, find_culprit
from sage.core.errors import PackagingError, Problem
from sage.core.graph.model import Declared, LogicalGraph

__all__ = ["TooLargeError", "check_picklable", "check_templates", "refuse_one_shots", "refuse_what_stays"]

_TEMPLATE_BYTES = 16 * 1024 * 1024
_ITERATOR_HINT = "give a list, or a callable that makes the iterator where the job runs"

_Found = tuple[Problem, str]
"""A problem, and the way to what causes it."""


def check_picklable(graph: LogicalGraph) -> list[Problem]:
    """Everything in a graph that cannot travel to a job's process, each with its operator and the way to it.

    It pickles each operator; `write_package` does this of its own accord where a graph turns out not to travel.
    """
    return [problem for problem, _ in _find_all(graph)]


def check_templates(graph: LogicalGraph) -> list[Problem]:
    """Instances and constructor arguments that cannot be copied for each subtask and saved, for jobs in this process.

    Classes, functions and lambdas stay as they are in one process, and pass. Of very large ones only the first 16 MiB
    are looked at.
    """
    templates = [operator for operator in graph.declared if operator.function.form in ("class", "instance")]
    what = "cannot be copied for each subtask"
    return [problem for operator in templates for problem, _ in _find(operator, _try_copy, what)]


def refuse_one_shots(graph: LogicalGraph) -> None:
    """Refuse iterators given as records before any is pickled, since some can be: they are read once, and only here.

    Raises:
        PackagingError: there are some.
    """
    _refuse_all([found for operator in graph.operators for found in _one_shot(operator)])


def refuse_what_stays(graph: LogicalGraph, cause: Exception) -> None:
    """Say why a graph could not be pickled, if that can be found; ``cause`` is what pickle said.

    Raises:
        PackagingError: names everything that cannot travel.
    """
    _refuse_all(_find_all(graph), cause)


class TooLargeError(Exception):
    """A pickle grew beyond its bound."""


def _given(operator: Declared) -> Iterator[tuple[str, Any]]:
    """What an operator was given, each part with the name it has in a path."""
    function = operator.function
    name = getattr(function.target, "__qualname__", type(function.target).__qualname__).rpartition("<locals>.")[2]
    if function.form == "instance":
        yield f"{name}.self", function.target
    elif function.form == "data":
        yield "records", function.target
    else:
        yield name, function.target
    yield from ((f"args[{index}]", value) for index, value in enumerate(function.args))
    yield from ((f"kwargs[{key!r}]", value) for key, value in function.kwargs.items())
    if function.on is not None:
        yield "on", function.on


def _find_all(graph: LogicalGraph) -> list[_Found]:
    found: list[_Found] = []
    for operator in graph.declared:
        found += _one_shot(operator) or _find(operator, _try_travel, "cannot travel to the job")
    return found


def _find(operator: Declared, trial: Trial, what: str) -> list[_Found]:
    culprits = [find_culprit(value, label, trial) for label, value in _given(operator)]
    return [
        _problem(operator, culprit.path, f"{what}: {culprit.reason}", _hint(operator, culprit))
        for culprit in culprits
        if culprit is not None
    ]


def _one_shot(operator: Declared) -> list[_Found]:
    target = operator.function.target
    if operator.function.form != "data" or not isinstance(target, Iterator):
        return []
    what = f"cannot travel to the job: a {type(target).__name__} can be read only once, and only here"
    return [_problem(operator, "records", what, _ITERATOR_HINT)]


def _problem(operator: Declared, path: str, what: str, hint: str) -> _Found:
    return Problem(f"{operator.title}: {path} {what}", str(operator.location), operator.uid, hint), path


def _hint(operator: Declared, culprit: Culprit) -> str:
    if isinstance(culprit.value, Iterator) and not isinstance(culprit.value, io.IOBase):
        return _ITERATOR_HINT
    if operator.function.form in ("class", "instance") and "global variable" not in culprit.path:
        return "make it in open(), which is called where the function runs"
    return (
        "use a function class that makes it in open(), or move the function and what it uses into a module beside the"
        " script: modules are imported where the job runs"
    )


def _refuse_all(found: list[_Found], cause: Exception | None = None) -> None:
    if not found:
        return
    head = "a part of the pipeline" if len(found) == 1 else f"{len(found)} parts of the pipeline"
    lines = [f"  {number}. {problem}" for number, (problem, _) in enumerate(found, 1)]
    raise PackagingError(
        "\n".join([f"{head} cannot travel to the job's process:", *lines]),
        path=found[0][1],
        problems=tuple(problem for problem, _ in found),
    ) from cause


def _try_travel(value: Any) -> Exception | None:
    from sage.core.client._pickler import GraphPickler

    def dump(file: BinaryIO) -> None:
        with GraphPickler(file) as pickler:
            pickler.dump(value)

    return _try(dump, None)


def _try_copy(value: Any) -> Exception | None:
    return _try(lambda file: _TemplatePickler(file, protocol=5).dump(value), _TEMPLATE_BYTES)


def _try(dump: Callable[[BinaryIO], None], limit: int | None) -> Exception | None:
    try:
        dump(cast(BinaryIO, _Sink(limit)))
    except TooLargeError:
        return None
    except Exception as error:
        return error  # whatever an author's __reduce__ or __getstate__ raises is the answer
    return None


class _TemplatePickler(pickle.Pickler):
    """Plain pickle, to which classes and functions are words without content, as they are to `copy.deepcopy`."""

    def reducer_override(self, obj: Any) -> Any:
        return (len, ("",)) if isinstance(obj, type | FunctionType) else NotImplemented


class _Sink:
    """Where trial pickles go; it stops them above ``limit`` bytes."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._count = 0

    def write(self, data: Any) -> int:
        count = len(data)
        self._count += count
        if self._limit is not None and self._count > self._limit:
            raise TooLargeError
        return count
