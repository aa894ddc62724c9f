"""Windows and joins by event time: the same results on every backend, at every parallelism."""

from __future__ import annotations

from typing import Any

from sage.core.api.windows import Count, Session, Sliding, Tumbling, Window
from sage.core.testing.conformance._functions import first, itself, second
from sage.core.testing.conformance._promises import promise
from sage.core.testing.conformance._timed import Event, events_of, opens
from sage.core.testing.conformance.kit import Kit, operator

__all__ = ["count", "interval_join", "late", "session", "sliding", "told", "tumbling", "windowed_join"]

_PAGE = "reference/windows.md"


def told(key: str, window: Window, records: list[Any]) -> list[Any]:
    return [(key, window.start, window.end, sorted(time for _, time in records))]


def _all(windows: dict[tuple[str, float, float], list[float]]) -> list[Any]:
    return sorted((*place, sorted(times)) for place, times in windows.items())


def _events(count: int) -> list[tuple[str, float]]:
    """Out of order by ten seconds at most."""
    return [("abc"[number % 3], float(number + (number * 7) % 11)) for number in range(count)]


@promise(
    "windows.tumbling",
    "Tumbling windows hold the records of their time, of each key, whatever the order of arrival.",
    f"{_PAGE}#which-windows-a-record-is-in",
)
def tumbling(kit: Kit) -> None:
    env, events = kit.environment(), _events(600)
    timed = env.from_batch(events).assign_timestamps(second, out_of_order=10).rebalance()
    windows = timed.map(itself, parallelism=2).keyby(first).window(Tumbling(50)).process(told, parallelism=3)
    found, late = windows.collect(), windows.late_records.collect()
    kit.run(env)
    expected: dict[tuple[str, float, float], list[float]] = {}
    for key, time in events:
        expected.setdefault((key, time // 50 * 50, time // 50 * 50 + 50), []).append(time)
    assert late == []
    assert sorted(found) == _all(expected)


@promise(
    "windows.sliding",
    "A record is in every sliding window that holds its time.",
    f"{_PAGE}#which-windows-a-record-is-in",
)
def sliding(kit: Kit) -> None:
    env, events = kit.environment(), _events(200)
    timed = env.from_batch(events).assign_timestamps(second, out_of_order=10)
    found = timed.keyby(first).window(Sliding(20, 5)).process(told, parallelism=2).collect()
    kit.run(env)
    expected: dict[tuple[str, float, float], list[float]] = {}
    for key, time in events:
        for start in range(int(time // 5 * 5) - 15, int(time) + 1, 5):
            expected.setdefault((key, float(start), start + 20.0), []).append(time)
    assert sorted(found) == _all(expected)


@promise(
    "windows.session",
    "A session holds what comes within its gap of each other, whatever the order of arrival.",
    f"{_PAGE}#which-windows-a-record-is-in",
)
def session(kit: Kit) -> None:
    env = kit.environment()
    events = [("a", 0.0), ("b", 1.0), ("a", 20.0), ("a", 9.0), ("b", 50.0), ("a", 100.0), ("a", 90.0)]
    timed = env.from_batch(events).assign_timestamps(second, out_of_order=100).rebalance()
    found = timed.keyby(first).window(Session(11)).process(told, parallelism=2).collect()
    kit.run(env)
    assert sorted(found) == [
        ("a", 0.0, 31.0, [0.0, 9.0, 20.0]),
        ("a", 90.0, 111.0, [90.0, 100.0]),
        ("b", 1.0, 12.0, [1.0]),
        ("b", 50.0, 61.0, [50.0]),
    ]


@promise(
    "windows.count",
    "Windows by count hold so many records of their key, in order.",
    f"{_PAGE}#which-windows-a-record-is-in",
)
def count(kit: Kit) -> None:
    env = kit.environment()
    numbers = env.from_batch(range(60)).rebalance().keyby(_third)
    found = numbers.window(Count(10)).process(_listed, parallelism=2).collect()
    kit.run(env)
    assert sorted(found) == sorted(
        [list(range(k, 30, 3)) for k in range(3)] + [list(range(30 + k, 60, 3)) for k in range(3)]
    )


def _third(number: int) -> int:
    return number % 3


def _listed(key: int, window: Window, records: list[int]) -> list[list[int]]:
    return [list(records)]


@promise(
    "windows.late",
    "What comes too late is dropped, counted, and put out on the side; what may come late fires again.",
    f"{_PAGE}#what-becomes-of-records-that-come-late-or-out-of-order",
)
def late(kit: Kit) -> None:
    env = kit.environment()
    events, gates = events_of(kit, env, [("k", time, mark) for time, mark in _ARRIVALS])
    spread = events.map(_without_mark).rebalance().map(itself)
    fired = spread.keyby(first).window(Tumbling(10), allowed_lateness=5).process(told, name="windows", parallelism=2)
    found, dropped = fired.collect(), fired.late_records.rebalance().collect()
    opens(gates, fired)
    metrics = kit.run(env).metrics
    assert found == [
        ("k", 0.0, 10.0, [3.0, 4.0, 8.0]),
        ("k", 0.0, 10.0, [3.0, 4.0, 7.0, 8.0]),
        ("k", 10.0, 20.0, [12.0]),
    ]
    assert dropped == [("k", 9.0)]
    assert operator(metrics, "windows").late == 1


_ARRIVALS = ((3.0, None), (8.0, None), (4.0, 10.0), (7.0, None), (12.0, 15.0), (9.0, None))
"""Times, and watermarks that follow."""


def _without_mark(event: Event) -> tuple[str, float]:
    return event[:2]


@promise(
    "windows.interval-join",
    "An interval join pairs records that are near each other in time, each pair once.",
    "reference/joins.md#interval-joins",
)
def interval_join(kit: Kit) -> None:
    env = kit.environment()
    left = env.from_batch([("a", 0.0), ("b", 7.0), ("a", 40.0)], uid="l").assign_timestamps(
        second, out_of_order=50, uid="lt"
    )
    right = env.from_batch([("a", 5.0), ("a", 3.0), ("a", 41.0), ("b", 99.0)], uid="r").assign_timestamps(
        second, out_of_order=50, uid="rt"
    )
    pairs = left.connect(right).keyby(first, first).join(_times, within=(0, 10), how="left", parallelism=2).collect()
    kit.run(env)
    assert sorted(pairs, key=str) == [(0.0, 3.0), (0.0, 5.0), (40.0, 41.0), (7.0, None)]


@promise(
    "windows.join",
    "A windowed join pairs all that a window holds of both streams.",
    "reference/joins.md#windowed-joins",
)
def windowed_join(kit: Kit) -> None:
    env = kit.environment()
    left = env.from_batch([("a", 1.0), ("a", 12.0)], uid="l").assign_timestamps(second, uid="lt")
    right = env.from_batch([("a", 3.0), ("a", 9.0), ("b", 3.0)], uid="r").assign_timestamps(
        second, out_of_order=9, uid="rt"
    )
    keyed = left.rebalance().connect(right.rebalance()).keyby(first, first)
    pairs = keyed.join(_times, window=Tumbling(10), how="outer", parallelism=2).collect()
    kit.run(env)
    assert sorted(pairs, key=str) == [(1.0, 3.0), (1.0, 9.0), (12.0, None), (None, 3.0)]


def _times(left: tuple[str, float] | None, right: tuple[str, float] | None) -> tuple[float | None, float | None]:
    return left and left[1], right and right[1]
