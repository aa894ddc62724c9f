"""Services: one instance per host, open before any function, called by many threads, with time-outs."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from sage.core.api import AsyncMapFunction, BaseService, LocalEnvironment, MapFunction
from sage.core.errors import GraphError, JobFailedError, ServiceTimeoutError, UnknownServiceError

BACKENDS = ("inline", "local")
events: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    events.clear()


class Prices(BaseService):
    def __init__(self, factor: int) -> None:
        self.factor = factor
        self.lock = threading.Lock()
        self.calls = 0

    def open(self, context: Any) -> None:
        self.gone = threading.Event()
        events.append(f"open {context.service}")

    def close(self) -> None:
        self.gone.set()
        events.append(f"close after {self.calls} calls")

    def of(self, value: int) -> int:
        with self.lock:
            self.calls += 1
        return value * self.factor

    def fail(self, value: int) -> int:
        raise LookupError(f"no price for {value}")

    def hang(self, value: int) -> int:
        self.gone.wait(60)
        return value

    async def later(self, value: int) -> int:
        await asyncio.sleep(0)
        return value * self.factor


class Price(MapFunction):
    def __init__(self, method: str, timeout: float | None = None) -> None:
        self.method = method
        self.timeout = timeout

    def open(self, context: Any) -> None:
        events.append("function")

    def execute(self, value: int) -> Any:
        return getattr(self.call_service("prices", timeout=self.timeout), self.method)(value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_subtasks_share_one_instance_that_outlives_them(backend: str) -> None:
    """The service is opened before the first function and closed after the last; everybody calls the same one."""
    env = LocalEnvironment("services", backend=backend)
    env.register_service("prices", Prices, 3)
    results = env.from_batch(range(10)).map(Price, "of", parallelism=3).collect()
    env.submit(autostop=True)
    assert sorted(results) == [value * 3 for value in range(10)]
    assert events == ["open prices", "function", "function", "function", "close after 10 calls"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_service_raises_arrives_in_the_caller_with_its_traceback(backend: str) -> None:
    """The job's failure names the operator that called, and shows the service's lines."""
    env = LocalEnvironment("raises", backend=backend)
    env.register_service("prices", Prices, 3)
    env.from_batch([7]).map(Price, "fail").print()
    with pytest.raises(JobFailedError, match="no price for 7") as caught:
        env.submit(autostop=True)
    failure = caught.value.failure
    assert failure is not None
    assert failure.uid == "map:Price" and "in fail" in (failure.traceback or "")
    assert events[-1] == "close after 0 calls"


@pytest.mark.parametrize("method", ["of", "fail", "hang"])
def test_a_call_with_a_timeout_answers_raises_or_is_given_up(method: str) -> None:
    """In time the answer is the same; what hangs is given up by name."""
    env = LocalEnvironment("timeout")
    env.register_service("prices", Prices, 3)
    results = env.from_batch([1]).map(Price, method, 30 if method != "hang" else 0.05).collect()
    if method == "of":
        env.submit(autostop=True)
        assert results == [3]
        return
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True)
    if method == "hang":
        assert isinstance(caught.value.__cause__, ServiceTimeoutError)
        assert "'prices' has not answered hang within 0.05 s" in str(caught.value)
    else:
        assert caught.value.failure is not None
        assert "in fail" in str(caught.value.failure.traceback)


def test_coroutines_are_called_by_the_async_form() -> None:
    """The plain form refuses a coroutine method and says how; the async one awaits it, and plain methods on threads."""

    class Async(MapFunction):
        def execute(self, value: int) -> Any:
            async def both() -> list[int]:
                service = self.call_service_async("prices", timeout=30)
                return [await service.later(value), await service.of(value)]

            return asyncio.run(both())

    env = LocalEnvironment("async", backend="inline")
    env.register_service("prices", Prices, 3)
    results = env.from_batch([2]).map(Async).collect()
    env.submit(autostop=True)
    assert results == [[6, 6]]
    env = LocalEnvironment("plain", backend="inline")
    env.register_service("prices", Prices, 3)
    env.from_batch([2]).map(Price, "later").print()
    with pytest.raises(JobFailedError, match=r"await self\.call_service_async"):
        env.submit(autostop=True)


@pytest.mark.parametrize("method", ["refuses", "refuses_later"])
def test_a_timeout_error_of_the_service_itself_is_no_late_answer(method: str) -> None:
    """It arrives as it was raised, also where the call has a time-out."""

    class Refuses(BaseService):
        def refuses(self) -> None:
            raise TimeoutError("the database")

        async def refuses_later(self) -> None:
            raise TimeoutError("the database")

    class Asks(AsyncMapFunction):
        async def execute(self, value: int) -> Any:
            return await getattr(self.call_service_async("prices", timeout=30), method)()

    env = LocalEnvironment("own")
    env.register_service("prices", Refuses)
    env.from_batch([1]).map_async(Asks).collect()
    with pytest.raises(JobFailedError, match="TimeoutError: the database"):
        env.submit(autostop=True)


def test_an_unknown_service_and_an_unknown_method_are_named_with_those_there_are() -> None:
    """Both errors list what could have been meant."""
    env = LocalEnvironment("unknown", backend="inline")
    env.register_service("costs", Prices, 3)
    env.from_batch([2]).map(Price, "of").print()
    with pytest.raises(JobFailedError, match="no service 'prices'; registered are: costs") as caught:
        env.submit(autostop=True)
    assert isinstance(caught.value.__cause__, UnknownServiceError)
    env = LocalEnvironment("method", backend="inline")
    env.register_service("prices", Prices, 3)
    env.from_batch([2]).map(Price, "off").print()
    with pytest.raises(JobFailedError, match="no method 'off'; it has: close, fail, hang, later, of, open"):
        env.submit(autostop=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("phase", ["open", "close"])
def test_a_service_that_cannot_open_or_close_fails_the_job(phase: str, backend: str) -> None:
    """The failure names the service and the line it was registered on, once; no record flows after a failed open."""

    class Broken(BaseService):
        pass

    def refuse(*_: Any) -> None:
        raise ConnectionError("refused")

    setattr(Broken, phase, refuse)
    env = LocalEnvironment("broken", backend=backend)
    env.register_service("db", Broken)
    results = env.from_batch([1, 2]).map(lambda x: x, parallelism=2).collect()
    with pytest.raises(JobFailedError, match=f"service 'db' failed in {phase}.*refused") as caught:
        env.submit(autostop=True)
    failure = caught.value.failure
    assert failure is not None and failure.uid == "service:db"
    assert failure.location is not None and failure.location.startswith("test_services.py:")
    assert sorted(results) == ([] if phase == "open" else [1, 2])


def test_wrong_registrations_are_refused_at_submit() -> None:
    """All at once, each with its line: constructor arguments, a name used twice, an empty name, what cannot travel."""
    env = LocalEnvironment("wrong")
    env.register_service("prices", Prices)
    env.register_service("twice", Prices, 1)
    env.register_service("twice", Prices, 2)
    env.register_service("", Prices, 2)
    env.from_batch([1]).print()
    with pytest.raises(GraphError) as caught:
        env.submit()
    text = str(caught.value)
    assert "missing a required argument: 'factor'" in text
    assert "'twice' is registered for more than one" in text
    assert "must be text that is not empty" in text
    env = LocalEnvironment("lock")
    env.register_service("prices", Prices(1))
    env.from_batch([1]).print()
    with pytest.raises(GraphError, match=r"Prices\.self\.lock"):
        env.submit()
