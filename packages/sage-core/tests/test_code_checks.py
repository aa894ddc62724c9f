"""Naming what cannot travel, and what cannot be copied for each subtask."""

from __future__ import annotations

import functools
import io
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sage.core.client.code import check_picklable, check_templates
from sage.core.errors import Problem
from sage.core.graph.model import FunctionForm, FunctionSpec, LogicalGraph, Operator, SourceLocation


def graph(*functions: FunctionSpec) -> LogicalGraph:
    operators = tuple(
        Operator(
            number, f"map:step#{number}", "map", "step", function, 1, SourceLocation("/home/me/shop.py", 10 + number)
        )
        for number, function in enumerate(functions)
    )
    return LogicalGraph("shop", operators, ())


def spec(form: FunctionForm, target: Any, *args: Any, **kwargs: Any) -> FunctionSpec:
    return FunctionSpec(form, target, args, kwargs)


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    return problems[0]


class Step:
    """A function class of this test module, which travels as source."""

    def __init__(self, *parts: Any, **more: Any) -> None:
        self.parts = parts
        self.__dict__.update(more)

    def execute(self, record: Any) -> Any:
        return record


class Slotted:
    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def method(self, record: Any) -> Any:
        return record


class Refusing:
    def __reduce__(self) -> Any:
        raise ZeroDivisionError("not today")


def holding(value: Any) -> Callable[[Any], Any]:
    return lambda record: (value, record)


def defaulting(value: Any) -> Callable[..., Any]:
    return lambda record, lock=value: (lock, record)


LOCK = "cannot pickle '_thread.lock' object"


@pytest.mark.parametrize(
    ("function", "path", "reason"),
    [
        (spec("instance", Step(lock=threading.Lock())), "Step.self.lock", LOCK),
        (spec("instance", Step(threading.Lock())), "Step.self.parts[0]", LOCK),
        (spec("instance", Step(deep={"a": [1, {"b": threading.Lock()}]})), "Step.self.deep['a'][1]['b']", LOCK),
        (spec("instance", Step(inner=Step(inner=Slotted()))), "Step.self.inner.inner.lock", LOCK),
        (spec("class", Step, 1, threading.Lock()), "args[1]", LOCK),
        (spec("class", Step, conn=[threading.Lock()]), "kwargs['conn'][0]", LOCK),
        (spec("class", Step, Slotted()), "args[0].lock", LOCK),
        (spec("class", Step, Refusing()), "args[0]", "not today"),
        (spec("class", Step, {threading.Lock(): 1}), f"key {'<unlocked '}", LOCK),
        (spec("instance", Step(bound=Slotted().method)), "Step.self.bound.__self__.lock", LOCK),
        (spec("class", Step, functools.partial(Step, threading.Lock())), "args[0].args[0]", LOCK),
        (spec("class", Step, x=(n for n in range(3))), "kwargs['x']", "cannot pickle 'generator' object"),
    ],
)
def test_the_way_to_what_cannot_be_copied_is_told(function: FunctionSpec, path: str, reason: str) -> None:
    """In this process and for a job elsewhere alike, the culprit inside an instance or an argument is named."""
    for check in (check_templates, check_picklable):
        problem = only(check(graph(function)))
        assert f"map 'step': {path}" in problem.message
        assert reason in problem.message
        assert problem.where == "shop.py:10"
        assert problem.operator == "map:step#0"
        assert problem.hint


@pytest.mark.parametrize(
    ("function", "path"),
    [
        (spec("callable", holding(threading.Lock())), "closure variable 'value' of holding.<locals>.<lambda>"),
        (spec("callable", holding(Slotted())), "value.lock (closure variable 'value' of "),
        (spec("callable", defaulting(threading.Lock())), "default of parameter 'lock' of <lambda>"),
        (spec("callable", holding(holding(threading.Lock()))), "closure variable 'value' of value"),
        (spec("callable", functools.partial(print, threading.Lock())), "partial.args[0]"),
        (spec("callable", Slotted().method), "Slotted.method.__self__.lock"),
        (spec("data", [1, 2, threading.Lock()]), "records[2]"),
    ],
)
def test_the_way_to_what_cannot_travel_is_told(function: FunctionSpec, path: str) -> None:
    """Callables and records have to travel only to a job elsewhere; in this process they are used as they are."""
    problem = only(check_picklable(graph(function)))
    assert path.replace("holding.<locals>.", "") in problem.message.replace("holding.<locals>.", "")
    assert LOCK in problem.message
    assert check_templates(graph(function)) == []


def test_lambdas_and_local_classes_are_fine_everywhere() -> None:
    """What pickle alone refuses travels by value, and stays as it is within one process."""

    class Local:
        def execute(self, record: int) -> int:
            return record + offset

    offset = 3
    functions = (
        spec("instance", Local()),
        spec("class", Step, lambda x: x, Local, kind=Local),
        spec("callable", holding(Local())),
        spec("data", range(10)),
        spec("data", lambda: iter(range(3))),
    )
    assert check_picklable(graph(*functions)) == []
    assert check_templates(graph(*functions)) == []


def test_all_problems_are_told_at_once() -> None:
    """Every operator is looked at, and every argument of each."""
    bad = spec("class", Step, threading.Lock(), 5, other=threading.Lock())
    problems = check_picklable(graph(bad, spec("callable", abs), bad))
    assert [problem.operator for problem in problems] == ["map:step#0"] * 2 + ["map:step#2"] * 2
    assert ["args[0]" in problem.message for problem in problems] == [True, False, True, False]


def test_open_files_are_refused_by_name(tmp_path: Path) -> None:
    """Nobody means to send the content of a file that happens to be open."""
    name = tmp_path / "data.txt"
    name.write_text("content")
    with name.open() as text, name.open("rb") as binary:
        for check in (check_picklable, check_templates):
            assert "Step.self.file" in only(check(graph(spec("instance", Step(file=text))))).message
            assert "args[0]" in only(check(graph(spec("class", Step, binary)))).message
        problem = only(check_picklable(graph(spec("callable", holding(text)))))
    assert f"an open file cannot travel ('{name}')" in problem.message
    assert "closure variable 'value'" in problem.message


def test_files_in_memory_and_standard_output_travel() -> None:
    """These are no open files."""
    assert check_picklable(graph(spec("class", Step, io.StringIO("x"), io.BytesIO(b"x"), sys.stdout, sys.stderr))) == []


def test_sockets_and_threads_are_named() -> None:
    """The usual suspects have a hint that says where they belong."""
    with socket.socket() as connection:
        problem = only(check_templates(graph(spec("instance", Step(sock=connection)))))
    assert "Step.self.sock" in problem.message
    assert problem.hint == "make it in open(), which is called where the function runs"


@pytest.mark.parametrize("records", [iter([1, 2]), (n for n in range(3)), map(abs, [1]), zip([1], [2], strict=True)])
def test_records_that_can_be_read_only_once_are_refused(records: Iterator[Any]) -> None:
    """Also those that pickle would take: the job elsewhere would find them read, or read them twice."""
    problem = only(check_picklable(graph(spec("data", records))))
    assert "can be read only once" in problem.message
    assert problem.hint == "give a list, or a callable that makes the iterator where the job runs"
    assert check_templates(graph(spec("data", records))) == []


def test_a_cycle_does_not_hide_the_culprit() -> None:
    """Parts that refer to each other all fail; the one that fails by itself is named."""
    first, second = Step(), Step()
    first.parts = (second,)
    second.parts = (first,)
    second.__dict__["lock"] = threading.Lock()
    problem = only(check_templates(graph(spec("instance", first))))
    assert "Step.self.parts[0].lock cannot be copied" in problem.message


def test_a_cycle_of_good_parts_is_fine() -> None:
    """Pickle keeps cycles."""
    first = Step()
    first.parts = ([first],)
    assert check_templates(graph(spec("instance", first))) == []
    assert check_picklable(graph(spec("instance", first))) == []


def test_too_deep_a_structure_is_told_as_such() -> None:
    """A linked list of ten thousand parts is beyond pickle."""
    chain: Any = None
    for _ in range(10_000):
        chain = Step(chain)
    problem = only(check_templates(graph(spec("instance", chain))))
    assert "Step.self cannot be copied for each subtask: it is nested too deeply" in problem.message


def test_the_search_in_a_huge_structure_is_bounded() -> None:
    """Among a hundred thousand parts the search gives up, and still names the place it got to."""
    problem = only(check_templates(graph(spec("class", Step, [[number] for number in range(100_000)] + [Refusing()]))))
    assert "args[0]" in problem.message
    assert "not today" in problem.message


def test_of_huge_templates_only_the_beginning_is_looked_at() -> None:
    """The check at a local submit must not cost what a copy of everything would."""
    assert check_templates(graph(spec("class", Step, bytes(32 * 1024 * 1024), Step()))) == []


def test_a_failing_getstate_is_reported_with_its_own_words() -> None:
    """Whatever user code raises while it is pickled is the reason."""

    class Odd:
        def __getstate__(self) -> Any:
            raise LookupError("where is it?")

    problem = only(check_templates(graph(spec("instance", Odd()))))
    assert problem.message.endswith("Odd.self cannot be copied for each subtask: where is it?")


def test_an_object_that_fails_while_it_is_taken_apart_is_named_whole() -> None:
    """The search runs the author's code once more; what that raises must not replace the answer."""

    class Odd(list[Any]):
        def __iter__(self) -> Any:
            yield 1
            raise LookupError("half way")

    problem = only(check_templates(graph(spec("instance", Step(odd=Odd([1, 2]))))))
    assert problem.message.endswith("Step.self.odd cannot be copied for each subtask: half way")


def test_a_local_check_imports_no_cloudpickle() -> None:
    """A pipeline that stays in its process does not pay for what only travelling needs."""
    program = """
import sys
from sage.core.client.code import check_templates
from sage.core.graph.model import *
class Step: pass
operator = Operator(0, "u", "map", "m", FunctionSpec("instance", Step()), 1, SourceLocation("f", 1))
assert check_templates(LogicalGraph("g", (operator,), ())) == []
print([name for name in ("cloudpickle", "zipfile", "importlib.metadata", "tempfile", "shutil") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
