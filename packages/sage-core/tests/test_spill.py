"""What waits at the head of a loop: in memory, then on disk, in order, and within its bounds."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.core.engine import spill
from sage.core.engine.messages import Batch, EndOfInput, Message, Probe
from sage.core.engine.spill import Backlog, SpillingInbox

LIMIT = 60.0


def inbox(in_memory: int = 3, on_disk: int = 1 << 20, folder: Path | None = None) -> tuple[Backlog, SpillingInbox]:
    backlog = Backlog("again", in_memory, on_disk, folder)
    return backlog, SpillingInbox(backlog, lambda: None)


def take_all(box: SpillingInbox) -> list[Message]:
    found = []
    while (message := box.take()) is not None:
        found.append(message)
    return found


messages = st.one_of(
    st.lists(st.integers(), max_size=5).map(Batch),
    st.builds(Batch, st.just(["x"]), st.just([1]), st.just([None]), st.just(7)),
    st.just(EndOfInput()),
    st.builds(Probe, st.integers(1, 9), st.integers(-1, 3), st.booleans()),
)


@given(steps=st.lists(st.one_of(messages, st.none()), max_size=60), in_memory=st.integers(1, 8))
def test_order_is_kept_and_memory_is_bounded(steps: list[Message | None], in_memory: int) -> None:
    """Whatever comes when, it is taken in the order in which it came; no more records than allowed are in memory."""
    backlog, box = inbox(in_memory)
    expected: list[Message] = []
    for step in steps:
        if step is None:
            assert box.take() == (expected.pop(0) if expected else None)
        else:
            expected.append(step)
            box.put(step)
        assert len(box) == len(expected)
        assert backlog.records <= in_memory
        assert backlog.waiting == sum(len(item.records) for item in expected if isinstance(item, Batch))
    assert take_all(box) == expected
    assert (backlog.error, backlog.bytes, backlog.records, backlog.waiting) == (None, 0, 0, 0)
    backlog.close()


def full_disk(*, prefix: str, dir: Path | None, buffering: int = -1) -> IO[bytes]:
    return Path("/dev/full").open("r+b", buffering=buffering)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk at hand")
def test_a_full_disk_is_told_where_it_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop fails by name for it, and what could not be written does not fail it again as it is closed."""
    backlog, box = inbox(in_memory=1)
    monkeypatch.setattr(tempfile, "TemporaryFile", full_disk)
    box.put(Batch([1]))
    box.put(Batch([2]))
    assert "cannot write to disk what waits to go round again" in str(backlog.error)
    backlog.close()


def test_files_have_no_name_and_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is to be found in the folder, and what was read is closed, file by file."""
    monkeypatch.setattr(spill, "_SEGMENT", 1000)
    backlog, box = inbox(1, folder=tmp_path)
    for number in range(300):
        box.put(Batch([number, "x" * 50]))
    files = len(backlog._files)
    assert files > 10
    assert backlog.spilled > 15_000
    assert list(tmp_path.iterdir()) == []
    for number in range(150):
        assert box.take() == Batch([number, "x" * 50])
    assert len(backlog._files) < files
    backlog.close()
    assert not backlog._files


def test_room_is_shared_among_inboxes() -> None:
    """What one of them holds, the others cannot."""
    backlog = Backlog("again", 4, 1 << 20)
    first, second = (SpillingInbox(backlog, lambda: None) for _ in range(2))
    first.put(Batch([1, 2, 3]))
    second.put(Batch([4, 5]))
    assert backlog.bytes > 0
    assert second.take() == Batch([4, 5])
    assert backlog.bytes == 0
    assert take_all(first) == [Batch([1, 2, 3])]


def test_no_room_on_disk_either() -> None:
    """It is told by the loop's name; what was kept before stays as it is, and nothing blocks."""
    backlog, box = inbox(2, 100)
    for number in range(50):
        box.put(Batch([number, number]))
    assert backlog.error is not None
    assert backlog.error.loop == "again"
    assert "the loop 'again' makes more of its records than can wait" in str(backlog.error)
    backlog.close()


def test_what_cannot_be_pickled() -> None:
    """In memory it is as good as anything; on disk it cannot be."""
    backlog, box = inbox(2)
    lock: Any = threading.Lock()
    box.put(Batch([lock]))
    assert take_all(box) == [Batch([lock])]
    box.put(Batch([lock, lock, lock]))
    assert backlog.error is not None
    assert "cannot write them to disk: TypeError" in str(backlog.error)


class Stubborn:
    """Pickles, and does not come back."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


def test_what_cannot_be_read_back() -> None:
    """It is told, too."""
    backlog, box = inbox(1)
    box.put(Batch([Stubborn(), Stubborn()]))
    assert box.take() is None
    assert "cannot read back" in str(backlog.error)
    backlog.close()


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    """A disk that takes nothing is the loop's failure."""
    backlog, box = inbox(1, folder=tmp_path / "gone")
    box.put(Batch([1, 2]))
    assert "cannot write to disk" in str(backlog.error)


def test_two_threads() -> None:
    """One puts, one takes, and all comes through in order."""
    backlog, box = inbox(50)
    found: list[int] = []
    woken = threading.Event()
    box._wake = woken.set

    def take() -> None:
        while len(found) < 20_000:
            woken.wait(LIMIT)
            woken.clear()
            for message in take_all(box):
                assert isinstance(message, Batch)
                found.extend(message.records)

    thread = threading.Thread(target=take)
    thread.start()
    for start in range(0, 20_000, 10):
        box.put(Batch(list(range(start, start + 10))))
    thread.join(LIMIT)
    assert found == list(range(20_000))
    assert backlog.error is None
    backlog.close()


def test_what_comes_after_the_end() -> None:
    """It is there for the head to find that it should not be."""
    backlog, box = inbox(1)
    backlog.close()
    box.put(Batch([1, 2, 3]))
    assert box.take() == Batch([1, 2, 3])
    assert backlog.error is None
