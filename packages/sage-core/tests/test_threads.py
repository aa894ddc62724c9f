"""Threads for calls that may not return: used again, bounded in number, gone when they are not needed."""

from __future__ import annotations

import threading

import pytest

from sage.core.api import LocalEnvironment, MapFunction
from sage.core.engine.services import RunningService
from sage.core.engine.threads import Threads
from sage.core.errors import ServiceTimeoutError
from sage.core.graph.model import FunctionSpec, ServiceSpec, SourceLocation

LIMIT = 60.0


def test_calls_one_after_another_share_a_thread() -> None:
    """As many as there are, they need one thread, whether they return or raise."""
    threads = Threads("prices", 128)
    seen = set()
    for number in range(200):
        answer = threads.submit(threading.current_thread if number % 2 else lambda: 1 // 0)
        if number % 2:
            seen.add(answer.result(LIMIT))
        else:
            assert isinstance(answer.exception(LIMIT), ZeroDivisionError)
    assert len(seen) == 1
    threads.shutdown()
    [thread] = seen
    thread.join(LIMIT)
    assert not thread.is_alive()


def test_calls_that_do_not_return_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a call is an error by name at once; when one has returned, the next one is made."""
    monkeypatch.setattr("sage.core.engine.services._MOST_CALLS", 3)
    service = RunningService(ServiceSpec("prices", FunctionSpec("class", object), SourceLocation("shop.py", 1)))
    gate, first = threading.Event(), threading.Event()
    hanging = [service.call(first.wait, LIMIT), *(service.call(gate.wait, LIMIT) for _ in range(2))]
    with pytest.raises(ServiceTimeoutError, match="3 calls of the service 'prices' have not returned") as caught:
        service.call(int)
    assert vars(caught.value)["service"] == "prices"
    first.set()
    assert hanging[0].result(LIMIT) is True
    assert service.call(int).result(LIMIT) == 0
    gate.set()
    assert [answer.result(LIMIT) for answer in hanging] == [True] * 3
    service.close()


def test_calls_wait_for_a_thread_where_they_are_queued() -> None:
    """They are made in their order; closing lets them be made, and one that was cancelled is left out."""
    threads = Threads("prices", 1)
    gate, made = threading.Event(), list[int]()
    first = threads.submit(gate.wait, LIMIT)
    answers = [threads.submit(made.append, number) for number in range(4)]
    assert answers[1].cancel()
    threads.shutdown()
    gate.set()
    assert first.result(LIMIT) is True
    answers[3].result(LIMIT)
    assert made == [0, 2, 3]


def test_a_thread_at_work_ends_with_its_call() -> None:
    """Closing does not wait for it, and it does not wait for work afterwards."""
    threads = Threads("prices", 128)
    gate, seen = threading.Event(), list[threading.Thread]()

    def work() -> None:
        seen.append(threading.current_thread())
        gate.wait(LIMIT)

    answer = threads.submit(work)
    threads.shutdown()
    gate.set()
    answer.result(LIMIT)
    seen[0].join(LIMIT)
    assert not seen[0].is_alive()


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that has had nothing to do for long goes, and the next call makes another."""
    monkeypatch.setattr("sage.core.engine.threads._IDLE", 0.01)
    threads = Threads("prices", 128)
    thread = threads.submit(threading.current_thread).result(LIMIT)
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert threads.submit(threading.current_thread).result(LIMIT) is not thread
    threads.shutdown()


class Slow:
    """Does not answer before it is let."""

    gate = threading.Event()
    threads: set[str] = set()  # noqa: RUF012

    def ask(self, value: int) -> int:
        self.threads.add(threading.current_thread().name)
        if value:
            return value
        self.gate.wait(LIMIT)
        return value


def test_a_job_that_calls_often_has_few_threads() -> None:
    """A handle with a time-out uses the threads of its service, and leaves none behind."""
    Slow.gate.clear()
    seen: list[int] = []

    class Ask(MapFunction):
        def execute(self, value: int) -> int:
            answer: int = self.call_service("slow", timeout=LIMIT).ask(value)
            seen.append(sum(thread.name == "sage-service-slow" for thread in threading.enumerate()))
            return answer

    env = LocalEnvironment()
    env.register_service("slow", Slow)
    out = env.from_batch(range(1, 301)).map(Ask).collect()
    env.submit(autostop=True)
    assert out == list(range(1, 301))
    assert max(seen) == 1
    assert Slow.threads == {"sage-service-slow"}
