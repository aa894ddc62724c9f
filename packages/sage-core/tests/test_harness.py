"""The harness of operators: what is given step by step, and what is found in one list."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from sage.core.api import DataStream, MapFunction, RuntimeContext, dead_letter
from sage.core.errors import GraphError, JobFailedError, WrongStateError
from sage.core.testing import End, Fail, Forever, Harness, Input, Pause, Side, run_operator


def last_two(value: int) -> list[int]:
    return [value // 10, value % 10]


class Total(MapFunction[int, int]):
    """The sum of all numbers of a key; it notes when it is opened and closed."""

    lives: list[str]  # of all of them

    def open(self, context: RuntimeContext) -> None:
        self.lives.append("open")
        self.total = context.reducing_state("total", lambda a, b: a + b)

    def execute(self, value: int) -> int:
        total: int = self.total.add(value)
        return total

    def close(self) -> None:
        self.lives.append("close")


@pytest.fixture(autouse=True)
def _lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Total, "lives", [], raising=False)


def test_records_come_out_in_order() -> None:
    """What each record makes is there before the next is given; None and a list are records like any other."""
    assert run_operator(lambda s: s.flatmap(last_two), [12, 34]) == [1, 2, 3, 4]
    assert run_operator(lambda s: s.map(lambda value: value), [None, [1], 2]) == [None, [1], 2]


def test_an_operator_has_as_many_inputs_as_parameters() -> None:
    """Steps name the input that they are for, the first if they do not."""
    steps = [1, Input(1, "a"), 2]
    assert run_operator(lambda a, b: a.connect(b).comap(str, str.upper), steps) == ["1", "A", "2"]
    three = run_operator(lambda a, b, c: a.union(b, c), [Input(2, 1), 2, Input(1, 3)])
    assert three == [1, 2, 3]


def test_several_operators_and_subtasks_are_one_to_the_harness() -> None:
    """They run as they always do, keys and all."""

    def operator(stream: DataStream[int]) -> DataStream[int]:
        return stream.map(lambda v: v + 1, parallelism=3).keyby(lambda v: v % 2).map(Total, parallelism=2)

    assert run_operator(operator, [0, 1, 2, 3]) == [1, 2, 4, 6]
    assert Total.lives == ["open"] * 2 + ["close"] * 2


def test_the_end_comes_after_the_last_step() -> None:
    """Unless there is to be none."""

    def final(stream: DataStream[int]) -> DataStream[int]:
        return stream.reduce(lambda a, b: a + b, final=True)

    assert run_operator(final, [1, 2]) == [3]
    assert run_operator(final, [1, 2, Forever()]) == []
    assert run_operator(lambda a, b: final(a.union(b)), [1, End(), Input(1, 2), Input(1, Forever())]) == []


def test_time_passes_where_a_step_says_so() -> None:
    """What is due meanwhile is done at its time, nothing else is; no time passes outside."""

    def batches(stream: DataStream[int]) -> DataStream[list[int]]:
        return stream.map_batches(lambda batch: [batch], max_size=10, max_wait=3600)

    assert run_operator(batches, [1, Pause(3599), 2, Pause(2), 3, Forever()]) == [[1, 2]]
    with Harness(batches) as harness:
        assert harness.send(1) == []
        assert harness.advance(3599) == []
        assert harness.advance(1) == [[1]]
        assert harness.send(2) == []
        assert harness.advance(10_000) == [[2]]
        assert harness.outputs == [[1], [2]]


class Split(MapFunction[int, int]):
    def execute(self, value: int) -> int:
        if value % 2:
            self.context.side_output("odd", value)
        return -value


def test_side_outputs_are_in_the_same_list() -> None:
    """Where they are asked for."""
    assert run_operator(lambda s: s.map(Split), [1, 2]) == [-1, -2]
    steps = run_operator(lambda s: s.map(Split), [1, 2], side_outputs=["odd"])
    assert steps == [-1, Side("odd", 1), -2]


def test_dead_letters_are_in_the_same_list() -> None:
    """They need not be asked for."""

    def operator(stream: DataStream[int]) -> DataStream[float]:
        return stream.map(lambda v: 6 / v, on_error=dead_letter())

    with Harness(operator) as harness:
        assert harness.send(3) == [2]
        (letter,) = harness.send(0)
        assert isinstance(letter, Side) and letter.tag == "dead_letters" and letter.record.record == 0
        assert harness.send(6) == [1]
        assert harness.side_outputs("dead_letters") == [letter.record]


def test_services_are_given() -> None:
    """By the name that functions call them by."""

    class Prices:
        def of(self, name: str) -> int:
            return len(name)

    class Price(MapFunction[str, int]):
        def execute(self, value: str) -> int:
            price: int = self.call_service("prices").of(value)
            return price

    assert run_operator(lambda s: s.map(Price), ["ab"], services={"prices": Prices}) == [2]


def test_an_error_shows_the_users_own_frames() -> None:
    """And names the operator and the record."""

    def broken(value: int) -> float:
        return 1 / value

    with pytest.raises(JobFailedError, match="record: 0") as caught:
        run_operator(lambda s: s.map(broken), [1, 0])
    cause = caught.value.__cause__
    assert isinstance(cause, ZeroDivisionError)
    assert [frame.name for frame in traceback.extract_tb(cause.__traceback__)] == ["broken"]


def test_after_a_failure_it_takes_nothing_more() -> None:
    """What is given then could not arrive."""
    with Harness(lambda s: s.keyby(lambda v: v).map(Total)) as harness:
        harness.send(1)
        with pytest.raises(JobFailedError, match="the cable"):
            harness.fail(OSError("the cable"))
        assert Total.lives == ["open", "close"]
        with pytest.raises(WrongStateError, match="it takes nothing more"):
            harness.send(2)
    with pytest.raises(JobFailedError, match="the cable"):
        run_operator(lambda s: s.map(str), [1, Fail(OSError("the cable"))])


def test_an_input_that_has_ended_takes_nothing_more() -> None:
    """While others still do."""
    with Harness(lambda a, b: a.union(b)) as harness:
        assert harness.end(input=0) == []
        assert harness.end(input=0) == []
        with pytest.raises(WrongStateError, match="input 0 has ended"):
            harness.send(1)
        assert harness.send(1, input=1) == [1]
        with pytest.raises(IndexError, match="no input 2"):
            harness.send(1, input=2)


def test_an_operator_that_cannot_run_is_refused() -> None:
    """As at submit."""
    with pytest.raises(GraphError, match="expects a function"):
        run_operator(lambda s: s.map(3), [1])


@pytest.mark.parametrize("parallelism", [1, 2, 3])
def test_another_harness_goes_on_from_a_snapshot(parallelism: int) -> None:
    """At any parallelism."""

    def operator(parallelism: int) -> Any:
        return lambda s: s.keyby(lambda v: v % 5).map(Total, parallelism=parallelism)

    with Harness(operator(2)) as first:
        assert [item for value in range(10) for item in first.send(value)] == [0, 1, 2, 3, 4, 5, 7, 9, 11, 13]
        saved = first.snapshot()
    with Harness(operator(parallelism), restored=saved) as second:
        assert second.send(0) + second.send(1) == [5, 8]


def test_what_cannot_be_saved_fails_the_snapshot() -> None:
    """The error says which operator it was."""

    class Holding(MapFunction[int, int]):
        def open(self, context: RuntimeContext) -> None:
            self.held = context.value_state("held")

        def execute(self, value: int) -> int:
            self.held.set(lambda: value)
            return value

    with Harness(lambda s: s.keyby(lambda v: v).map(Holding)) as harness:
        harness.send(1)
        with pytest.raises(JobFailedError, match="as its state was saved"):
            harness.snapshot()
