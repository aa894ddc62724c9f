"""What fails in user code: the job fails, and says where, with which record, and why."""

from __future__ import annotations

import bdb
import gzip
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import (
    BatchFunction,
    FilterFunction,
    FlatMapFunction,
    KeyByFunction,
    LocalEnvironment,
    MapFunction,
    ReduceFunction,
    SinkFunction,
    SourceFunction,
)
from sage.core.errors import JobFailedError
from sage.core.models import FailureInfo

LIMIT = 60.0
RECORDS = [1, 2, 3, 4, 5]


def drop(value: object) -> None:
    """A sink that keeps nothing."""


def boom(*values: Any) -> Any:
    """Raises at record 3, or where there is none; as a reduce function, when 3 comes in."""
    if not values or values[-1] == 3:
        raise ValueError("no luck")
    return values[-1]


def boom_later(value: Any) -> Iterator[Any]:
    """A generator that puts something out before it raises."""
    yield value
    boom(value)


def broken_records() -> Iterator[int]:
    yield 1
    raise ValueError("no luck")


class BrokenIterable:
    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        raise ValueError("no luck")


def here() -> str:
    """The caller's line, as locations are written."""
    frame = sys._getframe(1)
    return f"test_failures.py:{frame.f_lineno}"


def failure_of(env: LocalEnvironment) -> FailureInfo:
    """Run a pipeline that fails. Returns how."""
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True, timeout=LIMIT)
    assert env.get_job_status()["status"] == "failed"
    failure = caught.value.failure
    assert isinstance(failure, FailureInfo)
    assert caught.value.job == env.env_uuid
    return failure


def first_frame(failure: FailureInfo) -> str:
    """Function of the outermost frame of the traceback shown."""
    assert failure.traceback is not None
    line = next(line for line in failure.traceback.splitlines() if line.startswith("  File "))
    assert "test_failures.py" in line, failure.traceback
    return line.rpartition(" in ")[2]


Build = Callable[[LocalEnvironment], tuple[object, str]]

EXECUTE: dict[str, Build] = {
    "batch:boom": lambda env: (env.from_batch(AsBatch, name="boom").sink(drop), here()),
    "collection:broken_records": lambda env: (env.from_batch(broken_records).sink(drop), here()),
    "collection:BrokenIterable": lambda env: (env.from_collection(BrokenIterable()).sink(drop), here()),
    "source:boom": lambda env: (env.from_source(boom).sink(drop), here()),
    "map:boom": lambda env: (env.from_batch(RECORDS).map(boom).sink(drop), here()),
    "filter:boom": lambda env: (env.from_batch(RECORDS).filter(boom).sink(drop), here()),
    "flatmap:boom_later": lambda env: (env.from_batch(RECORDS).flatmap(boom_later).sink(drop), here()),
    "keyby:boom": lambda env: (env.from_batch(RECORDS).keyby(boom).map(str, parallelism=2).sink(drop), here()),
    "reduce:boom": lambda env: (env.from_batch(RECORDS).reduce(boom).sink(drop), here()),
    "sink:boom": lambda env: (env.from_batch(RECORDS).map(int, parallelism=1).sink(boom), here()),
}


class AsBatch(BatchFunction):
    def execute(self) -> Any:
        return boom()


@pytest.mark.parametrize("uid", EXECUTE)
def test_a_failing_call_names_operator_line_record_and_begins_with_the_users_code(backend: str, uid: str) -> None:
    """Whatever operator it happens in, the failure says the same things on every backend."""
    env = LocalEnvironment(backend=backend)
    _, location = EXECUTE[uid](env)
    failure = failure_of(env)
    assert failure.kind == "user_code"
    assert failure.uid == uid
    assert failure.operator == uid.partition(":")[2]
    assert failure.location == location
    assert failure.subtask == 0
    assert failure.error_type == "ValueError"
    assert "no luck" in failure.message
    assert failure.record == (None if uid.startswith(("batch", "collection", "source")) else "3")
    assert first_frame(failure) in {"boom", "boom_later", "execute", "broken_records", "__next__"}
    assert failure.traceback is not None
    assert failure.traceback.rstrip().endswith("ValueError: no luck")


def test_the_exception_itself_is_the_cause(backend: str) -> None:
    """`JobFailedError` names what failed, and the original exception is its cause: nothing is shown twice."""
    env = LocalEnvironment("shop", backend=backend)
    env.from_batch(RECORDS).map(boom, name="price").sink(drop)
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True, timeout=LIMIT)
    assert isinstance(caught.value.__cause__, ValueError)
    text = str(caught.value)
    for part in ("job 'shop'", "map 'price' failed: ValueError: no luck", "record: 3", env.env_uuid):
        assert part in text
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("in boom\n") == 1
    assert "engine" not in shown.partition("direct cause")[0]
    assert caught.value.exit_code == 1


def test_what_its_cause_does_not_tell_is_in_the_text(backend: str) -> None:
    """Of a failure that another one followed while closing, the second is not lost."""

    class Closing(MapFunction):
        def execute(self, value: Any) -> Any:
            return boom(value)

        def close(self) -> None:
            raise OSError("stuck")

    env = LocalEnvironment("shop", backend=backend)
    env.from_batch(RECORDS).map(Closing).sink(drop)
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True, timeout=LIMIT)
    text = str(caught.value)
    assert "in boom\n" not in text
    assert "while closing after that failure" in text
    assert "OSError: stuck" in text


def test_a_malformed_line_is_shown_without_the_ways_of_connectors(backend: str, tmp_path: Path) -> None:
    """What is wrong with a file is told in a few lines: nothing of them is the user's code."""
    (tmp_path / "a.csv").write_bytes("a,b\n1,é\n".encode("latin-1"))
    env = LocalEnvironment("shop", backend=backend)
    env.from_csv(tmp_path / "a.csv").sink(drop)
    failure = failure_of(env)
    assert failure.traceback is not None
    assert "line 2: not UTF-8" in failure.traceback
    assert "hint: give its encoding=" in failure.message
    assert "File " not in failure.traceback


@pytest.mark.parametrize("name", ["a.csv.gz", "a.txt.gz"])
def test_a_packed_file_is_to_be_unpacked(backend: str, name: str, tmp_path: Path) -> None:
    """Nothing of it is text: the hint says so."""
    (tmp_path / name).write_bytes(gzip.compress(b"a,b\n1,2\n"))
    env = LocalEnvironment("shop", backend=backend)
    (env.from_csv if "csv" in name else env.from_text)(tmp_path / name).sink(drop)
    assert "hint: the file is packed: unpack it first" in failure_of(env).message


def test_a_context_of_ones_own_is_refused(backend: str) -> None:
    """It would be overwritten without a word."""

    class Own(MapFunction):
        def __init__(self) -> None:
            self.context = {"rate": 2}  # type: ignore[assignment]

        def execute(self, value: Any) -> Any:
            return value

    env = LocalEnvironment("shop", backend=backend)
    env.from_batch(RECORDS).map(Own).sink(drop)
    assert "its attribute 'context' is a dict, and self.context is SAGE's" in failure_of(env).message


def test_what_is_not_there_under_a_jobmanager_comes_with_a_hint(backend: str) -> None:
    """A variable and a terminal: what is told names what to do."""

    def variable(value: Any) -> str:
        return os.environ["NOT_THERE_AT_ALL"]

    def quit_debugger(value: Any) -> None:
        raise bdb.BdbQuit

    for function, hint in ((variable, "env_vars={…}"), (quit_debugger, "the backend inline")):
        env = LocalEnvironment("shop", backend=backend)
        env.from_batch([1]).map(function).sink(drop)
        assert hint in failure_of(env).message
    env = LocalEnvironment("shop", backend=backend)
    env.from_batch([{"a": 1}]).map(lambda value: value["NOT_THERE_AT_ALL"]).sink(drop)
    assert "hint" not in failure_of(env).message


LIFE: list[str] = []


@pytest.fixture(autouse=True)
def _new_life() -> None:
    LIFE.clear()


class _Life:
    """Writes down what is called, and raises in the phase whose name it was given."""

    def __init__(self, name: str, fails: str = "") -> None:
        self.name = name
        self.fails = fails

    def note(self, phase: str) -> None:
        LIFE.append(f"{phase} {self.name}")
        if self.fails == phase:
            raise OSError(f"{phase} of {self.name}")

    def open(self, context: object) -> None:
        self.note("open")

    def close(self) -> None:
        self.note("close")


class LifeBatch(_Life, BatchFunction):
    left = 3

    def execute(self) -> Any:
        self.note("execute")
        self.left -= 1
        return self.left if self.left >= 0 else None


class LifeSource(_Life, SourceFunction):
    def execute(self) -> Any:
        self.note("execute")

    def wait(self, timeout: float) -> None:
        self.note("wait")


class LifeMap(_Life, MapFunction):
    def execute(self, value: Any) -> Any:
        self.note("execute")
        return value


class LifeFilter(_Life, FilterFunction):
    def execute(self, value: Any) -> bool:
        self.note("execute")
        return True


class LifeFlatMap(_Life, FlatMapFunction):
    def execute(self, value: Any) -> Any:
        self.note("execute")
        return [value]


class LifeKeyBy(_Life, KeyByFunction):
    def execute(self, value: Any) -> Any:
        self.note("execute")
        return 0


class LifeReduce(_Life, ReduceFunction):
    def execute(self, accumulated: Any, value: Any) -> Any:
        self.note("execute")
        return value


class LifeSink(_Life, SinkFunction):
    def execute(self, value: Any) -> None:
        self.note("execute")


NAMES = ["batch", "map", "filter", "flatmap", "keyby", "reduce", "sink"]


def whole(env: LocalEnvironment, fails: dict[str, str], *, parallelism: int = 1, final: bool = False) -> None:
    """A pipeline of every kind of operator; ``fails`` says which raises in which phase."""
    stream = env.from_batch(LifeBatch, "batch", fails.get("batch", ""), name="batch")
    stream = stream.map(LifeMap, "map", fails.get("map", ""), name="map", parallelism=parallelism)
    stream = stream.filter(LifeFilter, "filter", fails.get("filter", ""), name="filter", parallelism=parallelism)
    stream = stream.flatmap(LifeFlatMap, "flatmap", fails.get("flatmap", ""), name="flatmap", parallelism=parallelism)
    stream = stream.keyby(LifeKeyBy, "keyby", fails.get("keyby", ""), name="keyby")
    stream = stream.reduce(LifeReduce, "reduce", fails.get("reduce", ""), name="reduce", final=final)
    stream.sink(LifeSink, "sink", fails.get("sink", ""), name="sink")


@pytest.mark.parametrize("phase", ["open", "execute", "close"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("final", [False, True])
def test_every_phase_of_every_operator_may_fail(backend: str, name: str, phase: str, final: bool) -> None:
    """The failure names phase and operator; what was opened is closed once; after a failed open no record flows."""
    env = LocalEnvironment(backend=backend)
    whole(env, {name: phase}, final=final)
    failure = failure_of(env)
    assert failure.uid == f"{name}:{name}"
    assert failure.error_type == "OSError"
    where = "" if phase == "execute" else f" in {phase}()"
    assert failure.message == f"{name} '{name}' failed{where}: OSError: {phase} of {name}"
    assert first_frame(failure) in {"open", "execute", "close"}
    for other in NAMES:
        assert LIFE.count(f"open {other}") <= 1
        assert LIFE.count(f"close {other}") == LIFE.count(f"open {other}")
    if phase == "open":
        assert not any(item.startswith("execute") for item in LIFE)


@pytest.mark.parametrize("parallelism", [1, 3])
def test_open_comes_before_and_close_after_all_records(backend: str, parallelism: int) -> None:
    """Nothing is called before all have been opened; each is closed once, after its last record."""
    env = LocalEnvironment(backend=backend)
    whole(env, {}, parallelism=parallelism)
    env.submit(autostop=True, timeout=LIMIT)
    first = next(place for place, item in enumerate(LIFE) if item.startswith("execute"))
    assert sum(item.startswith("open") for item in LIFE[:first]) == 4 + 3 * parallelism + (parallelism - 1)
    for name in NAMES:
        subtasks = parallelism if name in {"map", "filter", "flatmap", "keyby"} else 1
        assert LIFE.count(f"open {name}") == LIFE.count(f"close {name}") == subtasks
    if parallelism == 1:
        for name in NAMES:
            assert [item.split()[0] for item in LIFE if item.endswith(f" {name}")][-1] == "close"


def test_a_cancelled_job_closes_everything_once(backend: str) -> None:
    """As does one that completes or fails."""
    env = LocalEnvironment(backend=backend)

    def stop(value: Any) -> Any:
        if not stopped:
            stopped.append(value)
            env.stop()
        return value

    stopped: list[Any] = []
    whole(env, {}, parallelism=2)
    env.from_source(LifeSource, "source").map(LifeMap, "behind", parallelism=2).sink(drop)
    env.from_batch([1]).map(stop).sink(drop)
    assert env.submit(autostop=True, timeout=LIMIT).status()["status"] == "cancelled"
    for name in [*NAMES, "source", "behind"]:
        assert LIFE.count(f"open {name}") == LIFE.count(f"close {name}") >= 1


def test_a_failing_open_stops_the_job_before_any_record(backend: str) -> None:
    """However many subtasks are ready, one that fails to open keeps every record from being read."""
    env = LocalEnvironment(backend=backend)
    env.from_batch(LifeBatch, "batch").map(LifeMap, "map", parallelism=4).sink(LifeSink, "sink", "open")
    failure_of(env)
    assert not any(item.startswith("execute") for item in LIFE)
    assert LIFE.count("open map") == LIFE.count("close map")


def test_a_constructor_that_raises_fails_its_operator_by_name(backend: str) -> None:
    """What the class itself raises while it is built is the user's failure, too."""
    env = LocalEnvironment(backend=backend)
    env.from_batch(RECORDS).map(Picky, 3).sink(drop)
    failure = failure_of(env)
    assert failure.message == "map 'Picky' failed in __init__(): ValueError: 3 will not do"
    assert first_frame(failure) == "__init__"


class Picky(MapFunction):
    def __init__(self, number: int) -> None:
        raise ValueError(f"{number} will not do")

    def execute(self, value: Any) -> Any:
        return value


def test_all_failures_of_closing_are_told(backend: str) -> None:
    """Of several operators that fail to close, the first is the failure; the others are in its traceback."""
    env = LocalEnvironment(backend=backend)
    whole(env, {"map": "close", "flatmap": "close", "sink": "close"})
    failure = failure_of(env)
    assert failure.uid == "map:map"
    assert failure.traceback is not None
    for name in ("map", "flatmap", "sink"):
        assert f"OSError: close of {name}" in failure.traceback
    assert all(LIFE.count(f"close {name}") == 1 for name in NAMES)


def test_a_failure_of_closing_after_a_failure_is_told(backend: str) -> None:
    """The first failure stays the job's; what went wrong while closing is appended, with its traceback."""
    env = LocalEnvironment(backend=backend)
    whole(env, {"map": "execute", "filter": "close", "sink": "close"})
    failure = failure_of(env)
    assert failure.uid == "map:map"
    assert failure.traceback is not None
    assert failure.traceback.index("execute of map") < failure.traceback.index("while closing after that failure")
    assert "OSError: close of filter" in failure.traceback
    assert "OSError: close of sink" in failure.traceback
    assert failure.traceback.count("OSError: execute of map") == 1, "the first one is told once"
    assert "During handling" not in failure.traceback
    assert "sage/core/engine" not in failure.traceback


class Reader(MapFunction):
    """Closes what it could not open."""

    def open(self, context: object) -> None:
        self.file = Path("nowhere/data.txt").open(encoding="utf-8")  # noqa: SIM115 - closed in close()

    def execute(self, value: Any) -> Any:
        return self.file.readline()

    def close(self) -> None:
        self.file.close()


def test_close_after_a_failed_open_is_told_apart(backend: str) -> None:
    """A function that could not open is closed all the same; what that raises is told without the engine's frames."""
    env = LocalEnvironment(backend=backend)
    env.from_batch([1]).map(Reader).sink(drop)
    failure = failure_of(env)
    assert failure.error_type == "FileNotFoundError"
    assert failure.traceback is not None
    assert "Then, while closing after that failure, close of map:Reader: AttributeError" in failure.traceback
    assert failure.traceback.count("FileNotFoundError:") == 1
    assert "sage/core/engine" not in failure.traceback


def test_a_relative_path_that_leads_nowhere_is_told_with_the_current_folder(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job's current folder is its own, which explains what the path alone does not; an absolute path is enough."""
    monkeypatch.chdir(tmp_path)
    env = LocalEnvironment(backend=backend)
    env.from_batch([1]).map(Reader).sink(drop)
    assert failure_of(env).message.endswith(f"'nowhere/data.txt' (the current folder is {Path.cwd()})")
    env = LocalEnvironment(backend=backend)
    env.from_batch([tmp_path / "none"]).map(Path.read_text).sink(drop)
    assert failure_of(env).message.endswith(f"'{tmp_path / 'none'}'")


def test_what_a_source_raises_while_it_waits_fails_the_job(backend: str) -> None:
    """A source's own ``wait`` is user code as well."""
    env = LocalEnvironment(backend=backend)
    env.from_source(LifeSource, "source", "wait").sink(drop)
    failure = failure_of(env)
    assert failure.message == "source 'LifeSource' failed in wait(): OSError: wait of source"
    assert first_frame(failure) == "wait"
    assert LIFE.count("close source") == 1


def test_a_record_that_fails_downstream_of_a_final_reduce_is_named(backend: str) -> None:
    """What is emitted at the end of input meets the same rules."""
    env = LocalEnvironment(backend=backend)
    env.from_batch(RECORDS).keyby(str).reduce(boom, final=True).map(boom).sink(drop)
    failure = failure_of(env)
    assert failure.uid == "map:boom"
    assert failure.message == "map 'boom' failed: ValueError: no luck"
    assert failure.record == "3"


def test_a_key_that_cannot_be_one_fails_where_it_appears(backend: str) -> None:
    """The keyby is blamed, with the record; the traceback shows no frames of SAGE's own."""
    for wrong, message in ((float("nan"), "NaN cannot be a key"), ([1], "type builtins.list cannot be a key")):
        env = LocalEnvironment(backend=backend)
        env.from_batch(RECORDS).keyby(Constant(wrong)).reduce(boom, parallelism=2).sink(drop)
        failure = failure_of(env)
        assert failure.uid == "keyby:Constant"
        assert failure.record == "1"
        assert failure.error_type == "sage.core.errors.UnsupportedKeyError"
        assert message in failure.message
        assert failure.traceback is not None
        assert "File" not in failure.traceback


class Constant:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, record: Any) -> Any:
        return self.value


@pytest.mark.parametrize(
    "answer", ["text", b"bytes", bytearray(b"x"), 5, 1.5, object()], ids=lambda x: type(x).__name__
)
def test_flatmap_refuses_what_is_no_collection_of_records(backend: str, answer: Any) -> None:
    """A str would fall apart into letters; the error says what to return."""
    env = LocalEnvironment(backend=backend)
    env.from_batch([1]).flatmap(Constant(answer)).sink(drop)
    failure = failure_of(env)
    assert failure.error_type == "TypeError"
    assert f"not {type(answer).__name__}: return a list" in failure.message
    assert failure.traceback is not None
    assert "File" not in failure.traceback


@pytest.mark.parametrize("answer", [None, "text", b"bytes", 5], ids=repr)
def test_a_callable_that_makes_no_collection_of_records_is_told(backend: str, answer: Any) -> None:
    """It forgot to return, or returned one value, which would fall apart into letters."""
    env = LocalEnvironment(backend=backend)
    env.from_batch(lambda: answer, name="it").sink(drop)
    failure = failure_of(env)
    assert (failure.uid, failure.error_type) == ("collection:it", "TypeError")
    assert failure.message.startswith("collection 'it' failed in open(): TypeError: ")
    if answer != 5:
        assert "return a list, or yield the records" in failure.message


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class NoAttributes(Exception):
    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return super().__getattribute__(name)
        raise RuntimeError("hands off")


class _HidingError(Exception):
    """Raises where its attribute ``hidden`` is looked at."""

    hidden = ""

    def __getattribute__(self, name: str) -> Any:
        if name == type(self).hidden:
            raise MemoryError(name)
        return super().__getattribute__(name)


class HidesTraceError(_HidingError):
    hidden = "__traceback__"


class HidesCauseError(_HidingError):
    hidden = "__cause__"


class HidesNotesError(_HidingError):
    hidden = "__notes__"


class HidesClassError(_HidingError):
    hidden = "__class__"


class _Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__name__", "__qualname__", "__module__"):
            raise ValueError(name)
        return super().__getattribute__(name)


class NamelessError(Exception, metaclass=_Nameless):
    pass


class BrokenText(str):
    """A text on which nothing works."""

    def __len__(self) -> int:
        raise ValueError("no length")

    encode = __getitem__ = __format__ = __len__  # type: ignore[assignment]


def _recurse(value: Any) -> Any:
    return _recurse(value)


def _raising(error: BaseException) -> Callable[[Any], Any]:
    def execute(value: Any) -> Any:
        raise error

    return execute


EXOTIC: dict[str, tuple[Callable[[Any], Any], str]] = {
    "str raises": (_raising(MuteError()), "its text raises RuntimeError"),
    "no attributes": (_raising(NoAttributes("x")), "NoAttributes"),
    "SystemExit": (_raising(SystemExit(3)), "SystemExit: 3"),
    "StopIteration": (_raising(StopIteration()), "StopIteration"),
    "StopAsyncIteration": (_raising(StopAsyncIteration()), "StopAsyncIteration"),
    "GeneratorExit": (_raising(GeneratorExit()), "GeneratorExit"),
    "BaseException": (_raising(BaseException("base")), "BaseException: base"),
    "KeyError": (_raising(KeyError("key")), "KeyError: 'key'"),
    "RecursionError": (_recurse, "RecursionError"),
    "group": (_raising(ExceptionGroup("many", [ValueError("a"), OSError("b")])), "ExceptionGroup: many (2 sub"),
    "huge": (_raising(ValueError("x" * 5_000_000)), "5,000,"),
    "surrogates": (_raising(ValueError("\ud800")), r"ValueError: \ud800"),
    "own text": (_raising(AssertionError()), "AssertionError"),
    "broken text": (
        _raising(type("OddError", (Exception,), {"__str__": lambda _: BrokenText("odd")})()),
        "OddError: odd",
    ),
    "hides its traceback": (_raising(HidesTraceError()), "HidesTraceError"),
    "hides its cause": (_raising(HidesCauseError()), "HidesCauseError (it cannot be told: looking at it raises Memory"),
    "hides its notes": (_raising(HidesNotesError()), "HidesNotesError (it cannot be told: looking at it raises Memory"),
    "hides its class": (_raising(HidesClassError()), "HidesClassError (it cannot be told: looking at it raises Memory"),
    "nameless": (_raising(NamelessError()), "NamelessError (it cannot be told: looking at it raises ValueError"),
}


@pytest.mark.parametrize("kind", ["map", "filter", "flatmap", "keyby", "reduce", "sink"])
@pytest.mark.parametrize("name", EXOTIC)
def test_no_exception_gets_away(backend: str, name: str, kind: str) -> None:
    """Whatever is raised fails the job like any other exception, bounded in size, in every operator."""
    raising, message = EXOTIC[name]
    execute = (lambda accumulated, value: raising(value)) if kind == "reduce" else raising
    env = LocalEnvironment(backend=backend)
    stream = env.from_batch([7, 7])
    built = getattr(stream, kind)(execute, name="it")
    if kind != "sink":
        built.sink(drop)
    failure = failure_of(env)
    assert failure.uid == f"{kind}:it"
    assert message in failure.message
    assert failure.record == "7"
    assert len(failure.message) < 3_000
    assert failure.traceback is not None
    assert len(failure.traceback) < 70_000
    assert str(failure.to_json()).encode()


def test_ctrl_c_in_user_code_on_inline_is_ctrl_c() -> None:
    """On `inline` user code runs where Ctrl-C arrives: it is passed on as what it is, and everything is closed."""
    env = LocalEnvironment(backend="inline")
    env.from_batch([1]).map(_raising(KeyboardInterrupt())).sink(LifeSink, "sink")
    with pytest.raises(KeyboardInterrupt):
        env.submit()
    assert LIFE == ["open sink", "close sink"]


def test_keyboard_interrupt_in_a_task_of_local_is_a_failure() -> None:
    """On a thread of its own nobody has pressed anything: the user's code raised it."""
    env = LocalEnvironment()
    env.from_batch([1]).map(_raising(KeyboardInterrupt())).sink(drop)
    assert failure_of(env).error_type == "KeyboardInterrupt"


class LoudRecord:
    def __repr__(self) -> str:
        raise SystemExit("no repr")


class OddRecord:
    def __repr__(self) -> str:
        return BrokenText("odd")


class LongRecord:
    def __repr__(self) -> str:
        return "r" * 1_000_000


@pytest.mark.parametrize(
    ("record", "shown"),
    [(LoudRecord(), "LoudRecord"), (OddRecord(), "odd"), (LongRecord(), "1,000,000"), (None, "None")],
)
def test_the_record_is_shown_whatever_it_is(backend: str, record: Any, shown: str) -> None:
    """A record whose repr raises or is huge harms nobody; None is a record."""
    env = LocalEnvironment(backend=backend)
    env.from_batch([record]).map(_raising(ValueError())).sink(drop)
    failure = failure_of(env)
    assert failure.record is not None
    assert shown in failure.record
    assert len(failure.record) < 1_000


def test_causes_and_notes_are_shown(backend: str) -> None:
    """The traceback has what Python would print: causes, and notes."""

    def convert(value: Any) -> Any:
        try:
            return boom(value)
        except ValueError as error:
            error.add_note("a note")
            raise RuntimeError("worse") from error

    env = LocalEnvironment(backend=backend)
    env.from_batch(RECORDS).map(convert).sink(drop)
    failure = failure_of(env)
    assert failure.traceback is not None
    for part in ("ValueError: no luck", "a note", "direct cause", "RuntimeError: worse"):
        assert part in failure.traceback


def test_failures_of_two_tasks_at_once_make_one_failure(caplog: pytest.LogCaptureFixture) -> None:
    """The first one is the job's; the other is logged, not lost."""
    both = threading.Barrier(2)

    def fail(value: Any) -> Any:
        both.wait(LIMIT)
        raise ValueError(f"record {value}")

    env = LocalEnvironment()
    env.from_batch([1, 2]).map(fail, parallelism=2).sink(drop)
    failure = failure_of(env)
    assert failure.record in {"1", "2"}
    other = "2" if failure.record == "1" else "1"
    logged = [item for item in caplog.records if item.levelno == logging.ERROR]
    assert len(logged) == 1
    assert f"ValueError: record {other}" in logged[0].getMessage()


def test_the_subtask_that_failed_is_named() -> None:
    """Of several subtasks, the failure names the one it happened in."""
    env = LocalEnvironment()
    env.from_batch(range(4)).map(boom, parallelism=4).sink(drop)
    assert failure_of(env).subtask == 3


def test_an_exception_object_may_be_raised_again(backend: str) -> None:
    """One exception object that is raised in two jobs is described rightly in both."""
    error = ValueError("shared")

    def first(value: Any) -> Any:
        raise error

    def second(value: Any) -> Any:
        raise error

    for function in (first, second):
        env = LocalEnvironment(backend=backend)
        env.from_batch([1]).map(function).sink(drop)
        failure = failure_of(env)
        assert failure.operator is not None
        assert failure.operator == function.__name__


class Held(MapFunction):
    """Fails to leave an attribute alone."""

    context: Any

    def execute(self, value: Any) -> Any:
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError("sealed")


def test_functions_may_refuse_to_be_written_to(backend: str) -> None:
    """The engine's own attributes get in where a class seals its instances, as frozen dataclasses do."""
    env = LocalEnvironment(backend=backend)
    out: list[Any] = []
    env.from_batch([1]).map(Held).sink(out.append)
    env.submit(autostop=True, timeout=LIMIT)
    assert out == [1]


def test_records_before_the_failure_have_arrived_on_inline() -> None:
    """On `inline` every record is pushed to the end before the next is read: the failing one hides none."""
    out: list[int] = []
    env = LocalEnvironment(backend="inline")
    env.from_batch(RECORDS).map(boom).map(int, parallelism=2).sink(out.append)
    failure_of(env)
    assert out == [1, 2]
