"""Sources that cannot say how they are to be divided are refused before anything runs, by name and line."""

from __future__ import annotations

from typing import Any

import pytest

from sage.core.api import BatchFunction, LocalEnvironment, SourceFunction
from sage.core.errors import GraphError

LIMIT = 60.0


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Parts(BatchFunction):
    """Gives what it is told as its partitions, or raises it; notes whether it was ever asked for a record."""

    asked = 0

    def __init__(self, answer: str) -> None:
        self.answer = ANSWERS[answer][0]

    def partitions(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def execute(self) -> Any:
        Parts.asked += 1


class Streams(SourceFunction):
    def __init__(self, answer: str) -> None:
        self.answer = ANSWERS[answer][0]

    partitions = Parts.partitions

    def execute(self) -> Any:
        Parts.asked += 1


ANSWERS: dict[str, tuple[Any, str]] = {
    "raises": (OSError("not there"), "its partitions cannot be listed: OSError: not there"),
    "raises without words": (MuteError(), "cannot be listed: MuteError: <its text raises RuntimeError>"),
    "stops": (StopIteration("end"), "cannot be listed: StopIteration: end"),
    "none": (None, "partitions() must return a list of names, not None"),
    "text": ("abc", "partitions() must return a list of names, not 'abc'"),
    "numbers": ([1, 2], "partitions() must return a list of names, not [1, 2]"),
    "a set": ({"a"}, "partitions() must return a list of names, not {'a'}"),
    "twice": (["a", "b", "a"], "partitions() names 'a' twice"),
}


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("answer", ANSWERS)
def test_what_are_no_partitions_is_refused(backend: str, answer: str, parallelism: int) -> None:
    """Of all sources at once, each with its line, and none is asked for a record."""
    Parts.asked = 0
    env = LocalEnvironment(backend=backend)
    env.from_batch(Parts, answer, name="batch", parallelism=parallelism).sink(str)
    env.from_source(Streams, answer, name="stream", parallelism=parallelism).sink(str)
    with pytest.raises(GraphError) as caught:
        env.submit(autostop=True, timeout=LIMIT)
    problems = caught.value.problems
    assert [item.operator for item in problems] == ["batch:batch", "source:stream"]
    for item in problems:
        assert ANSWERS[answer][1] in item.message
        assert item.where is not None and item.where.startswith("test_bad_input_partitions.py:")
    assert Parts.asked == 0
    assert env.get_job_status()["status"] == "not_submitted"


class Names(BatchFunction):
    """Each partition is a record."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def partitions(self) -> list[str]:
        return self.names

    def open(self, context: Any) -> None:
        self.left = list(context.partitions)

    def execute(self) -> Any:
        return self.left.pop(0) if self.left else None


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_fewer_or_more_partitions_than_subtasks(backend: str, count: int, caplog: pytest.LogCaptureFixture) -> None:
    """Each is read once; that some subtasks have nothing to read is told."""
    names = [f"part {number}" for number in range(count)]
    env = LocalEnvironment(backend=backend)
    read = env.from_batch(Names, names, parallelism=3, name="it").collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert sorted(read) == names
    assert ("some have nothing to read" in caplog.text) == (count < 3)
