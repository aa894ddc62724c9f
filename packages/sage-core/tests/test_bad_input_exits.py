"""Whatever leaves code of the user's, wherever the engine calls some, is the failure of the operator in question."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sage.core.api import (
    AggregateFunction,
    BaseFunction,
    BaseService,
    BatchFunction,
    CoMapFunction,
    LocalEnvironment,
    MapFunction,
    SourceFunction,
)
from sage.core.errors import JobFailedError
from sage.core.models import FailureInfo

LIMIT = 60.0


class Leave:
    """Leaves by an exception, in all the ways there are."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self) -> Any:
        if self.kind == "RecursionError":
            return self()
        if self.kind == "SystemExit":
            sys.exit("enough")
        raise {
            "StopIteration": StopIteration("enough"),
            "KeyboardInterrupt": KeyboardInterrupt(),
            "MemoryError": MemoryError(),
        }[self.kind]


KINDS = ["StopIteration", "SystemExit", "KeyboardInterrupt", "RecursionError", "MemoryError"]


class Phase(MapFunction):
    """A map that leaves in the phase it is told."""

    def __init__(self, phase: str, leave: Leave) -> None:
        self.phase, self.leave = phase, leave
        self._at("__init__")

    def _at(self, phase: str) -> None:
        if self.phase == phase:
            self.leave()

    def open(self, context: Any) -> None:
        self._at("open")

    def execute(self, value: Any) -> Any:
        self._at("execute")
        return value

    def close(self) -> None:
        self._at("close")


class Service(BaseService):
    def __init__(self, phase: str, leave: Leave) -> None:
        self.phase, self.leave = phase, leave

    def open(self, context: Any) -> None:
        if self.phase == "open":
            self.leave()

    def answer(self) -> Any:
        return self.leave()

    def close(self) -> None:
        if self.phase == "close":
            self.leave()


class Ask(MapFunction):
    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout

    def execute(self, value: Any) -> Any:
        return self.call_service("it", timeout=self.timeout).answer()


class Fold(AggregateFunction):
    def __init__(self, phase: str, leave: Leave) -> None:
        self.phase, self.leave = phase, leave

    def create(self) -> Any:
        return self.leave() if self.phase == "create" else 0

    def add(self, accumulator: Any, value: Any) -> Any:
        return self.leave() if self.phase == "add" else value

    def result(self, accumulator: Any) -> Any:
        return self.leave() if self.phase == "result" else accumulator


class Batch(BatchFunction):
    def __init__(self, leave: Leave) -> None:
        self.leave = leave

    def execute(self) -> Any:
        return self.leave()


class Waits(SourceFunction):
    def __init__(self, leave: Leave) -> None:
        self.leave = leave

    def execute(self) -> Any:
        return None

    def wait(self, timeout: float) -> None:
        self.leave()


class Both(CoMapFunction):
    def __init__(self, leave: Leave) -> None:
        self.leave = leave

    def map0(self, value: Any) -> Any:
        return value

    def map1(self, value: Any) -> Any:
        return self.leave()


class Sides(BaseFunction):
    """What the engine asks an answer for is code of the user's as well: its truth, its items, its key."""

    def __init__(self, leave: Leave) -> None:
        self.leave = leave

    def execute(self, value: Any) -> Any:
        return self

    def __bool__(self) -> bool:
        return bool(self.leave())

    def __iter__(self) -> Iterator[Any]:
        yield 1
        self.leave()

    def __sage_key__(self) -> Any:
        return self.leave()


def endless(leave: Leave) -> Iterator[Any]:
    yield 1
    leave()


def one(env: LocalEnvironment) -> Any:
    return env.from_batch([7])


Build = Callable[[LocalEnvironment, Leave], Any]

PLACES: dict[str, tuple[Build, str, str | None]] = {
    "init": (lambda env, leave: one(env).map(Phase, "__init__", leave, name="it"), "map:it", None),
    "open": (lambda env, leave: one(env).map(Phase, "open", leave, name="it"), "map:it", None),
    "close": (lambda env, leave: one(env).map(Phase, "close", leave, name="it"), "map:it", None),
    "truth of a filter": (lambda env, leave: one(env).filter(Sides, leave, name="it"), "filter:it", "7"),
    "items of a flatmap": (lambda env, leave: one(env).flatmap(Sides, leave, name="it"), "flatmap:it", "7"),
    "items of map_batches": (lambda env, leave: one(env).map_batches(Sides, leave, name="it"), "map_batches:it", "[7]"),
    "key": (lambda env, leave: one(env).keyby(Sides, leave, name="it").map(str, parallelism=2), "keyby:it", "7"),
    "create": (lambda env, leave: one(env).aggregate(Fold, "create", leave, name="it"), "aggregate:it", "7"),
    "add": (lambda env, leave: one(env).aggregate(Fold, "add", leave, name="it"), "aggregate:it", "7"),
    "result": (lambda env, leave: one(env).aggregate(Fold, "result", leave, name="it"), "aggregate:it", "7"),
    "last result": (
        lambda env, leave: one(env).aggregate(Fold, "result", leave, name="it", final=True),
        "aggregate:it",
        None,
    ),
    "comap": (lambda env, leave: one(env).connect(one(env)).comap(Both, leave, name="it"), "comap:it", "7"),
    "batch": (lambda env, leave: env.from_batch(Batch, leave, name="it"), "batch:it", None),
    "source": (lambda env, leave: env.from_source(leave, name="it"), "source:it", None),
    "wait": (lambda env, leave: env.from_source(Waits, leave, name="it"), "source:it", None),
    "generator": (lambda env, leave: env.from_batch(endless, leave, name="it"), "collection:it", None),
    "called for records": (lambda env, leave: env.from_batch(leave, name="it"), "collection:it", None),
    "service": (lambda env, leave: ask(env, leave, "", None), "map:it", "7"),
    "service in time": (lambda env, leave: ask(env, leave, "", LIMIT), "map:it", "7"),
    "service opens": (lambda env, leave: ask(env, leave, "open", None), "service:it", None),
    "service closes": (lambda env, leave: ask(env, leave, "close", None, calls=False), "service:it", None),
}


def ask(env: LocalEnvironment, leave: Leave, phase: str, timeout: float | None, *, calls: bool = True) -> Any:
    env.register_service("it", Service, phase, leave)
    return one(env).map(Ask, timeout, name="it") if calls else one(env).map(str)


def failure_of(env: LocalEnvironment) -> FailureInfo:
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True, timeout=LIMIT)
    assert env.get_job_status()["status"] == "failed"
    assert caught.value.failure is not None
    return caught.value.failure


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_leaves_unnoticed(backend: str, place: str, kind: str) -> None:
    """The failure names operator, line, record and class; Ctrl-C that meets user code on `inline` is passed on."""
    build, uid, record = PLACES[place]
    env = LocalEnvironment(backend=backend)
    build(env, Leave(kind)).sink(str)
    if backend == "inline" and kind == "KeyboardInterrupt":
        with pytest.raises(KeyboardInterrupt):
            env.submit()
        return
    failure = failure_of(env)
    assert (failure.kind, failure.uid, failure.record) == ("user_code", uid, record)
    assert failure.location is not None and failure.location.startswith("test_bad_input_exits.py:")
    in_generator = place in ("generator", "items of a flatmap", "items of map_batches", "last result")
    expected = "RuntimeError" if kind == "StopIteration" and in_generator else kind
    assert failure.error_type == expected
    assert expected in failure.message
    assert failure.traceback is not None and len(failure.traceback) < 70_000
    ends = {"batch": "next(iterator, None)", "source": "next(iterator, STOP)"}.get(place)
    if kind == "StopIteration" and ends is not None:
        assert (
            f"hint: a source ends by returning {'None' if place == 'batch' else 'STOP'}, as by {ends}"
            in failure.message
        )


def test_stop_iteration_of_an_iterator_is_its_end(backend: str) -> None:
    """As in any loop; nobody can tell the two apart."""

    class Two:
        left = 2

        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            self.left -= 1
            if self.left < 0:
                raise StopIteration
            return self.left

    env = LocalEnvironment(backend=backend)
    records = env.from_batch(Two).collect()
    items = one(env).flatmap(lambda value: Two()).collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert records == items == [1, 0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_exit_in_a_thread_of_the_users_ends_that_thread(backend: str) -> None:
    """Nothing of the job's; threads that go on after a call are the user's, and harm nobody."""
    go_on, ended = threading.Event(), []

    def spawn(value: Any) -> Any:
        leaving = threading.Thread(target=sys.exit, args=(3,))
        leaving.start()
        leaving.join()
        staying = threading.Thread(target=lambda: ended.append(go_on.wait(LIMIT)))
        staying.start()
        threads.append(staying)
        return value

    threads: list[threading.Thread] = []
    env = LocalEnvironment(backend=backend)
    results = env.from_batch([1, 2]).map(spawn).collect()
    try:
        env.submit(autostop=True, timeout=LIMIT)
        assert results == [1, 2]
        assert not ended
    finally:
        go_on.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("replaced", ["none", "closed"])
def test_functions_may_replace_the_standard_output(
    backend: str, replaced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is none nothing is printed; where it is closed, `print` fails as an operator, by name."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # set back afterwards

    class Closed:
        def write(self, text: str) -> None:
            raise ValueError("closed")

    def replace(value: Any) -> Any:
        sys.stdout = None if replaced == "none" else Closed()
        return value

    env = LocalEnvironment(backend=backend)
    env.from_batch([1]).map(replace).print()
    if replaced == "none":
        env.submit(autostop=True, timeout=LIMIT)
        return
    failure = failure_of(env)
    assert (failure.uid, failure.record, failure.error_type) == ("sink:print", "1", "ValueError")
