"""Random pipelines give on every backend what a plain evaluation gives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from random_graphs import Program, draw_program, run

from sage.core.backends.api import Backend
from sage.core.backends.inline import InlineBackend
from sage.core.backends.local import LocalBackend
from sage.core.engine import host
from sage.core.engine.wiring import wire

_T = TypeVar("_T")

values = st.one_of(st.none(), st.integers(-3, 9), st.sampled_from(["", "a", "word"]), st.booleans())


class Drawn:
    """Randomness that Hypothesis can make smaller when it has found something."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def choose(self, options: Sequence[_T]) -> _T:
        return self._draw(st.sampled_from(options))

    def value(self) -> Any:
        return self._draw(values)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    return draw_program(Drawn(draw))


unhurried = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
many = settings(max_examples=60, suppress_health_check=unhurried)


@many
@given(program=programs())
def test_inline(program: Program) -> None:
    """One record at a time, in the caller's thread."""
    event(f"{sum(node.kind == 'keyed' for node in program.nodes)} keyed")
    run(program, InlineBackend())


@many
@given(program=programs())
def test_local(program: Program) -> None:
    """A thread per task."""
    run(program, LocalBackend())


@many
@given(program=programs(), batch=st.integers(1, 3), credits=st.integers(1, 2))
def test_local_with_hardly_any_room(program: Program, batch: int, credits: int) -> None:
    """Batches of a few records and channels that hold one or two of them: everything waits for credits all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "wire", functools.partial(wire, batch_size=batch, credits=credits))
        run(program, LocalBackend())


@many
@given(program=programs(), hosts=st.integers(2, 3))
def test_across_hosts(program: Program, hosts: int, split_backend: Callable[..., Backend]) -> None:
    """Tasks on several hosts whose channels carry encoded messages and give credits back late."""
    run(program, split_backend(hosts=hosts, credits=2))
