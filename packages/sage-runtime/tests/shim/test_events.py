"""The events file: order, durability, torn tails, one writer."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.runtime.shim.events import EventsCorruptError, EventsFile, EventsFileBusyError, now, read_events


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_what_is_written_is_read(path: Path) -> None:
    """Events come back as written, numbered from one, with the time of writing."""
    with EventsFile(path) as events:
        first = events.append("submitted", attempt=1)
        second = events.append("running", reason="why not", attempt=2, epoch=3, tasks=4)
        assert events.last == second
    assert read_events(path) == [first, second]
    assert (first["seq"], second["seq"]) == (1, 2)
    assert {name: second[name] for name in ("state", "reason", "attempt", "epoch", "tasks")} == {
        "state": "running",
        "reason": "why not",
        "attempt": 2,
        "epoch": 3,
        "tasks": 4,
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])


def test_numbers_go_on(path: Path) -> None:
    """The next writer continues where the last one ended."""
    for _ in range(3):
        with EventsFile(path) as events:
            events.append("queued")
    assert [event["seq"] for event in read_events(path)] == [1, 2, 3]
    assert [event["seq"] for event in read_events(path, after=2)] == [3]


def test_no_file_is_no_events(path: Path) -> None:
    """A job without a file yet has no events."""
    assert read_events(path) == []
    assert not path.exists()


def test_private_from_the_first_moment(path: Path) -> None:
    """The file is its owner's alone."""
    EventsFile(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    """A link in the file's place is refused, by the writer and by readers."""
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        EventsFile(path)
    (tmp_path / "elsewhere").write_text("")
    with pytest.raises(OSError):
        read_events(path)


def test_one_writer(path: Path) -> None:
    """A second writer is refused until the first has let go; readers are not."""
    with EventsFile(path) as events:
        events.append("queued")
        with pytest.raises(EventsFileBusyError, match=r"events\.jsonl"):
            EventsFile(path)
        assert len(read_events(path)) == 1
    EventsFile(path).close()


@pytest.mark.parametrize("torn", [b'{"seq":3', b"\x00\x00", b'{"seq":3,"state":"running"}'])
def test_a_torn_tail(path: Path, torn: bytes) -> None:
    """What has no newline does not count: readers pass over it, the next writer cuts it off."""
    with EventsFile(path) as events:
        events.append("submitted")
        events.append("queued")
    with path.open("ab") as file:
        file.write(torn)
    assert [event["seq"] for event in read_events(path)] == [1, 2]
    with EventsFile(path) as events:
        assert events.append("starting")["seq"] == 3
    assert [event["state"] for event in read_events(path)] == ["submitted", "queued", "starting"]


def test_every_cut(path: Path) -> None:
    """Wherever a crash cuts the file, what was whole before the cut stays, and the next event fits on."""
    with EventsFile(path) as events:
        for state in ("submitted", "queued", "starting"):
            events.append(state)
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        expected = sum(1 for end in ends if end <= cut)
        with EventsFile(path) as events:
            assert events.append("next")["seq"] == expected + 1
        assert len(read_events(path)) == expected + 1


def _line(**changes: Any) -> bytes:
    event = {"seq": 2, "time": now(), "state": "running", "reason": None, "attempt": 1, "epoch": 1, **changes}
    return json.dumps(event).encode() + b"\n"


DAMAGED = [
    b"nonsense\n",
    b"[]\n",
    b"[" * 100_000 + b"\n",
    b'{"seq":2}\n',
    b"\n",
    _line(seq=7),
    _line(seq=True),
    _line(state=5),
    _line(time=None),
    _line(reason=["why"]),
    _line(attempt=1 << 31),
    _line(epoch="1"),
    _line(tasks=10**30),
    _line(services=-1),
    _line(failure="none"),
]


@pytest.mark.parametrize("line", DAMAGED)
def test_damage(path: Path, line: bytes) -> None:
    """A complete line that is no event is told with its place, never skipped."""
    with EventsFile(path) as events:
        events.append("submitted")
    with path.open("ab") as file:
        file.write(line)
    with pytest.raises(EventsCorruptError, match=r"events\.jsonl:2"):
        read_events(path)
    with pytest.raises(EventsCorruptError):
        EventsFile(path)


@pytest.mark.parametrize("call", ["pwrite", "fsync", "ftruncate"])
@pytest.mark.parametrize("partial", [False, True])
def test_the_nth_call_fails(path: Path, monkeypatch: pytest.MonkeyPatch, call: str, partial: bool) -> None:
    """Whichever call fails, the file holds the events whose `append` returned, and those alone; a retry succeeds."""
    real: Callable[..., Any] = getattr(os, call)
    for nth in range(1, 12):
        path.unlink(missing_ok=True)
        count = 0

        def failing(*args: Any, nth: int = nth) -> Any:
            nonlocal count
            count += 1
            if count == nth:
                if partial and call == "pwrite":
                    descriptor, data, offset = args
                    real(descriptor, data[: len(data) // 2], offset)
                raise OSError(errno.ENOSPC, "no space left on device")
            return real(*args)

        written = []
        with EventsFile(path) as events:
            monkeypatch.setattr(os, call, failing)
            for number in range(10):
                for _ in range(3):
                    try:
                        written.append(events.append(f"state-{number}"))
                        break
                    except OSError:
                        assert read_events(path)[: len(written)] == written
                else:
                    pytest.fail("the retry did not succeed")
            monkeypatch.setattr(os, call, real)
        assert read_events(path) == written
        assert [event["seq"] for event in written] == list(range(1, 11))


def test_reading_by_offset(path: Path) -> None:
    """A stream can be fed from the file piece by piece, from any number on."""
    with EventsFile(path) as events:
        for number in range(50):
            events.append("queued", reason="x" * number * 10)
        for after in (0, 1, 25, 49, 50, 99):
            offset, data = events.offset_after(after), b""
            while piece := events.read(offset, 100):
                data += piece
                offset += len(piece)
            assert [json.loads(line)["seq"] for line in data.splitlines()] == list(range(after + 1, 51))


def test_now() -> None:
    """Times are comparable as text."""
    assert now() <= now()
