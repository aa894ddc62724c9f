"""The checks for connectors: those built in pass, and broken ones do not."""

from __future__ import annotations

import os
import subprocess
import sys
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

    def __deepcopy__(self, memo: object) -> object:
        return type(self)() if self.broken != "no copy" else EmptyNumbers()

    def partitions(self) -> Sequence[str]:
        return {"twice": ["a", "a"], "text": "a", "no text": [1]}.get(self.broken, ["a"])  # type: ignore[return-value]

    def open(self, partition: str, position: Any) -> Any:
        reader = self if self.broken == "shared" else type(self)()
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


class EmptyNumbers(Numbers):
    def read(self, n: int) -> Any:
        return STOP


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
        ("shared", "readers that take turns"),
        ("no copy", "a copy must give the same"),
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


CLASSES = """
import numbers_to_try

from sage.core.testing import SinkConformance, SourceConformance


class TestSource(SourceConformance):
    def source(self):
        return numbers_to_try.Source(5)

    def expected(self):
        return [0, 1, 2, 3, 4]


class TestBroken(SourceConformance):
    def source(self):
        return numbers_to_try.Source(5)

    def expected(self):
        return [0, 1, 2, 3]


class TestSink(SinkConformance):
    def sink(self):
        return numbers_to_try.Sink("out")

    def records(self):
        return [7, 8]

    def published(self):
        return numbers_to_try.seen("out")
"""

NUMBERS = """
import pathlib

from sage.core.connectors.api import STOP
from sage.core.plugins import hookimpl


class Source:
    bounded = True

    def __init__(self, count, path=None):
        self.numbers = list(range(count)) if path is None else seen(path)

    def partitions(self):
        return ["all"]

    def open(self, partition, position):
        return Reader(self.numbers, position or 0)


class Reader:
    def __init__(self, numbers, next):
        self.numbers, self.next = numbers, next

    def read(self, n):
        found = self.numbers[self.next : self.next + n]
        self.next += len(found)
        return found or STOP

    def position(self):
        return self.next

    def wait(self, timeout): ...

    def close(self): ...


class Sink:
    delivery = "at-least-once"

    def __init__(self, path):
        self.path = path

    def open(self, context):
        self.file = open(self.path, "a")

    def write(self, records):
        print(*records, sep="\\n", file=self.file)

    def close(self):
        self.file.close()


def seen(path):
    path = pathlib.Path(path)
    return list(map(int, path.read_text().split())) if path.exists() else []


class Connector:
    def source(self, path, count=0):
        return Source(count, path)

    def sink(self, path):
        return Sink(path)


@hookimpl
def sage_connector(name):
    return Connector()
"""


def run_pytest(folder: Path, *arguments: str) -> str:
    """Run pytest where a distribution with a connector `numbers` is installed."""
    (folder / "numbers_to_try.py").write_text(NUMBERS)
    facts = folder / "numbers_to_try-1.0.dist-info"
    facts.mkdir(exist_ok=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: numbers-to-try\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[sage.connectors]\nnumbers = numbers_to_try\n")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("SAGE_")} | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.stdout


def test_classes_of_tests_are_the_same_promises(tmp_path: Path) -> None:
    """Derived from, each promise is a test of its own; those of another delivery are skipped."""
    (tmp_path / "test_classes.py").write_text(CLASSES)
    printed = run_pytest(tmp_path, "test_classes.py")
    assert "2 failed, 12 passed, 4 skipped" in printed
    assert "TestBroken::test_portions" in printed
    assert "TestBroken::test_copies" in printed


def test_a_connector_is_tried_by_its_name(tmp_path: Path) -> None:
    """With options of its source and its sink; what was not given is told."""
    (tmp_path / "records.jsonl").write_text("7\n8\n")
    (tmp_path / "out").write_text("1\n2\n3\n")
    kit = ["--pyargs", "sage.core.testing.conformance", "--sage-connector", "numbers"]
    option = ["--sage-connector-option", "path=out"]
    printed = run_pytest(tmp_path, *kit, *option, "--sage-connector-records", "records.jsonl")
    assert "8 kept, 0 broken, 4 not claimed" in printed, printed
    assert (tmp_path / "out").read_text().split() == ["1", "2", "3", "7", "8"]
    printed = run_pytest(tmp_path, *kit, *option, "--sage-connector-option", "source.count=3")
    assert "6 kept, 0 broken, 6 not claimed" in printed, printed
    (tmp_path / "out").write_text("")
    printed = run_pytest(tmp_path, *kit, *option)
    assert "give it options by which it has some records" in printed, printed
    assert "numbres" in run_pytest(tmp_path, *kit[:-1], "numbres")
