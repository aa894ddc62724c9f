"""The backend `processes`: pipelines give what they give elsewhere, in several processes."""

from __future__ import annotations

import logging
import os
import pickle
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import BatchFunction, LocalEnvironment, MapFunction, SourceFunction
from sage.core.backends.api import CREDITS

LIMIT = 60.0

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def seventh(value: int) -> int:
    return value % 7


def add(left: int, right: int) -> int:
    return left + right


class WithPid(MapFunction[Any, tuple[int, Any]]):
    """Tells in which process it is called."""

    def execute(self, value: Any) -> tuple[int, Any]:
        return (os.getpid(), value)


def environment(**options: Any) -> LocalEnvironment:
    return LocalEnvironment("test", backend="processes", options=options)


def test_keyed_sums_over_two_workers() -> None:
    """Records are exchanged by key between processes, and what is collected comes back to this one."""
    env = environment(workers=2)
    numbers = env.from_batch(range(10_000)).map(WithPid, parallelism=2)
    pids = numbers.map(lambda pair: pair[0]).collect()
    sums = (
        numbers.map(lambda pair: pair[1], parallelism=2)
        .keyby(seventh, parallelism=2)
        .reduce(add, final=True, parallelism=2)
        .collect()
    )
    assert env.submit(autostop=True, timeout=LIMIT).status()["status"] == "completed"
    assert sorted(sums) == sorted(sum(range(rest, 10_000, 7)) for rest in range(7))
    assert len(pids) == 10_000
    assert len(set(pids)) == 2
    assert os.getpid() not in pids


def test_order_is_kept_along_one_path() -> None:
    """From one subtask to the next, across a process each, in the order in which they came."""
    env = environment(workers=3)
    result = env.from_batch(range(30_000)).rebalance().map(str).rebalance().map(int).rebalance().collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert result == list(range(30_000))


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers(workers: int) -> None:
    """More tasks than workers share them; a single worker has them all."""
    env = environment(workers=workers)
    stream = env.from_batch(["b", "a", "b"]).map(str.upper, parallelism=4)
    result = stream.map(WithPid, parallelism=2).collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert Counter(value for _, value in result) == {"B": 2, "A": 1}
    assert len({pid for pid, _ in result}) <= workers


class Large(BatchFunction[Any]):
    """Makes as many large records as are asked for."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = list(sizes)

    def execute(self) -> bytes | None:
        return b"\xa5" * self.sizes.pop(0) if self.sizes else None


def measured(value: bytes) -> tuple[int, int]:
    return (len(value), zlib.crc32(value))


@pytest.mark.parametrize("shared_memory", [0, 1 << 20, 1 << 28])
def test_large_records_come_through(shared_memory: int) -> None:
    """By memory that both processes share as far as there is room in it, and else by the socket."""
    sizes = [1, 1 << 15, 1 << 16, (1 << 18) + 3, 1 << 20, 5_000_001] * 4
    env = environment(workers=2, shared_memory=shared_memory)
    result = env.from_batch(Large, sizes).rebalance().map(measured).collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert result == [measured(b"\xa5" * size) for size in sizes]


def test_a_record_of_a_gibibyte_comes_through() -> None:
    """It takes its time, and neither hangs nor is taken for a worker that is lost."""
    env = environment(workers=2)
    result = env.from_batch(Large, [1 << 30]).rebalance().map(len).collect()
    env.submit(autostop=True, timeout=LIMIT * 2)
    assert result == [1 << 30]


class Buffers(BatchFunction[Any]):
    """Makes records that pickle their memory apart, as arrays do."""

    def __init__(self, count: int, size: int) -> None:
        self.count = count
        self.size = size

    def execute(self) -> Buffer | None:
        self.count -= 1
        return Buffer(bytearray([self.count % 256]) * self.size) if self.count >= 0 else None


class Buffer:
    """Memory that somebody owns."""

    def __init__(self, memory: Any) -> None:
        self.memory = memory

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (Buffer, (pickle.PickleBuffer(self.memory),))


class Keeps(MapFunction[Buffer, tuple[int, int, int]]):
    """Keeps every third record for good, and changes the others, which are its own."""

    def __init__(self) -> None:
        self.kept: list[Buffer] = []

    transient = ("kept",)

    def execute(self, value: Buffer) -> tuple[int, int, int]:
        memory = memoryview(value.memory)
        told = (memory.nbytes, memory[0], memory[-1])
        if told[1] % 3 == 0:
            self.kept.append(value)
        else:
            memory[:] = bytes(memory.nbytes)
        return told

    def close(self) -> None:
        for number, value in enumerate(sorted(self.kept, key=lambda one: memoryview(one.memory)[0])):
            assert set(memoryview(value.memory)) == {3 * number}


@pytest.mark.parametrize("shared_memory", [1 << 20, 1 << 28])
def test_shared_memory_is_used_again_only_when_nobody_has_it(shared_memory: int) -> None:
    """Records that are kept stay as they are, whatever comes later, and more of them than there is room for."""
    env = environment(workers=2, shared_memory=shared_memory)
    result = env.from_batch(Buffers, 100, 100_000).rebalance().map(Keeps).collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert result == [(100_000, number, number) for number in range(99, -1, -1)]


def test_a_slow_reader_holds_up_whoever_sends(tmp_path: Path) -> None:
    """No more is on its way than the credits of the channel allow."""
    env = environment(workers=2)
    source = env.from_source(Counted, str(tmp_path / "made"))
    source.rebalance().map(Gate, str(tmp_path / "open")).sink(print)
    job = env.submit()
    made, before = tmp_path / "made", -1
    deadline = time.monotonic() + LIMIT
    while not made.exists() or made.stat().st_size != before:  # until it does not grow any more
        before = made.stat().st_size if made.exists() else -1
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert before <= (CREDITS + 4) * 1024
    job.stop()
    (tmp_path / "open").touch()
    assert job.wait(LIMIT)["status"] == "cancelled"


class Counted(SourceFunction[int]):
    """Writes a byte for each record that it makes."""

    transient = ("file",)

    def __init__(self, path: str) -> None:
        self.path = path

    def open(self, context: Any) -> None:
        self.file = Path(self.path).open("ab", buffering=0)  # noqa: SIM115 - closed by close

    def execute(self) -> int:
        self.file.write(b".")
        return 1

    def close(self) -> None:
        self.file.close()


class Gate(MapFunction[int, int]):
    """Lets nothing through before a file is there."""

    def __init__(self, path: str) -> None:
        self.path = path

    def execute(self, value: int) -> int:
        while not Path(self.path).exists():
            time.sleep(0.01)
        return value


def test_metrics_and_placement_come_from_the_workers() -> None:
    """What each task has counted, and which process it runs in."""
    env = environment(workers=2)
    env.from_batch(range(1_000)).map(str, name="texts", parallelism=2).sink(print_nothing)
    job = env.submit(autostop=True, timeout=LIMIT)
    counts = {item.name: (item.records_in, item.records_out) for item in job.metrics().operators}
    assert counts["texts"] == (1_000, 1_000)
    assert job.status()["records_out"] == 1_000


def print_nothing(value: Any) -> None:
    """A sink."""


def test_transactional_files_are_published_together(tmp_path: Path) -> None:
    """Sinks in several processes wait for each other before they make anything visible."""
    env = environment(workers=3)
    env.from_batch(range(100)).map(str, parallelism=3).to_text(tmp_path / "out", parallelism=3)
    env.submit(autostop=True, timeout=LIMIT)
    lines = [line for path in tmp_path.glob("out*") for line in path.read_text().splitlines()]
    assert sorted(lines, key=int) == [str(number) for number in range(100)]


def logs(value: int) -> int:
    logging.getLogger("shop").debug("too much")
    logging.getLogger("shop").info("%d apples", value)
    try:
        raise ValueError("rotten")
    except ValueError:
        logging.getLogger("shop").exception("no pears")
    return value


def test_what_workers_log_is_handled_here(caplog: pytest.LogCaptureFixture) -> None:
    """By the program's own handlers and levels, with the traceback as it was there."""
    caplog.set_level(logging.INFO, "shop")
    env = environment(workers=2)
    env.from_batch([3]).rebalance().map(logs).sink(print_nothing)
    env.submit(autostop=True, timeout=LIMIT)
    found = [record for record in caplog.records if record.name == "shop"]
    assert [(record.levelname, record.getMessage()) for record in found] == [
        ("INFO", "3 apples"),
        ("ERROR", "no pears"),
    ]
    assert found[1].exc_text is not None and "ValueError: rotten" in found[1].exc_text
    assert found[0].process != os.getpid()
