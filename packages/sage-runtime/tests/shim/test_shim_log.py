"""The job's log: bounded files, offsets that hold across rotation, disks that refuse."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage.runtime.shim import log as module
from sage.runtime.shim.files import write_json
from sage.runtime.shim.log import RotatingLog, index_path, log_files
from sage.runtime.shim.log_reader import read_log

Make = Callable[..., Any]

SMALLEST = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.log"


def everything(path: Path, limit: int = 1000) -> tuple[int, bytes]:
    """The offset of the first byte there is, and all bytes, read in pieces of ``limit``."""
    part = read_log(path, 0, limit)
    first, data = part.offset, part.data
    while not part.at_end:
        part = read_log(path, part.next_offset, limit)
        assert not part.truncated
        data += part.data
    return first, data


def test_short_log(path: Path) -> None:
    """A log that was never rotated is one file."""
    log = RotatingLog(str(path), max_bytes=SMALLEST, keep=2)
    log.write(b"one\n")
    log.write(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    assert log.total == 8
    assert everything(path) == (0, b"one\ntwo\n")
    assert not Path(index_path(str(path))).exists()


def test_rotation(path: Path) -> None:
    """Files are put aside after whole lines, the oldest is dropped, and offsets go on."""
    log = RotatingLog(str(path), max_bytes=SMALLEST, keep=2)
    lines = [f"line {number:05}\n".encode() for number in range(2000)]
    for line in lines:
        log.write(line)
    whole = b"".join(lines)
    assert [number for number, _ in log_files(str(path))] == [2, 1, 0]
    for _, name in log_files(str(path)):
        content = Path(name).read_bytes()
        assert len(content) <= SMALLEST
        assert content.startswith(b"line ") and content.endswith(b"\n")
    first, data = everything(path)
    assert whole[first:] == data
    assert log.total == len(whole)
    assert read_log(path, 0).truncated
    assert not read_log(path, first).truncated
    assert read_log(path, -20).data == whole[-20:]


def test_a_line_larger_than_a_file(path: Path) -> None:
    """A line without end is cut, since the bound counts more."""
    log = RotatingLog(str(path), max_bytes=SMALLEST, keep=1)
    log.write(b"short\n")
    log.write(b"\xff" * 100_000)
    assert all(Path(name).stat().st_size <= SMALLEST for _, name in log_files(str(path)))
    assert len(list(log_files(str(path)))) == 2
    assert log.total == 100_006


def test_nothing_kept(path: Path) -> None:
    """With keep=0 there is only ever the one file."""
    log = RotatingLog(str(path), max_bytes=SMALLEST, keep=0)
    for number in range(1000):
        log.write(f"{number:09}\n".encode())
    assert list(log_files(str(path))) == [(0, str(path))]
    first, data = everything(path)
    assert first + len(data) == log.total == 10_000


def test_the_next_attempt_appends(path: Path) -> None:
    """A new shim goes on where the log ends, also where fewer files are to be kept."""
    first = RotatingLog(str(path), max_bytes=SMALLEST, keep=3)
    first.write(b"a line of the first\n" * 700)
    first.close()
    second = RotatingLog(str(path), max_bytes=SMALLEST, keep=1)
    assert second.total == 14_000
    second.write(b"a line of the second\n")
    assert [number for number, _ in log_files(str(path))] == [1, 0]
    offset, data = everything(path)
    assert offset + len(data) == 14_021
    assert data.endswith(b"first\na line of the second\n")


@pytest.mark.parametrize("call", ["unlink", "rename", "write_json", "open"])
def test_a_rotation_cut_short(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A shim killed at any step of a rotation leaves a log that its successor continues without losing count."""

    class KilledError(BaseException):
        pass

    for nth in range(1, 8):
        for _, name in list(log_files(str(path))):
            Path(name).unlink()
        Path(index_path(str(path))).unlink(missing_ok=True)
        log = RotatingLog(str(path), max_bytes=SMALLEST, keep=2)
        whole = b"".join(f"line {number:05}\n".encode() for number in range(1500))
        count = 0
        owner = module if call == "write_json" else os
        real = getattr(owner, call)

        def killing(*args: Any, nth: int = nth, real: Any = real) -> Any:
            nonlocal count
            count += 1
            if count == nth:
                raise KilledError
            return real(*args)

        monkeypatch.setattr(owner, call, killing)
        written = 0
        try:
            for start in range(0, len(whole), 100):
                log.write(whole[start : start + 100])
                written = start + 100
        except KilledError:
            pass
        monkeypatch.setattr(owner, call, real)
        log.close()
        total = log.total
        again = RotatingLog(str(path), max_bytes=SMALLEST, keep=2)
        assert again.total == total >= written
        again.write(b"next\n")
        offset, data = everything(path)
        assert data == (whole[:total] + b"next\n")[offset:]
        again.close()


@given(
    writes=st.lists(st.tuples(st.binary(max_size=50), st.integers(0, 300)), max_size=40),
    keep=st.integers(0, 3),
    limit=st.integers(16, 5000),
    restarts=st.booleans(),
)
@settings(max_examples=150)
def test_whatever_is_written(writes: list[tuple[bytes, int]], keep: int, limit: int, restarts: bool) -> None:
    """Read from any offset that is still there, the log is a suffix of what was written, without gap or repetition."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.log"
        whole = b""
        log = RotatingLog(str(path), max_bytes=SMALLEST, keep=keep)
        for data, times in writes:
            log.write(data * times)
            whole += data * times
            if restarts:
                log.close()
                log = RotatingLog(str(path), max_bytes=SMALLEST, keep=keep)
        log.close()
        assert log.total == len(whole)
        first, data = everything(path, limit)
        assert whole[first:] == data
        sizes = [Path(name).stat().st_size for _, name in log_files(str(path))]
        assert len(sizes) <= keep + 1 and all(size <= SMALLEST for size in sizes)


def test_pieces_do_not_cut_characters(path: Path) -> None:
    """A piece ends after a whole line if it holds one, else between characters."""
    path.write_bytes(("€" * 50 + "\nrest").encode())
    part = read_log(path, 0, 20)
    assert part.text == "€" * 6
    assert read_log(path, 0, 153).text == "€" * 50 + "\n"
    assert read_log(path, 151, 100).text == "rest"
    path.write_bytes(b"\x80" * 100)
    assert read_log(path, 0, 20).data == b"\x80" * 20


def test_reading_what_is_not_there(path: Path) -> None:
    """No log yet, or nothing new yet, reads as nothing."""
    part = read_log(path, 0)
    assert (part.data, part.next_offset, part.at_end, part.truncated) == (b"", 0, True, False)
    path.write_bytes(b"x")
    part = read_log(path, 100)
    assert (part.data, part.next_offset, part.at_end) == (b"", 100, True)
    assert read_log(path.parent / "none" / "job.log", 0).at_end


def test_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written is counted, and told as soon as something can be written again."""
    log = RotatingLog(str(path), max_bytes=1 << 20, keep=1)
    log.write(b"before, no line end")
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "write", full)
    log.write(b"x" * 1000)
    log.write(b"y" * 234)
    assert log.lost == 1234
    monkeypatch.setattr(os, "write", real)
    log.write(b"after\n")
    assert log.lost == 0
    lines = path.read_text().splitlines()
    assert lines[0] == "before, no line end"
    assert "1234 bytes" in lines[1]
    assert lines[2] == "after"
    assert log.tail().endswith("yafter\n")


def test_a_disk_that_refuses_rotation(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no new file can be made the log stays bounded, and goes on once it can."""
    log = RotatingLog(str(path), max_bytes=SMALLEST, keep=1)
    real = write_json

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(module, "write_json", full)
    for _ in range(100):
        log.write(b"a line of some length\n" * 10)
    assert log.lost > 0
    assert sum(Path(name).stat().st_size for _, name in log_files(str(path))) <= 2 * SMALLEST
    monkeypatch.setattr(module, "write_json", real)
    log.write(b"after\n")
    first, data = everything(path)
    assert data.endswith(b"after\n") and b"bytes of output were lost" in data
    assert first + len(data) == log.total


def test_a_damaged_index(path: Path) -> None:
    """Without a usable index the text is still all there."""
    log = RotatingLog(str(path), max_bytes=SMALLEST, keep=5)
    log.write(b"a line\n" * 1000)
    log.close()
    Path(index_path(str(path))).write_text("nonsense")
    assert len(list(log_files(str(path)))) == 2
    assert read_log(path, 0).data
    RotatingLog(str(path), max_bytes=SMALLEST, keep=5).close()


def test_a_file_removed_from_between(path: Path) -> None:
    """Where a file between two others is gone, reading goes on behind the gap instead of standing still there."""
    log = RotatingLog(str(path), max_bytes=SMALLEST, keep=5)
    whole = b"".join(b"%06d\n" % number for number in range(4000))
    log.write(whole)
    log.close()
    files = [Path(name) for _, name in log_files(str(path))]
    sizes = [file.stat().st_size for file in files]
    files[2].unlink()
    offset, seen, truncated = len(whole) - sum(sizes), b"", 0
    while offset < len(whole):
        part = read_log(path, offset, 1000)
        assert part.data
        seen += part.data
        truncated += part.truncated
        offset = part.next_offset
    assert part.at_end and truncated == 1
    begin = len(whole) - sum(sizes)
    assert seen == whole[begin : begin + sum(sizes[:2])] + whole[begin + sum(sizes[:3]) :]


@pytest.mark.parametrize(
    "index",
    [
        '{"files": [], "next": 1e400}',
        '{"files": [], "next": -5}',
        '{"files": [[true, 0]], "next": 0}',
        '{"files": [], "next": 1' + "0" * 40 + "}",
        "[" * 100_000,
    ],
)
def test_an_index_of_impossible_numbers(path: Path, index: str) -> None:
    """An index that the job has written over counts for nothing: the log is read to its end, and written on."""
    log = RotatingLog(str(path), max_bytes=SMALLEST, keep=5)
    log.write(b"a line\n" * 1000)
    Path(index_path(str(path))).write_text(index)
    offset, parts = 0, 0
    while not (part := read_log(path, offset)).at_end:
        offset, parts = part.next_offset, parts + 1
        assert part.data and parts < 100
    log.write(b"another line\n" * 1000)
    log.close()
    assert read_log(path, -8).data == b"er line\n"


def test_indexed_files_that_overlap(path: Path) -> None:
    """Files that begin, as the index says, inside one another are read one after the other."""
    log = RotatingLog(str(path), max_bytes=SMALLEST, keep=5)
    log.write(b"a line\n" * 2000)
    log.close()
    files = [Path(name) for _, name in log_files(str(path))]
    entries = [[file.stat().st_ino, 10] for file in files]
    Path(index_path(str(path))).write_text(json.dumps({"files": entries, "next": 0}))
    _, data = everything(path)
    assert len(data) == sum(file.stat().st_size for file in files)


def test_what_is_no_file(path: Path) -> None:
    """A pipe, a folder or a link in the place of one of the log's files holds nobody up, and is no part of the log."""
    path.write_bytes(b"the log\n")
    os.mkfifo(path.with_name("job.log.1"))
    path.with_name("job.log.2").mkdir()
    path.with_name("job.log.3").symlink_to("/etc/passwd")
    os.mkfifo(index_path(str(path)))
    part = read_log(path)
    assert (part.data, part.at_end) == (b"the log\n", True)
    path.unlink()
    os.mkfifo(path)
    assert read_log(path).data == b""
    with pytest.raises(OSError):
        RotatingLog(str(path), max_bytes=SMALLEST, keep=5)


def test_tens_of_megabytes(scripted: Make) -> None:
    """A job that floods its log is not stopped, its log stays bounded, and its last words are there."""
    job = scripted(
        """
        running()
        block = b"".join(b"%07d " % n + b"x" * 91 + b"\\n" for n in range(10_000))
        for _ in range(30):
            os.write(1, block)
            sys.stdout.flush()
        os.write(1, b"\\xff\\x00" * 1_000_000 + b"\\nlast words\\n")
        ended("completed")
        """,
        log={"max_bytes": 1 << 20, "keep": 3},
    ).start()
    assert job.wait_ended()["state"] == "completed"
    files = list(log_files(str(job.folder / "logs" / "job.log")))
    assert len(files) == 4
    assert all(Path(name).stat().st_size <= 1 << 20 for _, name in files)
    part = read_log(job.folder / "logs" / "job.log", -11)
    assert part.data == b"last words\n"
    assert part.next_offset == 30 * 10_000 * 100 + 2_000_000 + 12


def test_reading_while_it_is_written(scripted: Make) -> None:
    """A reader that keeps up sees every byte once, whatever the rotation does meanwhile."""
    job = scripted(
        """
        running()
        for number in range(2000):
            os.write(1, b"%09d\\n" % number)
            if number % 100 == 99:
                nudged()
        ended("completed")
        """,
        log={"max_bytes": SMALLEST, "keep": 3},
    ).start()
    job.wait_for("running")
    path, offset, seen = job.folder / "logs" / "job.log", 0, b""
    for _ in range(20):
        target = offset + 1000
        while offset < target:
            part = read_log(path, offset, 777)
            assert not part.truncated
            seen += part.data
            offset = part.next_offset
        job.nudge()
    assert job.wait_ended()["state"] == "completed"
    assert seen == b"".join(b"%09d\n" % number for number in range(2000))
