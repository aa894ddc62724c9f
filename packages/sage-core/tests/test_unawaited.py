"""Coroutines that a function returns without being a coroutine function: nobody would ever await them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from sage.core.api import DataStream, LocalEnvironment, skip
from sage.core.errors import JobFailedError


async def ask(value: Any) -> Any:
    return value


def env_of(declare: Callable[[DataStream[int]], DataStream[Any]], backend: str) -> LocalEnvironment:
    env = LocalEnvironment("unawaited", backend)
    declare(env.from_collection([1, 2, 3])).collect()
    return env


@pytest.mark.parametrize(
    "declare",
    [
        lambda s: s.map(lambda value: ask(value)),
        lambda s: s.filter(lambda value: ask(value)),
        lambda s: s.filter_map(lambda value: ask(value)),
        lambda s: s.flatmap(lambda value: ask(value)),
        lambda s: s.process(lambda value: ask(value)),
        lambda s: s.map_batches(lambda values: ask(values)),
        lambda s: s.sink(lambda value: ask(value)),
        lambda s: s.keyby(lambda value: ask(value)).reduce(max),
        lambda s: s.reduce(lambda a, b: ask(a + b)),
        lambda s: s.connect(s).comap(ask_later, ask_later),
    ],
)
def test_a_coroutine_is_no_result(declare: Callable[[DataStream[int]], DataStream[Any]], backend: str) -> None:
    """Whatever would be done with it, the first one fails the job, names the function, and says what to call."""
    with pytest.raises(
        JobFailedError, match=r"it returned a coroutine, which nothing awaits: call \.map_async"
    ) as caught:
        env_of(declare, backend).submit(autostop=True)
    assert caught.value.failure is not None
    assert caught.value.failure.record in ("1", "2", "[1, 2, 3]")


def ask_later(value: Any) -> Any:
    return ask(value)


def test_it_goes_by_the_error_policy(backend: str) -> None:
    """As anything else that a function does wrong with a record, for as long as there was no result."""
    env = LocalEnvironment("unawaited", backend)
    found = (
        env.from_collection([1, 2, 3]).map(lambda value: ask(value) if value < 3 else value, on_error=skip()).collect()
    )
    env.submit(autostop=True)
    assert found == [3]


def test_only_the_first_result_is_looked_at(backend: str) -> None:
    """The function itself is called from the second slice on, so that looking costs nothing."""
    depths: list[str] = []

    def caller(value: int) -> int:
        depths.append(sys._getframe(1).f_code.co_filename)
        return value

    env = LocalEnvironment("looked at", backend)
    env.from_collection(range(5_000)).map(caller).sink(str)
    env.submit(autostop=True)
    assert not depths[0].startswith("<sage")
    assert depths[-1].startswith("<sage")
