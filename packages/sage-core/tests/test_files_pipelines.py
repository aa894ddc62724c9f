"""Files in pipelines: patterns, parallel reading, error policies, and what stops a job."""

from __future__ import annotations

import json
import os
import resource
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import DataStream, ErrorPolicy, LocalEnvironment, dead_letter, fail, read_dead_letters, retry, skip
from sage.core.connectors.files import CsvSource, JsonlSource, TextSource
from sage.core.connectors.files.places import ByteRange
from sage.core.errors import GraphError, JobFailedError

Read = Callable[..., DataStream[Any]]


def run(backend: str, read: Callable[[LocalEnvironment], DataStream[Any]]) -> list[Any]:
    """The records of a source."""
    env = LocalEnvironment("files", backend=backend)
    records = read(env).collect()
    env.submit(autostop=True)
    return list(records)


def problems(read: Callable[[LocalEnvironment], DataStream[Any]]) -> str:
    """What is said of a source that cannot be read."""
    env = LocalEnvironment("files")
    read(env).collect()
    with pytest.raises(GraphError) as raised:
        env.submit(autostop=True)
    assert "test_files_pipelines.py" in str(raised.value)
    return str(raised.value)


def failure(backend: str, read: Callable[[LocalEnvironment], DataStream[Any]]) -> str:
    """Why a job failed."""
    env = LocalEnvironment("files", backend=backend)
    read(env).collect()
    with pytest.raises(JobFailedError) as raised:
        env.submit(autostop=True)
    return str(raised.value)


# --- which files -------------------------------------------------------------------------------------------------


def test_files_of_a_pattern_are_read_in_the_order_of_their_names(backend: str, tmp_path: Path) -> None:
    """Each from beginning to end."""
    for name in ("b.txt", "a.txt", "c.log", "a.txt.bak"):
        (tmp_path / name).write_text(f"{name} 1\n{name} 2\n")
    found = run(backend, lambda env: env.from_text(tmp_path / "*.txt"))
    assert found == ["a.txt 1", "a.txt 2", "b.txt 1", "b.txt 2"]


def test_two_stars_look_into_all_folders(tmp_path: Path) -> None:
    """Each file once, also where links lead around in circles."""
    (tmp_path / "x" / "y").mkdir(parents=True)
    for name in ("1", "x/2", "x/y/3"):
        (tmp_path / f"{name}.txt").write_text(f"{name}\n")
    (tmp_path / "x" / "circle").symlink_to(tmp_path)
    assert run("inline", lambda env: env.from_text(tmp_path / "**" / "*.txt")) == ["1", "x/2", "x/y/3"]
    assert len(TextSource(tmp_path / "**" / "**" / "*.txt").partitions()) == 3


def test_what_is_no_file_does_not_match_a_pattern(tmp_path: Path) -> None:
    """Folders, FIFOs, links that lead nowhere, hidden files."""
    (tmp_path / "a").write_text("a\n")
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "c")
    (tmp_path / "d").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".e").write_text("e\n")
    (tmp_path / "f").symlink_to(tmp_path / "a")
    assert run("inline", lambda env: env.from_text(tmp_path / "*")) == ["a", "a"]


@pytest.mark.parametrize("name", ["[1].txt", "a*b", "what?", "a@5-", "x@0-1+", "ü ☃", "a\nb"])
def test_any_name_can_be_given(backend: str, tmp_path: Path, name: str) -> None:
    """A name that looks like a pattern, or like ours for a part, is a name where there is such a file."""
    (tmp_path / name).write_text("a\nb\n")
    assert run(backend, lambda env: env.from_text(tmp_path / name)) == ["a", "b"]


def test_a_name_that_is_no_unicode_can_be_given(backend: str, tmp_path: Path) -> None:
    """As Python spells it."""
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")
    Path(path).write_text("a\n")
    assert run(backend, lambda env: env.from_text(tmp_path / "*.txt")) == ["a"]


@pytest.mark.parametrize("read", ["from_text", "from_jsonl", "from_csv"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("none.txt", "there is no file"),
        ("none*.txt", "no file matches"),
        ("folder", "is a folder"),
        ("fifo", "is no regular file"),
        ("file/below", "there is no file"),
        ("x" * 300, "cannot be looked for: File name too long"),
    ],
)
def test_a_path_that_leads_to_no_file_is_a_problem_of_the_graph(
    tmp_path: Path, read: str, path: str, reason: str
) -> None:
    """The job does not start; the source is named with its line."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "fifo")
    text = problems(lambda env: getattr(env, read)(tmp_path / path))
    assert reason in text and "hint: " in text
    assert str(tmp_path / path)[:100] in text


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (lambda env: env.from_text("x", split_size=0), "split_size is a number of bytes from 1, not 0"),
        (lambda env: env.from_text("x", split_size=True), "split_size is a number of bytes from 1, not True"),
        (lambda env: env.from_jsonl("x", split_size="1"), "split_size is a number of bytes from 1, not '1'"),
        (lambda env: env.from_text("x", max_line_size=0), "max_line_size is a number of bytes from 1, not 0"),
        (lambda env: env.from_csv("x", max_line_size=None), "max_line_size is a number of bytes from 1, not None"),
        (lambda env: env.from_text("x", encoding="utf-16"), "cannot be read or written line by line"),
        (lambda env: env.from_csv("x", columns=["a", "a"]), "columns name 'a' twice"),
        (lambda env: env.from_csv("x", delimiter=""), "delimiter is one character"),
        (lambda env: env.from_text(""), "a path is text that is not empty"),
    ],
)
def test_wrong_options_are_problems_of_the_graph(read: Callable[[Any], DataStream[Any]], reason: str) -> None:
    """They are told before anything is looked for."""
    assert reason in problems(read)


def test_too_many_partitions_are_refused(tmp_path: Path) -> None:
    """A slip in ``split_size`` does not keep the coordinator busy for hours."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 30)
    text = problems(lambda env: env.from_text(tmp_path / "large", split_size=1))
    assert "1,073,741,824 bytes, which make too many partitions of 1" in text


# --- partitions --------------------------------------------------------------------------------------------------


def test_files_are_cut_into_ranges(tmp_path: Path) -> None:
    """Of the size asked for, or smaller ones until there is one for each subtask; an empty file is one."""
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "b").write_bytes(b"")
    a, b = tmp_path / "a", tmp_path / "b"
    assert TextSource(a).partitions() == [f"{a}@0-10+"]
    assert TextSource(a, split_size=4).partitions() == [f"{a}@0-4", f"{a}@4-8", f"{a}@8-10+"]
    assert TextSource(a, split_size=None, min_partitions=4).partitions() == [f"{a}@0-10+"]
    assert JsonlSource(a, min_partitions=2).partitions() == [f"{a}@0-5", f"{a}@5-10+"]
    assert len(JsonlSource(a, min_partitions=100).partitions()) == 10
    assert TextSource(b, min_partitions=4).partitions() == [f"{b}@0-0+"]
    assert CsvSource(a).partitions() == [f"{a}@0-10+"]
    assert TextSource(tmp_path / "*", min_partitions=4).partitions() == [f"{a}@0-5", f"{a}@5-10+", f"{b}@0-0+"]


@pytest.mark.parametrize("part", [ByteRange("/a@b", 3, 7, False), ByteRange("/a", 0, 0, True)])
def test_the_name_of_a_partition_says_all(part: ByteRange) -> None:
    """It is what is kept with a position."""
    assert ByteRange.parse(str(part)) == part


@pytest.mark.parametrize("parallelism", [1, 2, 3, 8])
@pytest.mark.parametrize("kind", ["text", "jsonl", "csv"])
def test_every_record_is_read_once_whatever_the_parallelism(
    backend: str, tmp_path: Path, parallelism: int, kind: str
) -> None:
    """Files of very different sizes; those without quotes that span lines are cut."""
    expected: Counter[str] = Counter()
    for number, size in enumerate([0, 1, 7, 2000]):
        values = [f"{number}:{line}" for line in range(size)]
        lines = {"text": values, "jsonl": [json.dumps(v) for v in values], "csv": ["v", *values]}[kind]
        (tmp_path / f"{number}.in").write_text("\r\n".join(lines))
        expected.update(values)

    def read(env: LocalEnvironment) -> DataStream[Any]:
        path = tmp_path / "*.in"
        if kind == "csv":
            return env.from_csv(path, parallelism=parallelism).map(lambda row: row["v"])
        if kind == "text":
            return env.from_text(path, split_size=1000, parallelism=parallelism)
        return env.from_jsonl(path, split_size=1000, parallelism=parallelism)

    assert Counter(run(backend, read)) == expected


def test_a_small_file_is_shared_by_all_subtasks(backend: str, tmp_path: Path) -> None:
    """Although it is far smaller than ``split_size``."""
    (tmp_path / "in").write_text("".join(f"{number}\n" for number in range(1000)))
    env = LocalEnvironment("files", backend=backend)
    env.from_text(tmp_path / "in", parallelism=4).to_text(tmp_path / "out", parallelism=4)
    env.submit(autostop=True)
    parts = [(tmp_path / f"out-00{number}-of-004").read_text().split() for number in range(4)]
    assert all(len(part) > 200 for part in parts)
    assert [line for part in parts for line in part] == [str(number) for number in range(1000)]


def test_a_subtask_may_have_nothing_to_read(backend: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A CSV file is never cut: the others end at once, and the log says so."""
    (tmp_path / "in.csv").write_text("a\n1\n2\n")
    found = run(backend, lambda env: env.from_csv(tmp_path / "in.csv", parallelism=3))
    assert found == [{"a": "1"}, {"a": "2"}]
    assert "1 partition for 3 subtasks, some have nothing to read" in caplog.text


# --- error policies ----------------------------------------------------------------------------------------------

BAD: dict[str, tuple[str, bytes, list[Any], list[Any], str]] = {
    "text": ("from_text", b"a\n\xff\nb\n", ["a", "b"], [b"\xff"], "line 2: not UTF-8: byte 0xff at 1"),
    "jsonl": ("from_jsonl", b"1\n{x}\n2\n", [1, 2], ["{x}"], "line 2: not JSON: Expecting property name"),
    "csv": ("from_csv", b"a,b\n1,2\n3\n4,5\n", [["1", "2"], ["4", "5"]], ["3"], "line 3: 1 value for 2 columns"),
}


@pytest.fixture(params=BAD)
def bad(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Callable[..., DataStream[Any]], list[Any], Any, str]:
    """A source with a line that is malformed, its good records, that line, and what is said of it."""
    method, content, good, lines, reason = BAD[request.param]
    (tmp_path / "in").write_bytes(content)

    def read(env: LocalEnvironment, policy: ErrorPolicy | None) -> DataStream[Any]:
        stream: DataStream[Any] = getattr(env, method)(tmp_path / "in", on_error=policy)
        return stream

    return read, good, lines, f"{tmp_path}/in, {reason}"


Bad = tuple[Callable[..., DataStream[Any]], list[Any], list[Any], str]


def values(record: Any) -> Any:
    return list(record.values()) if isinstance(record, dict) else record


@pytest.mark.parametrize("policy", [None, fail(), retry(2, backoff=0.001)])
def test_a_malformed_line_fails_the_job(backend: str, bad: Bad, policy: ErrorPolicy | None) -> None:
    """With file and line; to try again makes no difference."""
    read, _, _, reason = bad
    env = LocalEnvironment("files", backend=backend)
    read(env, policy).collect()
    with pytest.raises(JobFailedError) as raised:
        env.submit(autostop=True)
    assert reason in str(raised.value)
    assert type(raised.value.__cause__).__name__ == "RecordError"


def test_a_malformed_line_may_be_skipped(backend: str, bad: Bad) -> None:
    """The others are read, and it is counted."""
    read, good, _, _ = bad
    env = LocalEnvironment("files", backend=backend)
    records = read(env, skip()).map(values).collect()
    status = env.submit(autostop=True).status()
    assert list(records) == good
    assert status["skipped"] == 1


def test_a_malformed_line_may_go_on_a_stream_of_its_own(backend: str, bad: Bad) -> None:
    """As the raw line, with file and line in the failure."""
    read, good, lines, reason = bad
    env = LocalEnvironment("files", backend=backend)
    stream = read(env, dead_letter())
    letters, records = stream.dead_letters.collect(), stream.map(values).collect()
    env.submit(autostop=True)
    assert list(records) == good
    assert [letter.record for letter in letters] == lines
    assert reason in letters[0].failure.message


def test_a_malformed_line_may_go_to_a_file(backend: str, bad: Bad, tmp_path: Path) -> None:
    """From which it can be read again."""
    read, good, lines, reason = bad
    found = run(backend, lambda env: read(env, dead_letter(str(tmp_path / "letters"))).map(values))
    assert found == good
    letters = list(read_dead_letters(tmp_path / "letters"))
    assert [letter.record for letter in letters] == lines
    assert reason in letters[0].failure.message


@pytest.mark.parametrize("policy", [skip(at_most=5), skip(ratio=0.01), dead_letter("/dev/null", at_most=5)])
def test_malformed_lines_have_a_budget(backend: str, tmp_path: Path, policy: ErrorPolicy) -> None:
    """One too many fails the job."""
    (tmp_path / "in").write_text("".join("oops\n" if number % 10 == 0 else f"{number}\n" for number in range(1000)))
    text = failure(backend, lambda env: env.from_jsonl(tmp_path / "in", on_error=policy))
    assert "were given up" in text


def test_budgets_hold_for_each_of_several_subtasks(backend: str, tmp_path: Path) -> None:
    """Lines are numbered from the beginning of the file whoever reads them."""
    (tmp_path / "in").write_text("".join("oops\n" if number == 900 else f"{number}\n" for number in range(1000)))
    env = LocalEnvironment("files", backend=backend)
    stream = env.from_jsonl(tmp_path / "in", parallelism=4, on_error=dead_letter(at_most=1))
    letters, records = stream.dead_letters.collect(), stream.collect()
    env.submit(autostop=True)
    assert sorted(records) == [number for number in range(1000) if number != 900]
    assert "in, line 901: not JSON" in letters[0].failure.message


def test_a_record_of_a_gibibyte_may_be_given_up(tmp_path: Path) -> None:
    """Without ever being in memory; here it takes no room on the disk either."""
    with (tmp_path / "in").open("wb") as file:
        file.write(b"a\n")
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nb\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    env = LocalEnvironment("files")
    stream = env.from_text(tmp_path / "in", split_size=None, on_error=dead_letter())
    letters, records = stream.dead_letters.collect(), stream.collect()
    env.submit(autostop=True)
    assert list(records) == ["a", "b"]
    assert letters[0].record == "\0" * 1000
    assert "in, line 2: longer than 67,108,864 bytes" in letters[0].failure.message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 * 1024  # KiB


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.unlink(), "it was there when the job began, and has vanished"),
        (lambda path: path.write_text("1\n"), "bytes when the job began, and has 2 now"),
    ],
    ids=["vanished", "shrunk"],
)
@pytest.mark.parametrize("policy", [None, skip(), retry(1, backoff=0.001), dead_letter("/dev/null")])
def test_a_file_that_changes_before_it_is_read_fails_the_job(
    backend: str, tmp_path: Path, change: Callable[[Path], object], reason: str, policy: ErrorPolicy | None
) -> None:
    """That is no matter of one record, whatever the policy is."""
    (tmp_path / "1").write_text("1\n2\n")
    (tmp_path / "2").write_text("1\n2\n")

    def read(env: LocalEnvironment) -> DataStream[Any]:
        def change_other(line: str) -> str:
            if line == "1":
                change(tmp_path / "2")
            return line

        return env.from_text(tmp_path / "*", on_error=policy).map(change_other)

    assert f"{tmp_path}/2: it" in (text := failure(backend, read))
    assert reason in text


def test_a_file_that_appears_while_the_job_runs_is_not_read(backend: str, tmp_path: Path) -> None:
    """What there is to read is looked for once."""
    (tmp_path / "1").write_text("a\n")

    def add(line: str) -> str:
        (tmp_path / "2").write_text("b\n")
        return line

    assert run(backend, lambda env: env.from_text(tmp_path / "*").map(add)) == ["a"]
