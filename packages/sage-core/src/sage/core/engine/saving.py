"""How state is pickled, and how what several subtasks have saved is shared out among others."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

from sage.core.engine.keys import key_group, subtask_of_group
from sage.core.engine.snapshot import OperatorSnapshot
from sage.core.errors import StateError
from sage.core.graph.model import MAX_PARALLELISM

__all__ = ["groups_of", "load", "save", "share_out_keyed", "share_out_records", "share_out_timers"]


def save(value: Any, what: str) -> bytes:
    """Pickle by reference.

    Raises:
        StateError: it cannot be; ``what`` it is stands in the message.
    """
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:
        raise StateError(
            f"{what} cannot be saved: {type(error).__name__}: {error}",
            hint="what is saved must be picklable, and its classes found under their module and name",
        ) from error


def load(saved: bytes, what: str, unpickler: Callable[[io.BytesIO], pickle.Unpickler] = pickle.Unpickler) -> Any:
    """The counterpart of `save`. Raises `StateError`."""
    try:
        # Written by a job of the same user, into a folder of that job.
        return unpickler(io.BytesIO(saved)).load()
    except Exception as error:
        raise StateError(
            f"{what} cannot be loaded: {type(error).__name__}: {error}",
            hint="classes of saved objects must be found under the module and name they had",
        ) from error


def share_out_keyed(
    saved: Sequence[OperatorSnapshot], subtask: int, parallelism: int
) -> dict[str, list[tuple[Any, Any]]]:
    """By name of the state, the keys that ``subtask`` looks after, and what is kept for them."""
    groups = groups_of(subtask, parallelism)
    mine: dict[str, list[tuple[Any, Any]]] = {}
    for part in saved:
        if part.keyed is not None and _overlap(part.groups, groups):
            for name, table in load(part.keyed, "its keyed state").items():
                mine.setdefault(name, []).extend(_within(table, part.groups, groups))
    return mine


def share_out_timers(saved: Sequence[OperatorSnapshot], subtask: int, parallelism: int) -> list[tuple[Any, Any]]:
    """The keys that ``subtask`` looks after, and the timers that are set for them."""
    groups = groups_of(subtask, parallelism)
    return [
        item
        for part in saved
        if part.timers is not None and _overlap(part.groups, groups)
        for item in _within(load(part.timers, "its timers"), part.groups, groups)
    ]


def _overlap(saved: tuple[int, int], mine: tuple[int, int]) -> bool:
    return saved[0] <= mine[1] and mine[0] <= saved[1]


def _within(table: dict[Any, Any], saved: tuple[int, int], mine: tuple[int, int]) -> list[tuple[Any, Any]]:
    """The items of ``table``, which covers the key groups ``saved``, whose keys are in those of ``mine``."""
    if mine[0] <= saved[0] and saved[1] <= mine[1]:
        return list(table.items())
    return [(key, value) for key, value in table.items() if mine[0] <= key_group(key) <= mine[1]]


def share_out_records(saved: Sequence[OperatorSnapshot], subtask: int, parallelism: int) -> list[tuple[Any, ...]]:
    """What in flight goes to ``subtask``: its own, or, at another parallelism, its share.

    A record with a key goes where its key is looked after; others are dealt out in turn. With its time, one is three
    items long, and has None for a key where it has none.
    """
    parts = saved[subtask : subtask + 1] if len(saved) == parallelism else saved
    found: list[tuple[Any, ...]] = []
    for part in parts:
        if part.in_flight is not None:
            found += load(part.in_flight, "what was in flight")
    if len(saved) == parallelism:
        return found
    return [
        item
        for number, item in enumerate(found)
        if (number % parallelism if len(item) == 1 else subtask_of_group(key_group(item[1]), parallelism)) == subtask
    ]


def groups_of(subtask: int, parallelism: int) -> tuple[int, int]:
    """The first and the last key group that ``subtask`` looks after."""
    mine = [group for group in range(MAX_PARALLELISM) if subtask_of_group(group, parallelism) == subtask]
    return mine[0], mine[-1]
