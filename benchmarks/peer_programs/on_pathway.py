"""The works on Pathway, from a connector written in Python to a callback for each change.

Its count per key is of another kind: it follows commits, not records, so of the counts between two commits only the
last is seen. W5 is not for it: arrays are copied into its engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import pathway as pw
from pathway.internals.parse_graph import G
from work import (
    CALLS,
    CONCURRENCY,
    Clock,
    Result,
    Way,
    add_one,
    double,
    fetch,
    measure,
    not_by_three,
    numbers,
    step,
    take_arrival,
    take_number,
    words,
)


class Number(pw.Schema):
    value: int


class Word(pw.Schema):
    value: str


class Stamped(pw.Schema):
    handed_out: float
    number: int


class Given(pw.io.python.ConnectorSubject):
    def __init__(self, records: Callable[[], Iterator[Any]]) -> None:
        super().__init__()
        self.records = records

    def run(self) -> None:
        for record in self.records():
            self.next(value=record)

    @property
    def _deletions_enabled(self) -> bool:
        return False


class Clocked(pw.io.python.ConnectorSubject):
    """Commits each record, so that none waits for the next commit by time."""

    def run(self) -> None:
        for handed_out, number in Clock():
            self.next(handed_out=handed_out, number=number)
            self.commit()

    @property
    def _deletions_enabled(self) -> bool:
        return False


def go() -> None:
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
    G.clear()


def read(records: Callable[[], Iterator[Any]], schema: Any) -> Any:
    return pw.io.python.read(Given(records), schema=schema, autocommit_duration_ms=100)


def on_number(key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
    take_number(row["value"])


def chain() -> None:
    table = read(numbers, Number)
    for function in (add_one, double):
        table = table.select(value=pw.apply(function, table.value))
    table = table.filter(pw.apply(not_by_three, table.value))
    table = table.select(value=pw.apply(add_one, table.value))
    pw.io.subscribe(table, on_number)
    go()


def count() -> None:
    final: dict[str, int] = {}

    def on_count(key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
        if is_addition:
            final[row["value"]] = row["count"]

    table = read(words, Word)
    pw.io.subscribe(table.groupby(table.value).reduce(table.value, count=pw.reducers.count()), on_count)
    go()
    Result.total = sum(count * (count + 1) // 2 for count in final.values())  # what all counts on the way add up to


def waits() -> None:
    fetched = pw.udf(fetch, executor=pw.udfs.async_executor(capacity=CONCURRENCY))
    table = read(lambda: iter(range(CALLS)), Number)
    pw.io.subscribe(table.select(value=fetched(table.value)), on_number)
    go()


@pw.udf
def step_number(handed_out: float, number: int) -> int:
    return step((handed_out, number))[1]


def latency() -> None:
    def on_arrival(key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
        take_arrival((row["handed_out"], row["number"]))

    table = pw.io.python.read(Clocked(), schema=Stamped, autocommit_duration_ms=None)
    for _ in range(3):
        table = table.select(table.handed_out, number=step_number(table.handed_out, table.number))
    pw.io.subscribe(table, on_arrival)
    go()


WAYS: dict[str, list[Way]] = {
    "W1": [("pathway", chain)],
    "W2": [("pathway, per commit", count)],
    "W3": [("pathway", waits)],
    "W6": [("pathway", latency)],
}

if __name__ == "__main__":
    measure(version("pathway"), WAYS)
