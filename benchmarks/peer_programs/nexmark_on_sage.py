"""NEXMARK on SAGE, backend `local`: the pipelines of `examples/nexmark`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from events import Event
from nexmark_work import Query, measure, nothing
from queries import PIPELINES

from sage.core.api import DataStream, Environment, LocalEnvironment


def query(pipeline: Callable[[Environment, Iterable[Event], int], DataStream[Any]]) -> Query:
    def prepare(events: Sequence[Event], results: list[Any] | None) -> Callable[[], object]:
        env = LocalEnvironment("query")
        pipeline(env, events, 1).sink(nothing if results is None else results.append)
        return partial(env.submit, autostop=True)

    return prepare


if __name__ == "__main__":
    measure(version("sage-core"), {name: query(pipeline) for name, pipeline in PIPELINES.items()})
