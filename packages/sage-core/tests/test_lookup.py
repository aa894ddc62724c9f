"""`lookup`: beside each record what is found elsewhere, asked as seldom as the cache allows."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.core.api import BaseFunction, LocalEnvironment, ProcessFunction, RuntimeContext, dead_letter, retry, skip
from sage.core.engine.answers import Answers
from sage.core.engine.keyed_state import MISSING
from sage.core.errors import GraphError, JobFailedError

PRICES = {"tea": 3, "coffee": 6}


class Prices:
    """A service with a plain and a coroutine method."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.lock = None

    def find(self, item: str) -> int | None:
        return PRICES.get(item)

    async def find_soon(self, item: str) -> int | None:
        await asyncio.sleep(0)
        return PRICES.get(item)

    def thread(self, item: str) -> str:
        return threading.current_thread().name


class Find(BaseFunction):
    """A function class with an argument, which counts."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def open(self, context: RuntimeContext) -> None:
        self.prices = {item: price * self.factor for item, price in PRICES.items()}

    def execute(self, item: str) -> int | None:
        return self.prices.get(item)


class FindSoon(Find):
    async def execute(self, item: str) -> int | None:  # type: ignore[override]
        await asyncio.sleep(0)
        return self.prices.get(item)


async def find_soon(item: str) -> int | None:
    await asyncio.sleep(0)
    return PRICES.get(item)


ORDERS = [("tea", 1), ("milk", 2), ("coffee", 3), ("tea", 4)]
FOUND = [(("tea", 1), 3), (("coffee", 3), 6), (("tea", 4), 3)]


def item(order: tuple[str, int]) -> str:
    return order[0]


@pytest.mark.parametrize("size", [0, 1, 100])
@pytest.mark.parametrize("function", [PRICES.get, find_soon, Find(1), FindSoon(1), "prices.find", "prices.find_soon"])
def test_what_is_found_comes_beside_the_record(backend: str, function: Any, size: int) -> None:
    """Of all forms, with a cache and without, in the order of the records; what is not found is left out, or None."""
    env = LocalEnvironment("forms", backend)
    env.register_service("prices", Prices)
    orders = env.from_batch(ORDERS)
    inner = orders.lookup(function, on=item, cache_size=size).collect()
    left = orders.lookup(function, on=item, how="left", cache_size=size, uid="left").collect()
    env.submit(autostop=True)
    assert inner == FOUND
    assert left == [FOUND[0], (("milk", 2), None), *FOUND[1:]]


@pytest.mark.parametrize("kind", [Find, FindSoon])
def test_a_class_is_built_with_its_arguments(backend: str, kind: type[Find]) -> None:
    """Each subtask has its own."""
    env = LocalEnvironment("class", backend)
    found = env.from_batch(ORDERS).rebalance().lookup(kind, 10, on=item, parallelism=3).collect()
    env.submit(autostop=True)
    assert sorted(found) == sorted((order, price * 10) for order, price in FOUND)


def test_an_answer_that_is_kept_is_not_asked_for_again() -> None:
    """Also the answer that there is nothing; an error is no answer."""
    asked: list[str] = []

    def find(item: str) -> int | None:
        asked.append(item)
        if item == "coffee" and asked.count("coffee") == 1:
            raise ValueError(item)
        return PRICES.get(item)

    env = LocalEnvironment("kept", "inline")
    orders = [(name, number) for number, name in enumerate(["tea", "milk", "coffee"] * 3)]
    out = env.from_batch(orders).lookup(find, on=item, how="left", cache_size=10, on_error=skip()).collect()
    env.submit(autostop=True)
    assert asked == ["tea", "milk", "coffee", "coffee"]
    assert out == [(order, PRICES.get(order[0])) for order in orders if order != ("coffee", 2)]


def test_records_that_ask_the_same_at_once_ask_once() -> None:
    """The first asks, the others wait for its answer, which may be an error; then nothing is kept."""
    asked: list[str] = []
    go = asyncio.Event()

    async def find(item: str) -> int | None:
        asked.append(item)
        if item == "last":
            go.set()
        await go.wait()
        if item == "coffee" and asked.count(item) == 1:
            raise ValueError(item)
        return PRICES.get(item)

    env = LocalEnvironment("once", "local")
    orders = [("tea", 1), ("coffee", 1), ("tea", 2), ("coffee", 2), ("tea", 3), ("last", 0)]
    lookup = env.from_batch(orders).lookup(find, on=item, how="left", cache_size=10, on_error=dead_letter())
    out, letters = lookup.collect(), lookup.dead_letters.collect()
    env.submit(autostop=True)
    assert asked == ["tea", "coffee", "last"]
    assert out == [(("tea", 1), 3), (("tea", 2), 3), (("tea", 3), 3), (("last", 0), None)]
    assert [letter.record for letter in letters] == [("coffee", 1), ("coffee", 2)]


def test_who_gives_up_waiting_leaves_the_others_waiting() -> None:
    """A time-out of the record that asked is no answer: the next one asks again."""
    asked: list[int] = []

    async def find(item: str) -> int:
        asked.append(1)
        if len(asked) == 1:
            await asyncio.sleep(3600)
        return 7

    env = LocalEnvironment("timeout", "local")
    orders = [("tea", 1), ("tea", 2), ("tea", 3)]
    stream = env.from_batch(orders).lookup(find, on=item, cache_size=10, timeout=0.2, on_error=retry(3))
    out = stream.collect()
    env.submit(autostop=True)
    assert out == [(order, 7) for order in orders]
    assert len(asked) == 2


def test_a_plain_method_of_a_service_is_called_on_threads_if_so_asked() -> None:
    """With ``concurrency`` it may block without holding up the task."""
    env = LocalEnvironment("threads", "local")
    env.register_service("prices", Prices)
    (own,) = (env.from_batch([("tea", 1)]).lookup("prices.thread", on=item, uid="own").collect(),)
    other = env.from_batch([("tea", 1)]).lookup("prices.thread", on=item, concurrency=4, uid="other").collect()
    env.submit(autostop=True)
    assert "sage-threads" not in own[0][1]
    assert "sage-threads" in other[0][1]


@given(
    st.integers(0, 4),
    st.one_of(st.none(), st.integers(1, 5)),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), max_size=60),
)
def test_answers_are_kept_as_the_model_keeps_them(size: int, ttl: int | None, steps: list[tuple[int, int]]) -> None:
    """The least recently used goes first, none is older than it may be, and there are never more than there may be."""
    now = [0.0]
    answers = Answers(size, ttl, lambda: now[0])
    model: list[tuple[int, int, float]] = []  # asked, answer, since; the newest last
    for number, (asked, later) in enumerate(steps):
        now[0] += later
        model = [kept for kept in model if ttl is None or now[0] - kept[2] < ttl or kept[0] != asked]
        expected = next((kept for kept in model if kept[0] == asked), None)
        found = answers.get(asked)
        assert found == (MISSING if expected is None else expected[1])
        model = [kept for kept in model if kept[0] != asked]
        if expected is None:
            answers.keep(asked, number)
            expected = (asked, number, now[0])
        model = [*model, expected][-size:] if size else []
        assert len(answers) == len(model) <= size


def test_a_failed_lookup_names_the_record() -> None:
    """Not what was looked up: that is in the message of whoever failed."""
    env = LocalEnvironment("fails", "inline")
    env.from_batch(ORDERS).lookup(PRICES.__getitem__, on=item).collect()
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True)
    assert caught.value.failure is not None
    assert caught.value.failure.record == "('milk', 2)"


def test_a_lookup_behind_keyby_knows_the_key(backend: str) -> None:
    """As any operator directly behind it."""

    class Key(BaseFunction):
        def execute(self, item: str) -> Any:
            return item, self.context.key

    env = LocalEnvironment("keyed", backend)
    out = env.from_batch(ORDERS).keyby(lambda order: order[1]).lookup(Key, on=item).collect()
    env.submit(autostop=True)
    assert out == [(order, order) for order in ORDERS]


@pytest.mark.parametrize("function", [PRICES.get, find_soon])
def test_event_times_stay_with_the_records(backend: str, function: Any) -> None:
    """What is found has the time of its record, and is in time for what follows."""

    class Tell(ProcessFunction):
        def execute(self, found: Any) -> list[Any]:
            assert self.context.timestamp is not None
            return [(found[0], self.context.timestamp, self.context.timestamp > self.context.watermark)]

    env = LocalEnvironment("times", backend)
    times = env.from_batch(ORDERS).assign_timestamps(lambda order: order[1])
    told = times.lookup(function, on=item, cache_size=3).process(Tell).collect()
    env.submit(autostop=True)
    assert told == [(order, float(order[1]), True) for order, _ in FOUND]


def test_wrong_lookups_are_refused_with_all_that_is_wrong() -> None:
    """Sizes, times, services and methods that are not there, and options that would have no effect."""
    env = LocalEnvironment("wrong")
    env.register_service("prices", Prices)
    lookup: Any = env.from_batch(ORDERS).lookup
    lookup(PRICES.get, on=item, how="outer", cache_size=-1, cache_ttl=0, name="values").collect()
    lookup(PRICES.get, on=item, cache_ttl=timedelta(minutes=1), name="no cache").collect()
    lookup(PRICES.get, on=item, concurrency=3, timeout=1, name="plain").collect()
    lookup(find_soon, on=item, concurrency=0, timeout=-1, name="bounds").collect()
    lookup("prices", on=item, name="no method").collect()
    lookup("prices.seek", on=item, name="other method").collect()
    lookup("shop.find", on=item, name="other service").collect()
    lookup(PRICES.get, on="item", name="on").collect()
    lookup(PRICES.get, on=lambda: 1, name="on nothing").collect()
    with pytest.raises(GraphError) as caught:
        env.submit()
    text = str(caught.value)
    for expected in (
        "lookup 'values': how must be 'inner' or 'left', not 'outer'",
        "lookup 'values': cache_size must be a whole number from 0, not -1",
        "lookup 'values': cache_ttl must be a number of seconds above 0, a timedelta, or None, not 0",
        "lookup 'no cache': cache_ttl has no effect without a cache",
        "lookup 'plain': concurrency, timeout is for coroutine functions",
        "lookup_async 'bounds': concurrency must be a whole number from 1, not 0",
        "lookup_async 'bounds': timeout must be a number of seconds above 0, a timedelta, or None, not -1",
        "lookup 'no method': 'prices' is no 'service.method'",
        "lookup 'other method': the service 'prices' has no method 'seek'",
        "lookup 'other service': calls 'shop.find', and there is no service 'shop'",
        "lookup 'on': on takes a function of a record, which gives what to look up, not str",
        "lookup 'on nothing': its on cannot be called with 1 argument",
    ):
        assert expected in text, text


def test_a_coroutine_that_nobody_awaits_is_no_answer() -> None:
    """A lambda around a coroutine function is not known to be one before it is called."""
    env = LocalEnvironment("forgotten", "inline")
    env.from_batch(ORDERS).lookup(lambda name: find_soon(name), on=item).collect()
    with pytest.raises(JobFailedError, match="has returned a coroutine: give the coroutine function itself"):
        env.submit(autostop=True)


def test_a_timeout_may_be_a_timedelta() -> None:
    """As every other length of time."""

    async def never(name: str) -> None:
        await asyncio.Event().wait()

    env = LocalEnvironment("patience", "inline")
    env.from_batch(ORDERS).lookup(never, on=item, timeout=timedelta(milliseconds=1)).collect()
    with pytest.raises(JobFailedError, match=r"did not end within 0.001 s"):
        env.submit(autostop=True)
