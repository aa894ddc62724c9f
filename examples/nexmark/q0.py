"""Query 0, pass through: all events, as they are."""

from __future__ import annotations

from collections.abc import Iterable

from events import Event

from sage.core.api import DataStream, Environment


def same(event: Event) -> Event:
    return event


def pipeline(env: Environment, events: Iterable[Event], parallelism: int = 1) -> DataStream[Event]:
    return env.from_batch(events).map(same, parallelism=parallelism)
