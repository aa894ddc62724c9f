"""What crosses between processes: all of it comes back equal, and what cannot is told by name."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import LocalEnvironment
from sage.core.api._packing import pack_graph
from sage.core.backends.api import Attempt, Command, TaskEvent, TaskId, load_tasks
from sage.core.backends.codec import OUT_OF_BAND, decode, decode_event, encode, encode_event
from sage.core.engine.events import TaskCounts
from sage.core.engine.messages import Batch, EndOfInput, Hold, Message, Probe, Unreadable, Watermark
from sage.core.errors import InvalidPackageError, TransferError
from sage.core.models import FailureInfo

TASK = TaskId(1, 2)


class Memory:
    """Pickles its memory apart, as arrays do."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (Memory, (pickle.PickleBuffer(self.data),))


class Gone:
    """Pickles, and cannot be rebuilt."""

    def __reduce__(self) -> Any:
        return (explode, ())


def explode() -> None:
    raise LookupError("gone")


class Awkward(Exception):
    """Does not pickle."""

    def __reduce__(self) -> Any:
        raise TypeError("never")


@pytest.mark.parametrize(
    "message",
    [
        Batch([1, None, "x"]),
        Batch([1, 2], ["a", ("b", 1)], [5, None], 7),
        Watermark(3, idle=True),
        EndOfInput(),
        Probe(1, -1, over=False),
        Hold(2, 3, on=True),
        Unreadable("reason"),
        Command("align", 5),
    ],
)
def test_messages_come_back_equal(message: Message | Command) -> None:
    """Each kind of them."""
    data, buffers = encode(message)
    assert decode(data, buffers) == message
    assert not buffers


def test_large_buffers_are_given_apart() -> None:
    """They are not copied, on neither side; small ones go into the pickle."""
    large, small = bytearray(b"\x01" * OUT_OF_BAND), bytearray(b"\x02" * 10)
    data, buffers = encode(Batch([Memory(large), Memory(small)]))
    assert [len(buffer) for buffer in buffers] == [OUT_OF_BAND]
    assert len(data) < 1_000
    arrived = [bytearray(buffer) for buffer in buffers]
    first, second = decode(data, arrived).records
    assert bytes(second.data) == bytes(small)
    arrived[0][0] = 9
    assert memoryview(first.data)[0] == 9


def test_a_record_that_cannot_be_pickled_is_found() -> None:
    """Its place, its type, and the way to the part."""
    with pytest.raises(TransferError, match=r"a record \(dict\).*record\['lock'\]") as caught:
        encode(Batch([{"lock": 1}, {"lock": threading.Lock()}, 3]))
    assert (caught.value.index, caught.value.path) == (1, "record['lock']")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_what_cannot_be_rebuilt_becomes_a_message() -> None:
    """Whoever reads it from a socket need not know what to do about it."""
    assert decode(*encode(Batch([Gone()]))) == Unreadable("LookupError: gone")


def test_events_come_back_equal() -> None:
    """With their failure, their counts, and their exception if that travels."""
    failure = FailureInfo("user_code", "it failed")
    event = TaskEvent(TASK, "failed", counts=TaskCounts(edges={1: (2, 3)}), failure=failure, error=ValueError("x"))
    came = decode_event(encode_event(event))
    assert (came.task, came.kind, came.counts, came.failure) == (TASK, "failed", event.counts, failure)
    assert isinstance(came.error, ValueError)
    came = decode_event(encode_event(TaskEvent(TASK, "failed", failure=failure, error=Awkward())))
    assert (came.failure, came.error) == (failure, None)


def test_collected_records_that_do_not_travel_are_told() -> None:
    """Here by an error, where they cannot be rebuilt by an event that fails their task."""
    collected = TaskEvent(TASK, "collected", uid="sink", records=[1, 2])
    assert decode_event(encode_event(collected)) == collected
    with pytest.raises(TransferError, match="a record"):
        encode_event(TaskEvent(TASK, "collected", uid="sink", records=[threading.Lock()]))
    event = decode_event(encode_event(TaskEvent(TASK, "collected", uid="sink", records=[Gone()])))
    assert (event.task, event.kind) == (TASK, "failed")
    assert event.failure is not None and "LookupError: gone" in event.failure.message


def test_a_package_of_another_job_is_refused(tmp_path: Path) -> None:
    """An attempt runs the code that belongs to it and no other."""
    env = LocalEnvironment("packed")
    env.from_batch([1]).sink(print)
    pack_graph(tmp_path / "package.zip", env._builder.build(), env.env_uuid, "processes")
    with pytest.raises(InvalidPackageError, match=env.env_uuid):
        load_tasks(tmp_path / "package.zip", [TaskId(0, 0)], Attempt("another"))
