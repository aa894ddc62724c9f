"""The checks for connectors: those built in pass, and broken ones do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sage.core.connectors.api import STOP
from sage.core.connectors.files import CsvSink, CsvSource, JsonlSink, JsonlSource, TextSink, TextSource
from sage.core.connectors.files.sink import FileSink
from sage.core.testing import check_sink, check_source


def test_sources_of_files_keep_the_contract(tmp_path: Path) -> None:
    """In one range and in several, with lines that are unusable among the others."""
    (tmp_path / "in").write_bytes(b"1\n\xff\n22\n\n3")
    check_source(TextSource(tmp_path / "in"), ["1", "22", "", "3"])
    check_source(TextSource(tmp_path / "in", split_size=2), ["1", "22", "", "3"])
    check_source(JsonlSource(tmp_path / "in", split_size=3), [1, 22, 3])
    (tmp_path / "in.csv").write_bytes(b'a,b\n1,"2\n3"\nx\n"4\n5",6\n')
    check_source(CsvSource(tmp_path / "in.csv"), [{"a": "1", "b": "2\n3"}, {"a": "4\n5", "b": "6"}])


@pytest.mark.parametrize(
    ("make", "records", "text"),
    [
        (TextSink, ["a", "b"], "a\nb\n"),
        (JsonlSink, [1, [2]], "1\n[2]\n"),
        (CsvSink, [{"a": 1}, {"a": 2}], "a\n1\n2\n"),
    ],
)
def test_sinks_of_files_keep_the_contract(
    tmp_path: Path, make: Callable[[Path], FileSink], records: list[Any], text: str
) -> None:
    """Nothing is seen before it is committed."""
    path = tmp_path / "out"

    def published() -> list[Any]:
        return records if path.exists() and path.read_text() == text else []

    check_sink(lambda: make(path), records, published)


class Numbers:
    """A source that keeps the contract, and its own reader."""

    bounded = True
    broken = ""

    def __init__(self) -> None:
        self.next = 0

    def partitions(self) -> Sequence[str]:
        return {"twice": ["a", "a"], "text": "a", "no text": [1]}.get(self.broken, ["a"])  # type: ignore[return-value]

    def open(self, partition: str, position: Any) -> Any:
        reader = type(self)()
        reader.next = 0 if position is None or self.broken == "begins anew" else position
        return reader

    def read(self, n: int) -> Any:
        if self.broken == "never ends":
            return []
        if self.next >= 5:
            return STOP
        first, self.next = self.next, min(5, self.next + n)
        if self.broken == "too many":
            self.next = 5
        found = list(range(first, self.next))
        return {"no list": tuple(found), "other": [9]}.get(self.broken, found)

    def position(self) -> Any:
        return {"ahead": self.next + 1}.get(self.broken, self.next)

    def wait(self, timeout: float) -> None: ...

    def close(self) -> None: ...


def test_a_source_that_keeps_the_contract_passes() -> None:
    """Whatever it is."""
    check_source(Numbers(), range(5))


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("twice", "must name each once"),
        ("text", "must return a list of names"),
        ("no text", "must return names"),
        ("begins anew", "it must give just what had not been read"),
        ("ahead", "it must give just what had not been read"),
        ("never ends", "a partition must end"),
        ("too many", "must return 1 records at most"),
        ("no list", "must return a list, None or STOP"),
        ("other", "must give the records in order"),
    ],
)
def test_a_source_that_breaks_the_contract_is_told_how(broken: str, reason: str) -> None:
    """The first thing that is not as promised."""
    source = type("Broken", (Numbers,), {"broken": broken})()
    with pytest.raises(AssertionError, match=reason):
        check_source(source, range(5))


class Table:
    """A transactional sink in memory."""

    delivery = "transactional"
    broken = ""
    seen: list[Any]
    pending: list[Any]

    def open(self, context: Any) -> None:
        self.pending = []

    def write(self, records: list[Any]) -> None:
        (self.seen if self.broken == "at once" else self.pending).extend(records)

    def prepare(self, n: int) -> Any:
        if self.broken == "prepared":
            self.seen.extend(self.pending)
        return list(self.pending)

    def commit(self, handle: Any) -> None:
        if self.broken == "again" or not self.seen:
            self.seen.extend(handle)

    def abort(self, handle: Any) -> None:
        if self.broken == "abort":
            self.seen.extend(handle)

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("at once", "must give up what was not prepared"),
        ("prepared", "nothing may be seen of what was prepared"),
        ("abort", "must give up what was prepared"),
        ("again", "must do nothing for what was committed before"),
        ("", None),
    ],
)
def test_a_sink_that_breaks_the_contract_is_told_how(broken: str, reason: str | None) -> None:
    """The first thing that is not as promised; one that keeps it passes."""
    seen: list[Any] = []
    kind: Any = type("Broken", (Table,), {"broken": broken, "seen": seen})
    if reason is None:
        check_sink(kind, [1, 2], lambda: seen)
        return
    with pytest.raises(AssertionError, match=reason):
        check_sink(kind, [1, 2], lambda: seen)
