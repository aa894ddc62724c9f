"""`map_batches`: batches of a size, of a waiting time, at the end of input; as lists or arrays."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.core.api import STOP, BaseFunction, LocalEnvironment, SourceFunction, dead_letter, skip
from sage.core.errors import GraphError, JobFailedError


@given(st.integers(0, 40), st.integers(1, 12), st.sampled_from(["inline", "local"]))
def test_all_records_come_in_full_batches_but_the_last(count: int, size: int, backend: str) -> None:
    """The batches, one after the other, are the input."""
    batches: list[list[int]] = []

    def double(batch: list[int]) -> list[int]:
        batches.append(batch)
        return [value * 2 for value in batch]

    env = LocalEnvironment("batches", backend)
    results = env.from_batch(range(count)).map_batches(double, max_size=size).collect()
    env.submit(autostop=True)
    assert results == [value * 2 for value in range(count)]
    assert [value for batch in batches for value in batch] == list(range(count))
    assert all(len(batch) == size for batch in batches[:-1])


def test_a_batch_leaves_when_its_first_record_has_waited_long_enough(backend: str) -> None:
    """A source that has nothing more for now does not keep back what it has given."""
    arrived = threading.Event()

    class ThreeThenQuiet(SourceFunction):
        def __init__(self) -> None:
            self.given = 0

        def execute(self) -> Any:
            if self.given < 3:
                self.given += 1
                return self.given
            return STOP if arrived.is_set() else None

    def note(batch: list[int]) -> list[list[int]]:
        arrived.set()
        return [batch]

    env = LocalEnvironment("wait", backend)
    results = env.from_source(ThreeThenQuiet).map_batches(note, max_size=100, max_wait=0.05).collect()
    env.submit(autostop=True)
    assert [value for batch in results for value in batch] == [1, 2, 3]


def integers(batch: list[str]) -> list[int]:
    return [int(item) for item in batch]


def test_budgets_of_batches_count_records(backend: str) -> None:
    """A batch that is given up counts with all its records, in the metrics, too."""
    for policy in (skip(at_most=10), skip(ratio=0.5)):
        env = LocalEnvironment("budget", backend)
        env.from_batch(["x"] * 200).map_batches(integers, max_size=8, on_error=policy).collect()
        with pytest.raises(JobFailedError, match=r"\d+ records were given up"):
            env.submit(autostop=True)
    env = LocalEnvironment("counted", backend)
    env.from_batch(["x"] * 20).map_batches(integers, max_size=8, on_error=skip()).collect()
    assert env.submit(autostop=True).metrics().operators[1].skipped == 20


def test_a_batch_waits_also_behind_an_exchange(backend: str) -> None:
    """In a task without a source the deadline wakes the task, too."""
    arrived = threading.Event()

    class OneThenQuiet(SourceFunction):
        def __init__(self) -> None:
            self.given = False

        def execute(self) -> Any:
            if not self.given:
                self.given = True
                return 1
            return STOP if arrived.is_set() else None

    def note(batch: list[int]) -> list[int]:
        arrived.set()
        return batch

    env = LocalEnvironment("exchange", backend)
    results = env.from_source(OneThenQuiet).rebalance().map_batches(note, max_wait=0.05, parallelism=2).collect()
    env.submit(autostop=True)
    assert results == [1]


def test_arrays_are_made_on_request(backend: str) -> None:
    """Vector code gets an array, and may put one out."""
    numpy = pytest.importorskip("numpy")
    kinds = set()

    def square(batch: Any) -> Any:
        kinds.add(type(batch))
        return batch * batch

    env = LocalEnvironment("arrays", backend)
    results = env.from_batch(range(5)).map_batches(square, max_size=2, as_array=True).collect()
    env.submit(autostop=True)
    assert [int(value) for value in results] == [0, 1, 4, 9, 16]
    assert kinds == {numpy.ndarray}


def test_any_number_may_come_out_and_classes_may_come_in(backend: str) -> None:
    """A function class with constructor arguments; its attributes last from batch to batch."""

    class Total(BaseFunction):
        def __init__(self, start: int) -> None:
            self.total = start

        def execute(self, batch: list[int]) -> Any:
            self.total += sum(batch)
            yield self.total

    env = LocalEnvironment("class", backend)
    results = env.from_batch([1, 2, 3]).map_batches(Total, 10, max_size=2).collect()
    env.submit(autostop=True)
    assert results == [13, 16]


def test_policies_speak_of_whole_batches(backend: str) -> None:
    """A failing batch is the record that is given up; without a policy it fails the job, and is named."""

    def picky(batch: list[int]) -> list[int]:
        if 3 in batch:
            raise ValueError("three")
        return batch

    env = LocalEnvironment("skip", backend)
    source = env.from_batch(range(6))
    kept = source.map_batches(picky, max_size=2, on_error=skip()).collect()
    letters = source.map_batches(picky, max_size=2, on_error=dead_letter()).dead_letters.collect()
    env.submit(autostop=True)
    assert (kept, [letter.record for letter in letters]) == ([0, 1, 4, 5], [[2, 3]])
    for result, message in (
        (picky, r"three"),
        (lambda batch: 5, r"must return an iterable"),
        (lambda batch: "5", "not str"),
    ):
        env = LocalEnvironment("fail", backend)
        env.from_batch(range(3, 5)).map_batches(result, max_size=2).collect()  # type: ignore[arg-type]
        with pytest.raises(JobFailedError, match=message) as caught:
            env.submit(autostop=True)
        assert caught.value.failure is not None and caught.value.failure.record == "[3, 4]"


def test_sizes_and_times_that_mean_nothing_are_refused() -> None:
    """Both are told at once."""
    env = LocalEnvironment("wrong")
    env.from_batch([1]).map_batches(list, max_size=0, max_wait=-1).collect()
    with pytest.raises(GraphError) as caught:
        env.submit()
    assert "max_size must be" in str(caught.value) and "max_wait must be" in str(caught.value)


def test_records_of_which_no_array_can_be_made_are_the_users_failure(backend: str) -> None:
    """Lists of different lengths make no array: the operator is blamed with its batch, and its policy applies."""
    pytest.importorskip("numpy")
    for policy in (None, skip()):
        env = LocalEnvironment("ragged", backend)
        batches = env.from_batch([[1], [1, 2], [3], [4]])
        results = batches.map_batches(list, max_size=2, as_array=True, on_error=policy).collect()
        if policy is None:
            with pytest.raises(JobFailedError) as caught:
                env.submit(autostop=True)
            assert caught.value.failure is not None
            assert caught.value.failure.uid == "map_batches:list"
            assert caught.value.failure.record == "[[1], [1, 2]]"
        else:
            env.submit(autostop=True)
            assert [value.tolist() for value in results] == [[3], [4]]
