"""Keyed state that expires: a time to live for values, for lists and maps that of each item.

All times are whole microseconds, so that they compare exactly. What has expired is never seen; it is removed by
`Expiry.sweep`, a bounded number of keys at a time, though nobody asks for it any more. For that each key waits in the
bucket of the time when the oldest of what it keeps expires. A later write leaves it there: it moves on when its
bucket's time has come, at most once in a sixteenth of the time to live, so that a write costs no more than noting
its time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, Literal, TypeVar, overload

from sage.core.engine.keyed_state import (
    KeyedState,
    KeyedStates,
    ListState,
    MapState,
    ReducingState,
    ValueState,
)
from sage.core.errors import StateError

__all__ = [
    "ExpiringListState",
    "ExpiringMapState",
    "ExpiringReducingState",
    "ExpiringValueState",
    "Expiry",
    "TimeToLive",
]

Value = TypeVar("Value")
MapKey = TypeVar("MapKey")

_BUCKETS = 16
"""In one time to live: what has expired takes room for a sixteenth of it more, at most."""

_FINEST = 100_000
"""Microseconds of the smallest bucket: waking up for less would cost more than it frees."""

_MICROS = 1_000_000


class TimeToLive:
    """How long something is kept, as it was asked for.

    Args:
        name: of the state.
        ttl: seconds, or a timedelta.
        time: by which time.
        refresh: what lets it live on: writing it, or reading it, too.

    Attributes:
        micros: how long, in microseconds.

    Raises:
        StateError: something of it makes no sense.
    """

    def __init__(self, name: str, ttl: float | timedelta, time: str, refresh: str) -> None:
        seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 1e-6 <= seconds < 1e10:
            raise StateError(
                f"the time to live of keyed state '{name}' must be seconds above 0 or a timedelta, not {ttl!r}",
                hint="leave ttl out for what is to be kept for good",
            )
        for told, value, allowed in (
            ("ttl_time", time, ("processing", "event")),
            ("ttl_refresh", refresh, ("write", "read")),
        ):
            if value not in allowed:
                raise StateError(
                    f"{told} of keyed state '{name}' must be '{allowed[0]}' or '{allowed[1]}', not {value!r}",
                    hint=f"leave it out for '{allowed[0]}'",
                )
        self.micros = round(seconds * _MICROS)
        self.time: Literal["processing", "event"] = "event" if time == "event" else "processing"
        self.on_read = refresh == "read"


class Expiry:
    """When what one state keeps expires, and which keys to look at then.

    The state's table has ``(kept, written, bucket)`` for each key: what is kept, when it was written, and in which
    bucket the key waits. For lists and maps ``kept`` and ``written`` are lists or dictionaries themselves, item by
    item.

    Args:
        states: those of the operator.
        name: of the state.
        ttl: how long.
        each: whether items expire by themselves.

    Attributes:
        ttl: in microseconds.
        now: one item: the time of the record in hand.
        on_read: whether what is read lives on.
    """

    __slots__ = ("_buckets", "_grain", "_order", "_states", "_table", "each", "now", "on_read", "time", "ttl")

    def __init__(self, states: KeyedStates, name: str, ttl: TimeToLive, *, each: bool) -> None:
        self._states = states
        self._table = states.tables[name]
        self.time = ttl.time
        self.ttl = ttl.micros
        self.on_read = ttl.on_read
        self.each = each
        self.now = states.times[ttl.time]
        self._grain = max(self.ttl // _BUCKETS, _FINEST)
        self._buckets: dict[int, set[Any]] = {}
        self._order: list[int] = []
        states.expiries[name] = self

    @property
    def due(self) -> int | None:
        """When there is something to be removed; None for never."""
        return self._order[0] * self._grain if self._order else None

    def sweep(self, now: int, limit: int) -> int:
        """Remove what has expired at ``now``. Returns how much was looked at: about ``limit`` at most."""
        looked = 0
        while self._order and self._order[0] * self._grain <= now and looked < limit:
            number = self._order[0]
            keys = self._buckets[number]
            while keys and looked < limit:
                looked += self._look_at(keys.pop(), now)
            if not keys:
                heapq.heappop(self._order)
                del self._buckets[number]
        return looked

    def _look_at(self, key: Any, now: int) -> int:
        kept, written, _ = self._table[key]
        looked = len(kept) if self.each else 1
        oldest = written
        if self.each:
            kept, written = self.living(kept, written, now)
            oldest = min(written.values() if isinstance(written, dict) else written, default=now - self.ttl)
        if now - oldest >= self.ttl:
            del self._table[key]
        else:
            self._table[key] = kept, written, self._wait(key, oldest)
        return looked

    def living(self, kept: Any, written: Any, now: int) -> tuple[Any, Any]:
        """Those items, and their times, that have not expired at ``now``."""
        ttl = self.ttl
        if isinstance(kept, dict):
            times = {name: time for name, time in written.items() if now - time < ttl}
            return {name: item for name, item in kept.items() if name in times}, times
        alive = [(item, time) for item, time in zip(kept, written, strict=True) if now - time < ttl]
        return [item for item, _ in alive], [time for _, time in alive]

    def all_live(self, bucket: int) -> bool:
        """Whether nothing of a key can have expired yet, by the bucket that it waits in."""
        return self.now[0] < (bucket - 1) * self._grain

    def put(self, key: Any, kept: Any, written: Any, oldest: int) -> None:
        """Keep this for ``key``, in place of whatever there is."""
        before = self._table.get(key)
        if self._states.journal is not None:
            self._states.journal.append(partial(self.put_back, key, before))
        if before is not None:
            self._leave(key, before[2])
        self._table[key] = kept, written, self._wait(key, oldest)

    def update(self, key: Any, before: Any, kept: Any, written: Any) -> None:
        """Keep this for ``key``, of which nothing expires sooner than of what there is."""
        if self._states.journal is not None:
            self._states.journal.append(partial(self.put_back, key, before))
        self._table[key] = kept, written, before[2]

    def drop(self, key: Any) -> None:
        """Keep nothing for ``key``."""
        before = self._table.get(key)
        if before is not None:
            if self._states.journal is not None:
                self._states.journal.append(partial(self.put_back, key, before))
            del self._table[key]
            self._leave(key, before[2])

    def put_back(self, key: Any, before: Any) -> None:
        """Keep what was kept before; None for nothing."""
        now = self._table.pop(key, None)
        if now is not None:
            self._leave(key, now[2])
        if before is not None:
            self._table[key] = before
            self._enter(key, before[2])

    def be_looked_at(self, key: Any, written: int) -> None:
        """Something of ``key`` was written at this time, which may be before all else: events come in any order."""
        entry = self._table[key]
        kept, times, bucket = entry
        if (written + self.ttl) // self._grain + 1 < bucket:
            if self._states.journal is not None:
                self._states.journal.append(partial(self.put_back, key, entry))
            self._leave(key, bucket)
            self._table[key] = kept, times, self._wait(key, written)

    def _wait(self, key: Any, oldest: int) -> int:
        bucket = (oldest + self.ttl) // self._grain + 1  # begins when it has expired
        self._enter(key, bucket)
        return bucket

    def _enter(self, key: Any, bucket: int) -> None:
        keys = self._buckets.get(bucket)
        if keys is None:
            keys = self._buckets[bucket] = set()
            heapq.heappush(self._order, bucket)
        keys.add(key)

    def _leave(self, key: Any, bucket: int) -> None:
        self._buckets[bucket].discard(key)

    def saved(self, now: int) -> dict[Any, Any]:
        """By key what is kept and when it was written: how long ago, or for event time when."""
        found = {}
        for key, (kept, written, _) in self._table.items():
            if self.each:
                kept, written = self.living(kept, written, now)
                if not kept:
                    continue
            elif now - written >= self.ttl:
                continue
            found[key] = kept, self._turned(written, now)
        return found

    def restore(self, items: Iterable[tuple[Any, Any]], now: int) -> None:
        """Keep what `saved` has given, at another time, perhaps for another time to live."""
        for key, (kept, saved) in items:
            written = self._turned(saved, now)
            oldest = written
            if self.each:
                kept, written = self.living(kept, written, now)
                oldest = min(written.values() if isinstance(written, dict) else written, default=now - self.ttl)
            if now - oldest < self.ttl:
                self._table[key] = kept, written, self._wait(key, oldest)

    def restore_ageless(self, items: Iterable[tuple[Any, Any]], now: int) -> None:
        """Keep what was saved when it had no time to live, as if it were written now."""
        for key, kept in items:
            written: Any = now
            if self.each:
                written = dict.fromkeys(kept, now) if isinstance(kept, dict) else [now] * len(kept)
            self._table[key] = kept, written, self._wait(key, now)

    def _turned(self, written: Any, now: int) -> Any:
        """Times into ages, and ages into times; times of events stay as they are."""
        if self.time == "event":
            return written
        if isinstance(written, dict):
            return {name: now - time for name, time in written.items()}
        return [now - time for time in written] if isinstance(written, list) else now - written


class ExpiringValueState(ValueState[Value]):
    """One value for each key, which expires."""

    __slots__ = ("_expiry", "_now", "_ttl")

    def __init__(self, name: str, states: KeyedStates, default: Value, ttl: TimeToLive) -> None:
        super().__init__(name, states, default)
        self._expiry = Expiry(states, name, ttl, each=False)
        self._now = self._expiry.now
        self._ttl = self._expiry.ttl

    def get(self) -> Value:
        key = self._context.key
        if key is None:
            key = self._states.current_key(self._name)
        entry = self._table.get(key)
        if entry is None or self._now[0] - entry[1] >= self._ttl:
            return self._default
        if self._expiry.on_read:
            _read(self, self._expiry)
        value: Value = entry[0]
        return value

    def set(self, value: Value) -> None:
        key = self._context.key
        if key is None:
            key = self._states.current_key(self._name)
        entry, now = self._table.get(key), self._now[0]
        if entry is None or self._states.journal is not None:
            _write(self, self._expiry, value)
        else:
            self._table[key] = value, now if now > entry[1] else entry[1], entry[2]

    def clear(self) -> None:
        self._expiry.drop(self._key())


class ExpiringReducingState(ReducingState[Value]):
    """One value for each key, to which others are added; it expires."""

    __slots__ = ("_expiry",)

    def __init__(
        self, name: str, states: KeyedStates, function: Callable[[Value, Value], Value], ttl: TimeToLive
    ) -> None:
        super().__init__(name, states, function)
        self._expiry = Expiry(states, name, ttl, each=False)

    def add(self, value: Value) -> Value:
        found = _read(self, self._expiry)
        result = value if found is None else self._function(found[0], value)
        _write(self, self._expiry, result)
        return result

    def get(self) -> Value | None:
        found = _read(self, self._expiry)
        return None if found is None else found[0]

    def clear(self) -> None:
        self._expiry.drop(self._key())


def _read(state: KeyedState, expiry: Expiry) -> Any:
    """What is kept for the key in hand, ``(value, …)``; None if there is nothing, or it has expired."""
    key = state._key()
    entry = state._table.get(key)
    if entry is None:
        return None
    now = expiry.now[0]
    if now - entry[1] >= expiry.ttl:
        return None
    if expiry.on_read and now > entry[1]:
        expiry.update(key, entry, entry[0], now)
    return entry


def _write(state: KeyedState, expiry: Expiry, value: Any) -> None:
    key, now = state._key(), expiry.now[0]
    entry = state._table.get(key)
    if entry is None:
        expiry.put(key, value, now, now)
    else:
        expiry.update(key, entry, value, max(now, entry[1]))


class ExpiringListState(ListState[Value]):
    """A list for each key, whose items expire each by itself."""

    __slots__ = ("_expiry",)

    def __init__(self, name: str, states: KeyedStates, ttl: TimeToLive) -> None:
        super().__init__(name, states)
        self._expiry = Expiry(states, name, ttl, each=True)

    def extend(self, values: Iterable[Value]) -> None:
        added = list(values)
        if not added:
            return
        expiry, key = self._expiry, self._key()
        now = expiry.now[0]
        entry = self._table.get(key)
        if entry is None:
            expiry.put(key, added, [now] * len(added), now)
            return
        kept, written, _ = entry
        if self._states.journal is not None:
            self._states.journal.append(partial(self._shorten, key, entry, len(kept)))
        kept += added
        written += [now] * len(added)
        expiry.be_looked_at(key, now)

    def _shorten(self, key: Any, entry: Any, length: int) -> None:
        kept, written, _ = entry
        del kept[length:], written[length:]
        self._expiry.put_back(key, entry)

    def insert(self, index: int, value: Value) -> None:
        kept, written = self._living()
        kept.insert(index, value)
        written.insert(index, self._expiry.now[0])
        self._put(kept, written)

    def set(self, values: Iterable[Value]) -> None:
        kept = list(values)
        self._put(kept, [self._expiry.now[0]] * len(kept))

    @overload
    def __setitem__(self, index: int, value: Value) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[Value]) -> None: ...
    def __setitem__(self, index: int | slice, value: Any) -> None:
        kept, written = self._living()
        now = self._expiry.now[0]
        if isinstance(index, slice):
            added = list(value)
            kept[index] = added
            written[index] = [now] * len(added)
        else:
            kept[index] = value
            written[index] = now
        self._put(kept, written)

    def __delitem__(self, index: int | slice) -> None:
        kept, written = self._living()
        del kept[index], written[index]
        self._put(kept, written)

    def clear(self) -> None:
        self._expiry.drop(self._key())

    def _living(self) -> tuple[list[Value], list[int]]:
        """Copies of the items that can be seen, and their times."""
        entry = self._table.get(self._key())
        return ([], []) if entry is None else self._expiry.living(entry[0], entry[1], self._expiry.now[0])

    def _put(self, kept: list[Value], written: list[int]) -> None:
        key = self._key()
        if kept:
            self._expiry.put(key, kept, written, min(written))
        else:
            self._expiry.drop(key)

    def _kept(self) -> list[Value]:
        expiry, key = self._expiry, self._key()
        entry = self._table.get(key)
        if entry is None:
            return []
        kept: list[Value] = entry[0]
        written = entry[1]
        if not expiry.all_live(entry[2]):
            kept, written = expiry.living(kept, written, expiry.now[0])
        if expiry.on_read and kept:
            now = expiry.now[0]
            expiry.update(key, entry, kept[:], [max(now, time) for time in written])
        return kept


class ExpiringMapState(MapState[MapKey, Value]):
    """A mapping for each key, whose items expire each by itself."""

    __slots__ = ("_expiry",)

    def __init__(self, name: str, states: KeyedStates, ttl: TimeToLive) -> None:
        super().__init__(name, states)
        self._expiry = Expiry(states, name, ttl, each=True)

    def __getitem__(self, name: MapKey) -> Value:
        expiry = self._expiry
        entry = self._table.get(self._key())
        if entry is None:
            raise KeyError(name)
        kept, written, _ = entry
        value: Value = kept[name]
        time, now = written[name], expiry.now[0]
        if now - time >= expiry.ttl:
            raise KeyError(name)
        if expiry.on_read and now > time:
            self._states.note(written, name)
            written[name] = now
        return value

    def __setitem__(self, name: MapKey, value: Value) -> None:
        expiry, key = self._expiry, self._key()
        now = expiry.now[0]
        entry = self._table.get(key)
        if entry is None:
            expiry.put(key, {name: value}, {name: now}, now)
            return
        kept, written, _ = entry
        time = written.get(name, now)
        if now - time >= expiry.ttl:  # to everybody it is a new one, which comes last
            self._states.note_items(kept)
            self._states.note_items(written)
            del kept[name], written[name]
            time = now
        self._states.note(kept, name)
        self._states.note(written, name)
        kept[name] = value
        written[name] = max(now, time)
        expiry.be_looked_at(key, written[name])

    def __delitem__(self, name: MapKey) -> None:
        expiry, key = self._expiry, self._key()
        entry = self._table.get(key)
        if entry is None or name not in entry[0] or expiry.now[0] - entry[1][name] >= expiry.ttl:
            raise KeyError(name)
        kept, written, _ = entry
        if len(kept) == 1:
            expiry.drop(key)
        else:
            self._states.note_items(kept)
            self._states.note_items(written)
            del kept[name], written[name]

    def __contains__(self, name: object) -> bool:
        entry = self._table.get(self._key())
        return entry is not None and name in entry[0] and self._expiry.now[0] - entry[1][name] < self._expiry.ttl

    def __iter__(self) -> Iterator[MapKey]:
        return iter(self._living())

    def __len__(self) -> int:
        return len(self._living())

    def clear(self) -> None:
        self._expiry.drop(self._key())

    def _living(self) -> dict[MapKey, Value]:
        entry = self._table.get(self._key())
        if entry is None:
            return {}
        kept: dict[MapKey, Value] = entry[0]
        if not self._expiry.all_live(entry[2]):
            kept, _ = self._expiry.living(kept, entry[1], self._expiry.now[0])
        return kept
