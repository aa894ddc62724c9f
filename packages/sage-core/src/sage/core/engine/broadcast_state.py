"""Broadcast state: one mapping that is the same on every subtask, since all of them are given the same records."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any, TypeVar

from sage.core.engine.keyed_state import KeyedStates
from sage.core.errors import StateError

__all__ = ["BroadcastState"]

Name = TypeVar("Name")
Value = TypeVar("Value")


class BroadcastState(MutableMapping[Name, Value]):
    """A mapping that belongs to no key: read at any time, written for records that every subtask is given.

    Raises:
        StateError: it is written while no record of a ``broadcast()`` input is in hand.
    """

    __slots__ = ("_items", "_name", "_states")

    def __init__(self, name: str, states: KeyedStates) -> None:
        self._name = name
        self._states = states
        self._items = states.declare_broadcast(name)

    def __getitem__(self, name: Name) -> Value:
        value: Value = self._items[name]
        return value

    def __setitem__(self, name: Name, value: Value) -> None:
        self._check()
        self._states.note(self._items, name)
        self._items[name] = value

    def __delitem__(self, name: Name) -> None:
        self._check()
        if name not in self._items:
            raise KeyError(name)
        self._states.note_items(self._items)
        del self._items[name]

    def clear(self) -> None:
        """Forget all items."""
        self._check()
        self._states.note_items(self._items)
        self._items.clear()

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[Name]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == (other._items if isinstance(other, BroadcastState) else other)

    __hash__ = object.__hash__

    def _check(self) -> None:
        if not self._states.writable:
            raise StateError(
                f"broadcast state '{self._name}' was written for what not every subtask sees, so that it would not"
                " stay the same on all of them",
                hint="write it while a record of an input given by broadcast() is in hand; elsewhere it can be read",
            )

    def __reduce__(self) -> Any:
        raise TypeError("broadcast state is a door to what the engine keeps, and cannot be pickled")

    def __repr__(self) -> str:
        return f"<BroadcastState '{self._name}', {len(self._items):,} items>"
