"""Files as sources: a position from which reading goes on, and what became of a file meanwhile."""

from __future__ import annotations

import errno
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage.core.connectors.api import STOP, ConnectorError, Reader, RecordError
from sage.core.connectors.files import CsvSource, JsonlSource, TextSource, lines
from sage.core.connectors.files.source import FileSource

TEXT = st.text(st.sampled_from('ab ,"\n\r\n\n;é☃\U0001f600\u2028\x85\x00\ufeff1'), max_size=60).map(str.encode)
BYTES = st.lists(st.sampled_from([b"a", b",", b'"', b"\n", b"\r\n", b"\r", b"\xe2\x98\x83", b"\xff", b"1"])).map(
    b"".join
)
JSON = st.lists(
    st.sampled_from([b"1", b'{"a": "\xe2\x98\x83"}', b"", b"  ", b"nope", b"[1, 2]", b"null", b'"\xff"', b" 3 "])
).flatmap(lambda items: st.sampled_from([b"\n", b"\r\n"]).map(lambda end: end.join(items)))
ROWS = st.lists(
    st.sampled_from([b"1,2", b'"1\n2",3', b'"",', b"", b"1", b'"x""y",\xe2\x98\x83', b'"\r\n,",2', b'"1"2,3', b'"'])
).flatmap(lambda items: st.sampled_from([b"\n", b"\r\n"]).map(lambda end: end.join([b"a,b", *items])))

KINDS: dict[str, tuple[Callable[[Path], FileSource], st.SearchStrategy[bytes]]] = {
    "text": (TextSource, TEXT | BYTES),
    "utf-8-sig": (lambda path: TextSource(path, encoding="utf-8-sig"), TEXT | BYTES),
    "latin-1": (lambda path: TextSource(path, encoding="latin-1"), BYTES),
    "jsonl": (JsonlSource, JSON | TEXT),
    "csv": (lambda path: CsvSource(path, columns=["a", "b"]), ROWS | TEXT | BYTES),
    "csv with header": (CsvSource, ROWS),
    "csv without quotes": (lambda path: CsvSource(path, columns=["a", "b"], quoting="none"), ROWS | BYTES),
}


@contextmanager
def reading_ahead(size: int) -> Iterator[None]:
    """Read files in pieces of so many bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_AHEAD", size)
        yield


def events(reader: Reader, n: int, most: int | None = None) -> list[Any]:
    """Records, and for those that cannot be read their line and what is there; at most ``most`` calls of `read`."""
    found: list[Any] = []
    calls = 0
    while calls != most:
        calls += 1
        try:
            got = reader.read(n)
        except RecordError as error:
            found.append(("error", error.line, error.record, error.message))
            continue
        if got is STOP:
            break
        assert isinstance(got, list)
        found += [("record", record) for record in got]
    return found


def whole_of(reader: Reader, n: int) -> list[Any]:
    """All `events` of a reader, which is closed then."""
    with closing(reader):
        return events(reader, n)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=120)
def test_reading_goes_on_exactly_where_it_was_left(kind: str, data: st.DataObject) -> None:
    """After any number of reads of any size, with any size of pieces, the rest is the rest."""
    make, contents = KINDS[kind]
    content = data.draw(contents)
    sizes = st.integers(1, 12)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in"
        path.write_bytes(content)
        source = make(path)
        (partition,) = source.partitions()
        whole = whole_of(source.open(partition, None), 1000)
        with reading_ahead(data.draw(sizes)):
            reader = source.open(partition, None)
            before = events(reader, data.draw(sizes), data.draw(st.integers(0, 10)))
            place = pickle.loads(pickle.dumps(reader.position()))
            rest = events(reader, 3)
            reader.close()
        with reading_ahead(data.draw(sizes)):
            again = source.open(partition, place)
            assert again.position() == place
            assert events(again, data.draw(sizes)) == rest
            again.close()
        assert before + rest == whole


@pytest.mark.parametrize("kind", ["text", "utf-8-sig", "latin-1", "jsonl"])
@given(data=st.data())
@settings(max_examples=120)
def test_every_line_is_in_just_one_range(kind: str, data: st.DataObject) -> None:
    """However a file is cut, and in whatever pieces it is read, its ranges hold what the whole file does, in order."""
    make, contents = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in"
        path.write_bytes(data.draw(contents))
        source = make(path)
        whole = whole_of(source.open(source.partitions()[0], None), 1000)
        source.split_size = data.draw(st.integers(1, 20))
        with reading_ahead(data.draw(st.integers(1, 12))):
            found = [event for name in source.partitions() for event in whole_of(source.open(name, None), 5)]
        assert found == whole


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=60)
def test_a_read_that_fails_may_be_tried_again(kind: str, data: st.DataObject) -> None:
    """Whenever the disk fails, and however often: nothing is lost, nothing comes twice."""
    make, contents = KINDS[kind]
    failing = data.draw(st.sets(st.integers(0, 30), max_size=8))
    calls = iter(range(1_000_000))
    read = os.read

    def flaky(file: int, size: int) -> bytes:
        if next(calls) in failing:
            raise OSError(errno.EIO, "Input/output error")
        return read(file, size)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in"
        path.write_bytes(data.draw(contents))
        source = make(path)
        (partition,) = source.partitions()
        whole = whole_of(source.open(partition, None), 1000)
        with reading_ahead(data.draw(st.integers(1, 12))), pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "read", flaky)
            found: list[Any] = []
            reader: Reader | None = None
            ended = False
            while not ended:
                try:
                    reader = reader or source.open(partition, None)
                    got = reader.read(3)
                except RecordError as error:
                    found.append(("error", error.line, error.record, error.message))
                except ConnectorError as error:
                    assert "cannot be read: Input/output error" in error.message
                else:
                    ended = got is STOP
                    found += [("record", record) for record in got] if isinstance(got, list) else []
            assert reader is not None
            reader.close()
    assert found == whole


@given(data=st.data())
def test_what_the_csv_module_reads_is_read(data: st.DataObject) -> None:
    """Rows of any text, written by Python's csv module, come back with any size of pieces."""
    import csv
    import io

    cells = st.text(st.sampled_from('ab ,"\n;é☃\U0001f600\u2028\x85\x00\ufeff1\r'), max_size=8)
    rows = data.draw(st.lists(st.tuples(cells, cells), max_size=8))
    text = io.StringIO()
    csv.writer(text, lineterminator=data.draw(st.sampled_from(["\n", "\r\n"])), quoting=csv.QUOTE_ALL).writerows(rows)
    with tempfile.TemporaryDirectory() as folder, reading_ahead(data.draw(st.integers(1, 12))):
        path = Path(folder) / "in"
        path.write_bytes(text.getvalue().encode())
        source = CsvSource(path, columns=["a", "b"])
        found = whole_of(source.open(source.partitions()[0], None), 3)
    assert found == [("record", {"a": a, "b": b}) for a, b in rows]


def test_the_same_reader_says_where_it_is_between_two_blocks(tmp_path: Path) -> None:
    """Behind the last line of what was read in one go, and before the next."""
    path = tmp_path / "in"
    path.write_bytes(b"".join(b"%d\n" % number for number in range(100_000)))
    source = TextSource(path)
    reader = source.open(source.partitions()[0], None)
    taken = 0
    while (got := reader.read(1024)) is not STOP:
        assert isinstance(got, list)
        taken += len(got)
        if taken % 7 == 0:
            again = source.open(source.partitions()[0], reader.position())
            assert again.read(1) == ([str(taken)] if taken < 100_000 else STOP)
            again.close()
    reader.close()
    assert taken == 100_000


KINDS_OF_FILES: list[Callable[[Path], FileSource]] = [TextSource, JsonlSource, CsvSource]


def left(path: Path, make: Callable[[Path], FileSource], n: int = 2) -> tuple[FileSource, str, object]:
    """A file of ten lines, and the position behind some records of it."""
    path.write_text("".join(f"{number}\n" for number in range(10)))
    source = make(path)
    (partition,) = source.partitions()
    reader = source.open(partition, None)
    reader.read(n)
    place = reader.position()
    reader.close()
    return source, partition, place


@pytest.mark.parametrize("make", KINDS_OF_FILES)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.unlink(), "it was there when the job began, and has vanished"),
        (lambda path: path.write_bytes(path.read_bytes()[:5]), "it had 20 bytes when the job began, and has 5 now"),
        (lambda path: path.write_bytes(b"x" * 30), "it was changed or replaced since its first"),
        (lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]), "it was changed or replaced since its first"),
    ],
    ids=["vanished", "shrunk", "replaced", "changed"],
)
def test_a_file_that_is_not_what_it_was_is_an_error(
    tmp_path: Path, make: Callable[[Path], FileSource], change: Callable[[Path], object], reason: str
) -> None:
    """Going on would lose or repeat records: the error names the file."""
    path = tmp_path / "in"
    source, partition, place = left(path, make, 6)
    change(path)
    with pytest.raises(ConnectorError) as raised:
        source.open(partition, place)
    assert raised.value.message.startswith(f"{path}: {reason}")
    assert raised.value.file == str(path)


def test_a_file_that_shrank_since_more_was_read_of_it_than_it_had(tmp_path: Path) -> None:
    """It had grown while it was read; what was read of that is gone."""
    path = tmp_path / "in"
    path.write_text("1\n")
    source = TextSource(path)
    (partition,) = source.partitions()
    path.write_text("1\n2\n3\n")
    reader = source.open(partition, None)
    assert len(events(reader, 10)) == 3
    place = reader.position()
    reader.close()
    path.write_text("1\n2\n")
    with pytest.raises(ConnectorError, match="6 bytes of it were read before, and it has 4 now"):
        source.open(partition, place)


@pytest.mark.parametrize("make", KINDS_OF_FILES)
def test_a_file_may_grow(tmp_path: Path, make: Callable[[Path], FileSource]) -> None:
    """What was appended since is read by who reads the end of the file."""
    path = tmp_path / "in"
    source, partition, place = left(path, make)
    with path.open("a") as file:
        file.write("10\n")
    reader = source.open(partition, place)
    records = [record for _, record in events(reader, 100)]
    reader.close()
    assert records[-1] in ("10", 10, {"0": "10"})


def test_a_last_line_that_has_grown_is_an_error(tmp_path: Path) -> None:
    """It was a record as it was; its rest would be another one."""
    path = tmp_path / "in"
    path.write_text("1\n2")
    source = TextSource(path)
    (partition,) = source.partitions()
    reader = source.open(partition, None)
    assert len(events(reader, 10)) == 2
    place = reader.position()
    reader.close()
    assert source.open(partition, place).read(10) is STOP
    path.write_text("1\n22\n")
    with pytest.raises(
        ConnectorError, match="its last line was read before, 3 bytes from the beginning, and has grown"
    ):
        source.open(partition, place)


def test_a_file_may_be_copied_to_the_same_place(tmp_path: Path) -> None:
    """It is known again by what is in it, not by when and where it was written."""
    path = tmp_path / "in"
    source, partition, place = left(path, TextSource)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    assert source.open(partition, place).read(1) == ["2"]


@pytest.mark.parametrize("make", KINDS_OF_FILES)
def test_a_file_that_shrinks_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], FileSource]
) -> None:
    """At the end of a line as well: its rest is lost."""
    monkeypatch.setattr(lines, "_AHEAD", 4)
    path = tmp_path / "in"
    path.write_text("".join(f"{number}\n" for number in range(10)))
    source = make(path)
    reader = source.open(source.partitions()[0], None)
    reader.read(1)
    with path.open("r+b") as file:
        file.truncate(8)
    with pytest.raises(ConnectorError, match="had 20 bytes when reading began, and ends after 8 now") as raised:
        events(reader, 1)
    assert raised.value.file == str(path)
    reader.close()


def test_a_file_that_was_emptied_before_it_is_read_is_an_error(tmp_path: Path) -> None:
    """It is not the one that the job was to read."""
    path = tmp_path / "in"
    path.write_text("1\n2\n3\n")
    source = TextSource(path, split_size=2)
    names = source.partitions()
    path.write_text("")
    for name in names:
        with pytest.raises(ConnectorError, match="when the job began, and has 0 now"):
            source.open(name, None)


def test_a_file_that_vanishes_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    """It is there for as long as it is open; also to tell the line of an error."""
    path = tmp_path / "in"
    path.write_bytes(b"1\n2\nx\n3\n")
    source = JsonlSource(path)
    reader = source.open(source.partitions()[0], None)
    assert reader.read(1) == [1]
    path.unlink()
    assert [event[:2] for event in events(reader, 1)] == [("record", 2), ("error", 3), ("record", 3)]
    reader.close()


def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    """Here a folder has taken its place."""
    path = tmp_path / "in"
    path.write_text("1\n")
    source = TextSource(path)
    (partition,) = source.partitions()
    path.unlink()
    path.mkdir()
    with pytest.raises(ConnectorError, match="it was a file when the job began, and is none any more"):
        source.open(partition, None)
