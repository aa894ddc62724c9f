"""Keyed state: what an operator keeps for each key, apart from every other key.

A function declares what it keeps in ``open(context)`` and reaches, while it runs, what belongs to the key of the
record in hand. The engine keeps it in one table per declared name, so that it can be saved, moved by key group to
other subtasks, and set back where a call fails whose record is given up or tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, MutableSequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from sage.core.engine.event_time import MIN_TIME
from sage.core.errors import StateError

if TYPE_CHECKING:
    from sage.core.engine.context import RuntimeContext
    from sage.core.engine.expiring_state import Expiry

__all__ = ["MISSING", "TOO_LATE", "KeyedState", "KeyedStates", "ListState", "MapState", "ReducingState", "ValueState"]

Value = TypeVar("Value")
MapKey = TypeVar("MapKey")

MISSING: Final = object()
"""What a table is asked to answer for a key that has nothing."""

TOO_LATE: Final = "state is declared in open(context)"


class KeyedStates:
    """All keyed state of one operator in one subtask.

    Args:
        context: tells the key of the record in hand.

    Attributes:
        tables: by name, what is kept for each key.
        expiries: by name, when it expires, for state that does.
        broadcast: by name, what is the same on all subtasks.
        kinds: by name, the kind of state, so that none is taken for another when it is restored.
        refusal: why functions cannot declare any here; None if they can.
        broadcast_refusal: why they cannot declare any that is the same on all subtasks; None if they can.
        has_key: whether the record in hand has a key.
        has_event_time: whether records come with the time of their event.
        writable: whether all subtasks are given the record in hand.
        times: one item each: processing and event time of the record in hand, in microseconds.
        journal: how to set back what was written since it was cleared; None where nothing is ever set back.
    """

    def __init__(self, context: RuntimeContext) -> None:
        self.tables: dict[str, dict[Any, Any]] = {}
        self.expiries: dict[str, Expiry] = {}
        self.broadcast: dict[str, dict[Any, Any]] = {}
        self.kinds: dict[str, str] = {}
        self.refusal: str | None = TOO_LATE
        self.broadcast_refusal: str | None = TOO_LATE
        self.has_key = False
        self.has_event_time = False
        self.writable = False
        self.times: dict[str, list[int]] = {"processing": [0], "event": [MIN_TIME]}
        self.context = context
        self.journal: list[Callable[[], object]] | None = None
        self._copied: set[int] = set()  # mappings that the journal has whole, as long as it begins with this:
        self._beginning: object = None

    def __bool__(self) -> bool:
        return bool(self.tables or self.broadcast)

    def table(self, name: str, kind: str) -> dict[Any, Any]:
        """The table for ``name``, made if it is not there."""
        self.kinds[name] = kind
        return self.tables.setdefault(name, {})

    def declare(self, name: str, kind: str) -> dict[Any, Any]:
        """The table for what a function declares.

        Raises:
            StateError: there can be none here, or ``name`` is taken.
        """
        if self.refusal is not None:
            raise StateError(
                f"keyed state '{name}' cannot be declared: {self.refusal}",
                hint="declare it in open(context) of an operator directly behind keyby(…) that takes single records",
            )
        self._take_name(name, "keyed state")
        return self.table(name, kind)

    def declare_broadcast(self, name: str) -> dict[Any, Any]:
        """The mapping, the same on all subtasks, for what a function declares.

        Raises:
            StateError: there can be none here, or ``name`` is taken.
        """
        if self.broadcast_refusal is not None:
            raise StateError(
                f"broadcast state '{name}' cannot be declared: {self.broadcast_refusal}",
                hint="declare it in open(context) of an operator that takes single records, one of whose inputs is"
                " given by broadcast()",
            )
        self._take_name(name, "broadcast state")
        self.kinds[name] = "broadcast"
        return self.broadcast.setdefault(name, {})

    def _take_name(self, name: str, what: str) -> None:
        if not isinstance(name, str) or not name:
            raise StateError(
                f"the name of {what} must be text that is not empty, not {name!r}",
                hint="name it after what it keeps: it is saved under that name",
            )
        if name in self.kinds:
            raise StateError(f"{what} '{name}' is declared twice", hint="give each its own name")

    def saved_tables(self, times: Mapping[str, int]) -> dict[str, dict[Any, Any]]:
        """All tables as they are saved at ``times``, processing and event time."""
        return {name: self._saved(name, table, times) for name, table in self.tables.items()}

    def _saved(self, name: str, table: dict[Any, Any], times: Mapping[str, int]) -> dict[Any, Any]:
        expiry = self.expiries.get(name)
        return table if expiry is None else expiry.saved(times[expiry.time])

    def restore_table(
        self, name: str, items: Collection[tuple[Any, Any]], ttl_time: str | None, times: Mapping[str, int]
    ) -> None:
        """Keep again, at ``times``, what was saved of one table, by ``ttl_time`` if it did expire then.

        Raises:
            StateError: it expired by another time than it does now.
        """
        expiry = self.expiries.get(name)
        if expiry is None:
            self.tables[name].update(items if ttl_time is None else ((key, kept) for key, (kept, _) in items))
        elif ttl_time is None:
            if items and times[expiry.time] == MIN_TIME:
                raise StateError(
                    f"the saved keyed state '{name}' was kept for good, and cannot begin to expire by event time: when"
                    " it was saved none was known",
                    hint="leave ttl_time out for processing time, or declare new state under another name",
                )
            expiry.restore_ageless(items, times[expiry.time])
        elif ttl_time == expiry.time:
            expiry.restore(items, times[expiry.time])
        else:
            raise StateError(
                f"the saved keyed state '{name}' expired by {ttl_time} time, it does by {expiry.time} time now",
                hint=f"go on with ttl_time='{ttl_time}', or declare new state under another name",
            )

    def sweep(self, times: Mapping[str, int], limit: int) -> None:
        """Remove what has expired at ``times``: of about ``limit`` values and items at most."""
        for expiry in self.expiries.values():
            limit -= expiry.sweep(times[expiry.time], max(1, limit))

    def due(self, time: str) -> int | None:
        """When there is something to be removed by ``time``; None for never."""
        return min((item.due for item in self.expiries.values() if item.time == time and item.due), default=None)

    def keep_journal(self) -> list[Callable[[], object]]:
        """From now on remember how to set back what is written; cleared by whoever calls, after each good call."""
        if self.journal is None:
            self.journal = []
        return self.journal

    def undo(self) -> None:
        """Set back what was written since the journal was cleared."""
        while self.journal:
            self.journal.pop()()

    def current_key(self, name: str) -> Any:
        """The key of the record in hand; for where it seems to be None.

        Raises:
            StateError: the record has no key.
        """
        if not self.has_key:
            raise StateError(
                f"keyed state '{name}' was used where there is no key: outside of execute(), or for a record of an"
                " input without keyby",
                hint="use it in execute() alone, and put keyby(…) before each input whose records use it",
            )
        return self.context.key

    def note(self, table: dict[Any, Any], key: Any) -> None:
        """Remember what ``table`` holds for ``key``, before that is replaced."""
        if self.journal is not None:
            before = table.get(key, MISSING)
            undo = partial(table.pop, key, None) if before is MISSING else partial(table.__setitem__, key, before)
            self.journal.append(undo)

    def note_items(self, items: dict[Any, Any]) -> None:
        """Remember all items of a mapping, and their order, before one is taken out: once in a call is enough."""
        if self.journal is None:
            return
        if not self.journal or self.journal[0] is not self._beginning:  # another call's
            self._copied.clear()
        if id(items) not in self._copied:
            self._copied.add(id(items))
            self.journal.append(partial(_refill, items, dict(items)))
            self._beginning = self.journal[0]

    def note_length(self, table: dict[Any, Any], key: Any, values: list[Any]) -> None:
        """Remember how long the list of ``key`` is, before something is appended to it."""
        if self.journal is not None:
            self.journal.append(partial(_shorten, table, key, values, len(values)))

    def note_deleted(self, values: list[Any], index: int) -> None:
        """Remember what is at ``index``, before that is taken out of a list which is kept on."""
        if self.journal is not None:
            self.journal.append(partial(values.insert, index, values[index]))


def _refill(items: dict[Any, Any], before: dict[Any, Any]) -> None:
    items.clear()
    items.update(before)


def _shorten(table: dict[Any, Any], key: Any, values: list[Any], length: int) -> None:
    del values[length:]
    if length:
        table[key] = values
    else:
        table.pop(key, None)


class KeyedState:
    """One piece of keyed state, as a function holds it: a door to what is kept for the key of the record in hand."""

    __slots__ = ("_context", "_name", "_states", "_table")

    _kind = ""

    def __init__(self, name: str, states: KeyedStates) -> None:
        self._name = name
        self._states = states
        self._context = states.context
        self._table = states.declare(name, self._kind)

    def clear(self) -> None:
        """Forget what is kept for this key."""
        key = self._key()
        if key in self._table:
            self._states.note(self._table, key)
            del self._table[key]

    def _key(self) -> Any:
        key = self._context.key
        return self._states.current_key(self._name) if key is None else key

    def __bool__(self) -> bool:
        raise TypeError(f"keyed state '{self._name}' is a door to a value: ask get()")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, KeyedState):
            return self is other
        raise TypeError(f"keyed state '{self._name}' is a door to a value: compare what get() gives")

    __hash__ = object.__hash__

    def __reduce__(self) -> Any:
        raise TypeError("keyed state is a door to what the engine keeps, and cannot be pickled")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{self._name}', {len(self._table):,} keys>"


class ValueState(KeyedState, Generic[Value]):
    """One value for each key."""

    __slots__ = ("_default",)

    _kind = "value"

    def __init__(self, name: str, states: KeyedStates, default: Value) -> None:
        try:
            hash(default)
        except TypeError:
            raise StateError(
                f"the default of keyed state '{name}' can be changed, and all keys would share it: {default!r:.100}",
                hint="leave the default out and set a new one where get() gives None; or use list_state or map_state",
            ) from None
        super().__init__(name, states)
        self._default = default

    def get(self) -> Value:
        """The value of this key; the default if none was set."""
        key = self._context.key
        if key is None:
            key = self._states.current_key(self._name)
        value: Value = self._table.get(key, self._default)
        return value

    def set(self, value: Value) -> None:
        """Keep ``value`` for this key."""
        key = self._context.key
        if key is None:
            key = self._states.current_key(self._name)
        if self._states.journal is not None:
            self._states.note(self._table, key)
        self._table[key] = value


class ListState(KeyedState, MutableSequence[Value]):
    """A list for each key, empty at first. It is used like any list."""

    __slots__ = ()

    _kind = "list"

    def append(self, value: Value) -> None:
        """Add one value at the end."""
        self.extend((value,))

    def extend(self, values: Iterable[Value]) -> None:
        """Add values at the end."""
        added = list(values)
        if added:
            key = self._key()
            kept = self._table.get(key)
            if kept is None:
                kept = []
            self._states.note_length(self._table, key, kept)
            kept.extend(added)
            self._table[key] = kept

    def insert(self, index: int, value: Value) -> None:
        """Add one value before that at ``index``."""
        kept = self.get()
        kept.insert(index, value)
        self.set(kept)

    def set(self, values: Iterable[Value]) -> None:
        """Replace the whole list."""
        kept, key = list(values), self._key()
        self._states.note(self._table, key)
        if kept:
            self._table[key] = kept
        else:
            self._table.pop(key, None)

    def get(self) -> list[Value]:
        """A copy of the list."""
        return list(self._kept())

    @overload
    def __getitem__(self, index: int) -> Value: ...
    @overload
    def __getitem__(self, index: slice) -> list[Value]: ...
    def __getitem__(self, index: int | slice) -> Value | list[Value]:
        return self._kept()[index]

    @overload
    def __setitem__(self, index: int, value: Value) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[Value]) -> None: ...
    def __setitem__(self, index: int | slice, value: Any) -> None:
        if isinstance(index, slice):
            kept = self.get()
            kept[index] = value
            self.set(kept)
        else:
            kept = self._kept()
            before = kept[index]
            if self._states.journal is not None:
                self._states.journal.append(partial(kept.__setitem__, index, before))
            kept[index] = value

    def __delitem__(self, index: int | slice) -> None:
        kept = self._kept()
        if isinstance(index, slice) or len(kept) == 1:
            kept = kept[:]
            del kept[index]
            self.set(kept)
        else:
            index = range(len(kept))[index]
            self._states.note_deleted(kept, index)
            del kept[index]

    def __len__(self) -> int:
        return len(self._kept())

    def __bool__(self) -> bool:
        return bool(self._kept())

    def __eq__(self, other: object) -> bool:
        return self._kept() == (list(other) if isinstance(other, ListState) else other)

    __hash__ = object.__hash__

    def __iter__(self) -> Iterator[Value]:
        return iter(self._kept())

    def _kept(self) -> list[Value]:
        kept: list[Value] = self._table.get(self._key(), _NOTHING)
        return kept


_NOTHING: list[Any] = []


class MapState(KeyedState, MutableMapping[MapKey, Value]):
    """A mapping for each key, empty at first. It is used like any dictionary."""

    __slots__ = ()

    _kind = "map"

    def __getitem__(self, name: MapKey) -> Value:
        value: Value = self._table.get(self._key(), _NO_ITEMS)[name]
        return value

    def __setitem__(self, name: MapKey, value: Value) -> None:
        key = self._key()
        items = self._table.get(key)
        if items is None:
            self._states.note(self._table, key)
            self._table[key] = {name: value}
        else:
            self._states.note(items, name)
            items[name] = value

    def __delitem__(self, name: MapKey) -> None:
        key = self._key()
        items = self._table.get(key, _NO_ITEMS)
        if name not in items:
            raise KeyError(name)
        if len(items) == 1:  # what is empty is not kept
            self.clear()
        else:
            self._states.note_items(items)
            del items[name]

    def __iter__(self) -> Iterator[MapKey]:
        return iter(self._table.get(self._key(), _NO_ITEMS))

    def __len__(self) -> int:
        return len(self._table.get(self._key(), _NO_ITEMS))

    def __bool__(self) -> bool:
        return len(self) > 0

    def __eq__(self, other: object) -> bool:
        return dict(self) == (dict(other) if isinstance(other, MapState) else other)

    __hash__ = object.__hash__

    def clear(self) -> None:
        """Forget all items of this key."""
        KeyedState.clear(self)


_NO_ITEMS: dict[Any, Any] = {}


class ReducingState(KeyedState, Generic[Value]):
    """One value for each key, to which others are added by a function."""

    __slots__ = ("_function",)

    _kind = "reducing"

    def __init__(self, name: str, states: KeyedStates, function: Callable[[Value, Value], Value]) -> None:
        super().__init__(name, states)
        self._function = function

    def add(self, value: Value) -> Value:
        """Combine ``value`` with what is kept, by ``function(kept, value)``. Returns the result, which is kept now."""
        key = self._key()
        kept = self._table.get(key, MISSING)
        result = value if kept is MISSING else self._function(kept, value)
        self._states.note(self._table, key)
        self._table[key] = result
        return result

    def get(self) -> Value | None:
        """What is kept for this key; None if nothing is."""
        return self._table.get(self._key())
