"""Files as sinks: what is written, what is refused, and that a file is there only when it is whole."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import resource
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage.core.api import DataStream, ErrorPolicy, LocalEnvironment, dead_letter, read_dead_letters, retry, skip
from sage.core.connectors.api import STOP, ConnectorError, RecordError
from sage.core.connectors.files import CsvSink, CsvSource, JsonlSink, JsonlSource, TextSink, TextSource
from sage.core.connectors.files.sink import FileSink
from sage.core.connectors.files.source import FileSource
from sage.core.engine.context import RuntimeContext
from sage.core.engine.events import Attempt
from sage.core.engine.services import ServiceRegistry
from sage.core.errors import GraphError, JobFailedError
from sage.core.testing import simulate


def context(subtask: int = 0, parallelism: int = 1) -> RuntimeContext:
    """What a sink is told when it is opened."""
    return RuntimeContext(
        job="0",
        job_name="test",
        operator="write",
        uid="write",
        subtask=subtask,
        parallelism=parallelism,
        attempt=1,
        services=ServiceRegistry((), Attempt("0"), users=1),
    )


def write(sink: FileSink, *batches: list[Any]) -> bytes:
    """What is in the file once these batches were written."""
    sink.open(context())
    for batch in batches:
        sink.write(batch)
    handle = sink.prepare(1)
    sink.commit(handle)
    sink.close()
    return Path(sink.path).read_bytes()


def refused(sink: FileSink, record: Any) -> RecordError:
    """The error of a record, of which nothing is written."""
    sink.open(context())
    try:
        with pytest.raises(RecordError) as raised:
            sink.write([record])
    finally:
        sink.close()
    assert raised.value.record is record
    assert raised.value.file == sink.path
    return raised.value


def read(source: FileSource) -> list[Any]:
    """All records of a file."""
    records: list[Any] = []
    for name in source.partitions():
        reader = source.open(name, None)
        while (got := reader.read(1000)) is not STOP:
            assert isinstance(got, list)
            records += got
        reader.close()
    return records


def names(folder: Path) -> list[str]:
    """All that is in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_line_by_line(tmp_path: Path) -> None:
    """Every line has an end."""
    assert write(TextSink(tmp_path / "out"), ["a", ""], ["\N{SNOWMAN}"]) == "a\n\n\N{SNOWMAN}\n".encode()


def test_text_with_a_mark(tmp_path: Path) -> None:
    """Some programs know UTF-8 by it."""
    assert write(TextSink(tmp_path / "out", encoding="utf-8-sig"), ["a"], ["b"]) == b"\xef\xbb\xbfa\nb\n"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("a\nb", "would be read as two"),
        ("a\rb", "would be read as two"),
        (1, "a line is text, not int"),
        (None, "a line is text, not NoneType"),
        (b"a", "a line is text, not bytes"),
        ("\ud800", "U+D800 at 1 has no place in UTF-8"),
    ],
)
def test_what_is_no_line_of_text_is_refused(tmp_path: Path, record: Any, reason: str) -> None:
    """It would be read as something else, or not at all."""
    assert reason in refused(TextSink(tmp_path / "out"), record).message


def test_text_that_the_encoding_lacks_is_refused(tmp_path: Path) -> None:
    """The character is named."""
    error = refused(TextSink(tmp_path / "out", encoding="latin-1"), "ab\N{SNOWMAN}")
    assert "U+2603 at 3 has no place in latin-1" in error.message


def test_json_is_written_line_by_line(tmp_path: Path) -> None:
    """Compact, in UTF-8; half of a surrogate pair is escaped."""
    written = write(JsonlSink(tmp_path / "out"), [{"a": 1, "b": [None, True]}, "\N{SNOWMAN}\n"], ["\ud800"], [(1, 2)])
    assert written == '{"a":1,"b":[null,true]}\n"\N{SNOWMAN}\\n"\n"\\ud800"\n[1,2]\n'.encode()


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Place:
    x: int
    y: int


circle: list[Any] = []
circle.append(circle)
deep: list[Any] = []
for _ in range(100_000):
    deep = [deep]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (float("nan"), "not JSON compliant"),
        (float("inf"), "not JSON compliant"),
        ({"a": {1, 2}}, "set is not JSON serializable"),
        (b"a", "bytes is not JSON serializable"),
        (Place(1, 2), "Place is not JSON serializable"),
        ({(1, 2): 3}, "keys must be str"),
        (circle, "Circular reference"),
        (deep, "recursion"),
    ],
    ids=["nan", "inf", "set", "bytes", "dataclass", "key", "circle", "deep"],
)
def test_what_is_no_json_is_refused(tmp_path: Path, record: Any, reason: str) -> None:
    """With a hint at what can be written."""
    error = refused(JsonlSink(tmp_path / "out"), record)
    assert reason in error.message
    assert "make plain values" in str(error.hint)


def test_csv_is_written_below_a_header(tmp_path: Path) -> None:
    """That of the first record; the order of keys in later ones does not matter; None is an empty value."""
    written = write(CsvSink(tmp_path / "out"), [{"a": 1, "b": None}], [{"b": 'x,"\n', "a": 1.5}])
    assert written == b'a,b\n1,\n1.5,"x,""\n"\n'


def test_csv_columns_may_be_given(tmp_path: Path) -> None:
    """Then the header is there even without a record, and in that order."""
    assert write(CsvSink(tmp_path / "1", columns=["b", "a"])) == b"b,a\n"
    assert write(CsvSink(tmp_path / "2", columns=["b", "a"]), [{"a": 1, "b": 2}]) == b"b,a\n2,1\n"
    assert write(CsvSink(tmp_path / "3")) == b""


@pytest.mark.parametrize("name", ["a\rb", "a\nb", 'a"b', "a,b", "", " "])
@pytest.mark.parametrize("given", [True, False])
def test_any_text_may_name_a_column(tmp_path: Path, name: str, given: bool) -> None:
    """Also with a line end of any kind in it, given or not."""
    sink = CsvSink(tmp_path / "out", columns=["x", name] if given else None)
    write(sink, [{"x": 1, name: 2}])
    assert read(CsvSource(tmp_path / "out")) == [{"x": "1", name: "2"}]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"a": 1}, "the columns are a, b; this record has no 'b'"),
        ({"a": 1, "b": 2, "c": 3}, "this record has 'c' beyond them"),
        ({"a": 1, "c": 3}, "this record has no 'b', 'c' beyond them"),
        ({}, "this one is empty"),
        ([1, 2], "a row is a mapping of names to values, not list"),
        (None, "a row is a mapping of names to values, not NoneType"),
        ({"a": "\ud800", "b": 1}, "U+D800 at 1 has no place in UTF-8"),
    ],
)
def test_what_is_no_such_row_is_refused(tmp_path: Path, record: Any, reason: str) -> None:
    """The error says what it has and lacks."""
    assert reason in refused(CsvSink(tmp_path / "out", columns=["a", "b"]), record).message


def test_a_hint_tells_how_to_make_a_row(tmp_path: Path) -> None:
    """Of a dataclass, and of a named tuple."""
    assert "dataclasses.asdict" in str(refused(CsvSink(tmp_path / "out"), Place(1, 2)).hint)
    assert "_asdict" in str(refused(CsvSink(tmp_path / "out"), Point(1, 2)).hint)


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no text")


def test_a_value_whose_text_cannot_be_had_is_refused(tmp_path: Path) -> None:
    """Its own error is told."""
    assert "no text" in refused(CsvSink(tmp_path / "out"), {"a": Unprintable()}).message


@pytest.mark.parametrize("value", ["a,b", "a\nb", "a\rb"])
def test_without_quotes_a_value_that_needs_them_is_refused(tmp_path: Path, value: str) -> None:
    """A quote itself needs none."""
    refused(CsvSink(tmp_path / "out", columns=["a", "b"], quoting="none"), {"a": value, "b": 1})
    assert write(CsvSink(tmp_path / "other", quoting="none"), [{"a": '"', "b": 1}]) == b'a,b\n",1\n'


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=8))
@settings(max_examples=50)
def test_json_comes_back_as_it_was_written(records: list[Any]) -> None:
    """Any value that JSON can hold."""
    with tempfile.TemporaryDirectory() as folder:
        write(JsonlSink(Path(folder) / "out"), *([record] for record in records))
        assert read(JsonlSource(Path(folder) / "out")) == records


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), max_size=8))
@settings(max_examples=50)
def test_text_comes_back_as_it_was_written(records: list[str]) -> None:
    """Any text without line ends."""
    with tempfile.TemporaryDirectory() as folder:
        write(TextSink(Path(folder) / "out"), *([record] for record in records))
        assert read(TextSource(Path(folder) / "out")) == records


CELLS = st.text(st.sampled_from('ab ,"\n\r;é☃\u2028\x85\x00\ufeff1'), max_size=6)


@given(
    st.lists(CELLS, min_size=1, max_size=3, unique=True),
    st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=6),
    st.sampled_from(["minimal", "all"]),
    st.booleans(),
)
@settings(max_examples=100)
def test_csv_comes_back_as_it_was_written(
    columns: list[str], rows: list[tuple[str, ...]], quoting: Any, given_columns: bool
) -> None:
    """Any text in any place, whether all is in quotes or only what needs them."""
    records = [dict(zip(columns, row, strict=False)) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out"
        if columns[0].startswith("\ufeff"):
            columns[0] = f"x{columns[0]}"  # it would be taken for a mark
            records = [dict(zip(columns, row, strict=False)) for row in rows]
        sink = CsvSink(path, columns=columns if given_columns else None, quoting=quoting)
        write(sink, *([record] for record in records))
        assert read(CsvSource(path, quoting=quoting)) == records


def test_nothing_of_a_batch_with_a_bad_record_is_written(tmp_path: Path) -> None:
    """So that it may be written again without it."""
    sink = JsonlSink(tmp_path / "out")
    sink.open(context())
    sink.write([1])
    with pytest.raises(RecordError):
        sink.write([2, {3}, 4])
    sink.write([5])
    sink.commit(sink.prepare(1))
    sink.close()
    assert (tmp_path / "out").read_text() == "1\n5\n"


def test_committing_again_does_nothing(tmp_path: Path) -> None:
    """Also by another sink, after a crash between the two."""
    sink = TextSink(tmp_path / "out")
    sink.open(context())
    sink.write(["a"])
    handle = sink.prepare(1)
    other = TextSink(tmp_path / "out")
    other.commit(handle)
    other.commit(handle)
    sink.commit(handle)
    sink.close()
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_text() == "a\n"


def test_aborting_leaves_nothing_also_twice(tmp_path: Path) -> None:
    """Neither the file nor what it was written to."""
    sink = TextSink(tmp_path / "out")
    sink.open(context())
    sink.write(["a"])
    handle = sink.prepare(1)
    sink.abort(handle)
    sink.abort(handle)
    sink.close()
    assert names(tmp_path) == []


def test_a_crash_leaves_no_file_and_does_not_hinder_the_next_run(tmp_path: Path) -> None:
    """What a killed process left behind is written over."""
    pid = os.fork()
    if pid == 0:  # the child: killed in the middle of writing
        try:
            sink = TextSink(tmp_path / "out")
            sink.open(context())
            sink.write(["lost"] * 1000)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert names(tmp_path) == [".out.0.tmp"]
    assert write(TextSink(tmp_path / "out"), ["a"]) == b"a\n"
    assert names(tmp_path) == ["out"]


def test_two_sinks_cannot_write_one_file(tmp_path: Path) -> None:
    """The second is refused, whether it is of the same job or of another."""
    first, second = TextSink(tmp_path / "out"), TextSink(tmp_path / "out")
    first.open(context())
    with pytest.raises(ConnectorError, match="another job, or another sink of this one, is writing it just now"):
        second.open(context())
    second.close()
    first.close()
    assert names(tmp_path) == []


def test_missing_folders_are_made(tmp_path: Path) -> None:
    """All of them."""
    assert write(TextSink(tmp_path / "a" / "b" / "out"), ["x"]) == b"x\n"


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_path_at_which_no_file_can_be(tmp_path: Path, overwrite: bool) -> None:
    """A folder, something below a file, a FIFO, a device: refused, and left as it is."""
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "fifo")
    for path, reason in [
        (tmp_path, "is a folder"),
        (tmp_path / "file" / "out", "Not a directory"),
        (tmp_path / "fifo", "is no regular file"),
        (Path("/dev/null"), "is no regular file"),
    ]:
        sink = TextSink(path, overwrite=overwrite)
        with pytest.raises(ConnectorError, match=reason):
            sink.open(context())
        sink.close()
    assert names(tmp_path) == ["fifo", "file"]


def test_an_existing_file_is_kept_unless_it_may_be_overwritten(tmp_path: Path) -> None:
    """It is there until the moment at which the new one is."""
    path = tmp_path / "out"
    path.write_text("old\n")
    with pytest.raises(ConnectorError, match="out exists") as raised:
        TextSink(path).open(context())
    assert "overwrite=True" in str(raised.value.hint)
    sink = TextSink(path, overwrite=True)
    sink.open(context())
    sink.write(["new"])
    handle = sink.prepare(1)
    assert path.read_text() == "old\n"
    sink.commit(handle)
    sink.close()
    assert path.read_text() == "new\n"
    assert names(tmp_path) == ["out"]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    """Whoever has put it there did not expect it to be replaced."""
    sink = TextSink(tmp_path / "out")
    sink.open(context())
    sink.write(["new"])
    handle = sink.prepare(1)
    (tmp_path / "out").write_text("other")
    with pytest.raises(ConnectorError, match="has appeared while its new content was written"):
        sink.commit(handle)
    sink.abort(handle)
    sink.close()
    assert (tmp_path / "out").read_text() == "other"
    assert names(tmp_path) == ["out"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    """What it leads to is replaced, and the link stays."""
    (tmp_path / "real").write_text("old\n")
    (tmp_path / "link").symlink_to("real")
    write(TextSink(tmp_path / "link", overwrite=True), ["new"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new\n"


def test_subtasks_write_parts(tmp_path: Path) -> None:
    """With their number in the name; parts of an earlier run with other numbers go when they are replaced."""
    for parallelism in (2, 3):
        sinks = [TextSink(tmp_path / "out.txt", overwrite=parallelism == 3) for _ in range(parallelism)]
        for number, sink in enumerate(sinks):
            sink.open(context(number, parallelism))
            sink.write([str(number)])
        for sink in sinks:
            sink.commit(sink.prepare(1))
            sink.close()
        assert names(tmp_path) == [f"out-00{number}-of-00{parallelism}.txt" for number in range(parallelism)]
    with pytest.raises(ConnectorError, match=r"out-000-of-003\.txt exists"):
        TextSink(tmp_path / "out.txt").open(context())
    assert write(TextSink(tmp_path / "out.txt", overwrite=True), ["x"]) == b"x\n"
    assert names(tmp_path) == ["out.txt"]


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file of this process may become larger than ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_an_error_and_what_was_written_before_stays_whole(tmp_path: Path) -> None:
    """Nothing of the batch is in the file: it may be written again when there is room."""
    sink = TextSink(tmp_path / "out")
    sink.open(context())
    sink.write(["a" * 99] * 10)
    with small_files(1500):
        with pytest.raises(ConnectorError, match="cannot be written: File too large") as raised:
            sink.write(["b" * 99] * 10)
        assert raised.value.file == str(tmp_path / "out")
        sink.write(["c" * 99])
    sink.write(["b" * 99] * 10)
    sink.commit(sink.prepare(1))
    sink.close()
    lines = (tmp_path / "out").read_text().splitlines()
    assert [line[0] for line in lines] == ["a"] * 10 + ["c"] + ["b"] * 10
    assert {len(line) for line in lines} == {99}


# --- in a pipeline -----------------------------------------------------------------------------------------------


def test_a_pipeline_writes_what_it_reads(backend: str, tmp_path: Path) -> None:
    """Text, JSON Lines and CSV, there and back."""
    (tmp_path / "in.txt").write_text("".join(f"{number}\n" for number in range(5000)))
    steps: list[tuple[Callable[[LocalEnvironment], DataStream[Any]], Callable[[DataStream[Any]], object]]] = [
        (lambda env: env.from_text(tmp_path / "in.txt"), lambda stream: stream.to_csv(tmp_path / "out.csv")),
        (lambda env: env.from_csv(tmp_path / "out.csv"), lambda stream: stream.to_jsonl(tmp_path / "out.jsonl")),
        (lambda env: env.from_jsonl(tmp_path / "out.jsonl"), lambda s: s.map(json.dumps).to_text(tmp_path / "o.txt")),
    ]
    for read_from, write_to in steps:
        env = LocalEnvironment("files", backend=backend)
        write_to(read_from(env).map(lambda value: {"n": value} if isinstance(value, str) else value))
        env.submit(autostop=True)
    found = [json.loads(line) for line in (tmp_path / "o.txt").read_text().splitlines()]
    assert found == [{"n": str(number)} for number in range(5000)]
    assert names(tmp_path) == ["in.txt", "o.txt", "out.csv", "out.jsonl"]


def test_a_failing_job_leaves_nothing(backend: str, tmp_path: Path) -> None:
    """Not even of sinks whose own input had ended well, in this task or another."""

    def fails_at_the_end(number: int) -> int:
        if number == 4999:
            raise ValueError("late")
        return number

    env = LocalEnvironment("files", backend=backend)
    env.from_batch(["a"]).to_text(tmp_path / "early.txt")
    numbers = env.from_batch(range(5000))
    numbers.map(str).to_text(tmp_path / "same.txt")
    numbers.rebalance().map(fails_at_the_end).to_jsonl(tmp_path / "late.jsonl")
    with pytest.raises(JobFailedError):
        env.submit(autostop=True)
    assert names(tmp_path) == []


def test_parts_appear_together_or_not_at_all(backend: str, tmp_path: Path) -> None:
    """One of four subtasks fails: the others' parts are not published."""
    (tmp_path / "in.txt").write_text("".join(f"{number}\n" for number in range(1000)))

    def fails(line: str) -> str:
        if line == "999":
            raise ValueError(line)
        return line

    env = LocalEnvironment("files", backend=backend)
    env.from_text(tmp_path / "in.txt", parallelism=4).map(fails, parallelism=4).to_text(
        tmp_path / "out.txt", parallelism=4
    )
    with pytest.raises(JobFailedError):
        env.submit(autostop=True)
    assert names(tmp_path) == ["in.txt"]


def test_a_cancelled_job_leaves_nothing(tmp_path: Path) -> None:
    """It is cancelled while one sink is done and waits for the other."""
    reached, go_on = threading.Event(), threading.Event()

    class Waits:
        delivery = "at-least-once"

        def open(self, context: RuntimeContext) -> None: ...

        def write(self, records: list[Any]) -> None:
            reached.set()
            go_on.wait(60)

        def close(self) -> None: ...

        def __deepcopy__(self, memo: Any) -> Waits:
            return self

    env = LocalEnvironment("files", backend="local")
    env.from_batch(["a"]).to_text(tmp_path / "out.txt")
    env.from_batch(["a"]).to_connector(Waits())
    job = env.submit()
    assert reached.wait(60)
    job.stop()
    go_on.set()
    job.wait(60)
    assert job.status()["status"] == "cancelled"
    assert names(tmp_path) == []


@pytest.mark.parametrize("what", ["completes", "fails", "is cancelled"])
@pytest.mark.parametrize("seed", range(30))
def test_all_files_of_a_job_appear_or_none(tmp_path: Path, seed: int, what: str) -> None:
    """Under any schedule, wherever it fails or is cancelled: also between two files that are published."""

    def fails(number: int) -> int:
        if what == "fails" and number == seed:
            raise ValueError(number)
        return number

    env = LocalEnvironment("files")
    (tmp_path / "in").write_text("".join(f"{number}\n" for number in range(30)))
    lines = env.from_text(tmp_path / "in", parallelism=2)
    lines.to_text(tmp_path / "lines", parallelism=2)
    lines.map(int).map(fails).rebalance().to_jsonl(tmp_path / "numbers", parallelism=3)
    env.from_batch(["a"]).to_text(tmp_path / "early")
    state = "failed"
    with suppress(JobFailedError):
        state = simulate(env, seed=seed, cancel=what == "is cancelled").state
    assert state in {"completes": ["completed"], "fails": ["failed"]}.get(what, ["completed", "cancelled"])
    assert len(names(tmp_path)) == (1 + 2 + 3 + 1 if state == "completed" else 1), names(tmp_path)


@pytest.mark.parametrize(
    ("add", "good", "expected"),
    [
        (lambda s, path, p: s.to_text(path, on_error=p), ["a", "b", "c"], "a\nb\nc\n"),
        (lambda s, path, p: s.to_jsonl(path, on_error=p), ["a", "b", "c"], '"a"\n"b"\n"c"\n'),
        (lambda s, path, p: s.to_csv(path, on_error=p), [{"n": 1}, {"n": 2}, {"n": 3}], "n\n1\n2\n3\n"),
    ],
    ids=["text", "jsonl", "csv"],
)
@pytest.mark.parametrize("kind", ["skip", "dead_letter"])
def test_a_record_that_cannot_be_written_is_given_up_alone(
    backend: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    add: Callable[[DataStream[Any], Path, ErrorPolicy], Any],
    good: list[Any],
    expected: str,
    kind: str,
) -> None:
    """All others of its batch are in the file, in order."""
    monkeypatch.chdir(tmp_path)
    policy = skip() if kind == "skip" else dead_letter("letters")  # relative to where the pipeline is written
    bad: list[Any] = [{1, 2}, object]
    env = LocalEnvironment("files", backend=backend)
    add(env.from_batch([bad[0], *good[:2], bad[1], good[2]]), tmp_path / "out", policy)
    status = env.submit(autostop=True).status()
    assert (tmp_path / "out").read_text() == expected
    assert status["skipped"] + status["dead_lettered"] == 2
    if policy.then == "dead_letter":
        assert [letter.record for letter in read_dead_letters(tmp_path / "letters")] == bad


def test_writing_is_tried_again_where_the_policy_says_so(backend: str, tmp_path: Path) -> None:
    """A full disk that has room again."""
    room = iter([False, False, True])

    class Filling(TextSink):
        def write(self, records: list[Any]) -> None:
            if not next(room, True):
                raise ConnectorError("no room")
            super().write(records)

    env = LocalEnvironment("files", backend=backend)
    env.from_batch(["a"]).to_connector(Filling, tmp_path / "out", on_error=retry(3, backoff=0.001))
    env.submit(autostop=True)
    assert (tmp_path / "out").read_text() == "a\n"


def test_one_record_that_makes_many_is_written_bit_by_bit(backend: str, tmp_path: Path) -> None:
    """A sink holds no more than a batch, whatever a step puts out."""
    sizes: list[int] = []

    class Counts(TextSink):
        def write(self, records: list[Any]) -> None:
            sizes.append(len(records))
            super().write(records)

    env = LocalEnvironment("files", backend=backend)
    env.from_batch([10_000]).flatmap(lambda n: map(str, range(n))).to_connector(Counts, tmp_path / "out")
    env.submit(autostop=True)
    assert max(sizes) <= 1024
    assert (tmp_path / "out").read_text().splitlines() == [str(n) for n in range(10_000)]


def test_relative_paths_are_those_of_the_program(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken where the pipeline is written, wherever it runs."""
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("a\n")
    env = LocalEnvironment("files", backend=backend)
    env.from_text("in.txt").to_text("out.txt")
    monkeypatch.chdir("/")
    env.submit(autostop=True)
    assert (tmp_path / "out.txt").read_text() == "a\n"


@pytest.mark.parametrize(
    ("add", "reason"),
    [
        (lambda s: s.to_csv("x", columns=["a", "a"]), "columns name 'a' twice"),
        (lambda s: s.to_csv("x", columns="ab"), "columns are a list of names"),
        (lambda s: s.to_csv("x", columns=[]), "columns are a list of names"),
        (lambda s: s.to_csv("x", delimiter="||"), "delimiter is one character"),
        (lambda s: s.to_csv("x", delimiter='"'), "delimiter and quotechar are both"),
        (lambda s: s.to_csv("x", quotechar="\n"), "quotechar is one character"),
        (lambda s: s.to_csv("x", quoting="some"), "quoting is one of 'minimal', 'all', 'none', not 'some'"),
        (lambda s: s.to_text("x", encoding="utf-16"), "cannot be read or written line by line"),
        (lambda s: s.to_text("x", encoding="iso2022_jp"), "cannot be read or written line by line"),
        (lambda s: s.to_text("x", encoding="none such"), "there is no text encoding 'none such'"),
        (lambda s: s.to_text("x", encoding="base64"), "there is no text encoding 'base64'"),
        (lambda s: s.to_text(""), "a path is text that is not empty"),
        (lambda s: s.to_text("a\0b"), "a path is text that is not empty"),
        (lambda s: s.to_text(1), "a path is text that is not empty"),
        (lambda s: s.to_text("x/"), "names a folder"),
    ],
)
def test_wrong_options_are_problems_of_the_graph(add: Callable[[DataStream[Any]], Any], reason: str) -> None:
    """They are told where the pipeline is written, before anything starts."""
    env = LocalEnvironment("files")
    add(env.from_batch(["a"]))
    with pytest.raises(GraphError) as raised:
        env.submit(autostop=True)
    assert reason in str(raised.value)
    assert "test_files_writing.py" in str(raised.value)


def test_the_csv_module_reads_what_is_written(tmp_path: Path) -> None:
    """As any other program would."""
    records = [{"a": "1,\r\n2", "b": '"'}, {"a": "", "b": "x"}]
    write(CsvSink(tmp_path / "out"), records)
    with (tmp_path / "out").open(newline="") as file:
        assert list(csv.DictReader(file)) == records
