"""The harness of operators: what is given step by step, and what is found in one list."""

from __future__ import annotations

import pickle
import re
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sage.core.api import (
    AggregateFunction,
    DataStream,
    MapFunction,
    ProcessFunction,
    RuntimeContext,
    Timer,
    TimestampFunction,
    Tumbling,
    dead_letter,
)
from sage.core.errors import GraphError, JobFailedError, TimestampError, WrongStateError
from sage.core.testing import At, End, Fail, Forever, Harness, Idle, Input, Pause, Side, Watermark, run_operator


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


def first_seen(stream: DataStream[str], parallelism: int = 1) -> DataStream[Any]:
    return stream.keyby(str).window(Tumbling(10)).aggregate(Counting, parallelism=parallelism)


class Counting(AggregateFunction[str, int, int]):
    def create(self) -> int:
        return 0

    def add(self, accumulator: int, record: str) -> int:
        return accumulator + 1


def test_times_and_watermarks_are_in_the_same_list() -> None:
    """In the order in which they go on, and late records among them."""
    steps = [At(1, "a"), At(11, "b"), Watermark(9), At(3, "a"), Watermark(10), At(4, "a"), Watermark(5), At(12, "b")]
    assert run_operator(first_seen, steps) == [
        Watermark(9),
        At(9.999999, 2),
        Watermark(10),
        Side("late", At(4, "a")),
        At(19.999999, 2),
    ]
    assert run_operator(first_seen, [*steps, Forever()])[-1] == Side("late", At(4, "a"))


def test_the_watermark_of_several_subtasks_is_that_of_the_slowest() -> None:
    """Of inputs as well, unless nothing is expected of them."""
    assert run_operator(lambda s: first_seen(s, 3), [Watermark(1), Watermark(2)]) == [Watermark(1), Watermark(2)]
    with Harness(lambda a, b: a.union(b).map(str.upper)) as harness:
        assert harness.watermark(5) == []
        assert harness.send("b", time=7, input=1) == [At(7, "B")]
        assert harness.watermark(3, input=1) == [Watermark(3)]
        assert harness.idle(input=1) == [Watermark(5)]
        assert harness.watermark(6) == [Watermark(6)]
        assert harness.idle() == [Idle()]
        assert harness.send("a", time=datetime.fromtimestamp(4, UTC)) == [At(4, "A")]
        assert harness.watermark(8) == [Watermark(8)]
        assert harness.end() == [Idle()]  # the first has ended, and the second is idle still
        assert harness.watermarks == [3, 5, 6, 8]


def test_a_stream_gets_its_times_inside() -> None:
    """Where plain records are given; what is put out without times is told without."""

    def inside(stream: DataStream[int]) -> DataStream[int]:
        return stream.assign_timestamps(float, out_of_order=1)

    with Harness(inside) as harness:
        assert harness.send(5) == [At(5, 5), Watermark(3.999999)]
        with pytest.raises(WrongStateError, match="takes records without times"):
            harness.watermark(10)
    assert run_operator(lambda s: s.reduce(max, final=True), [At(1, 5), At(2, 3)]) == [5]


def test_records_of_an_input_have_times_or_none() -> None:
    """One without is refused where there are some."""
    with Harness(lambda a, b: a.connect(b).comap(str, str), timed=[1]) as harness:
        assert harness.send(1) == ["1"]
        assert harness.send(2, time=3, input=1) == [At(3, "2")]
        with pytest.raises(WrongStateError, match="input 1 takes records with times: 3 has none"):
            harness.send(3, input=1)


@pytest.mark.parametrize("time", [None, float("nan"), 1_700_000_000_000, datetime(2026, 1, 1)])
def test_what_is_no_time_is_refused_where_it_is_written(time: Any) -> None:
    """The error is raised to the test itself, and not by a job that reads what the test has given."""
    with pytest.raises(TimestampError, match="cannot be the time of a record"):
        At(time, 1)
    with Harness(lambda s: s.map(str), timed=True) as harness:
        with pytest.raises(TimestampError, match="cannot be the time of a watermark"):
            harness.watermark(time)
        assert harness.send(1, time=2) == [At(2, "1")]


@pytest.mark.parametrize("seconds", [-1, "1", None, float("inf"), True])
def test_what_is_no_pause_is_refused_where_it_is_written(seconds: Any) -> None:
    """It is named, and time stands still."""
    with Harness(lambda s: s.map(str)) as harness:
        with pytest.raises(ValueError, match=re.escape(f"from 0, or a timedelta, not {seconds!r}")):
            harness.advance(seconds)
        assert harness.send(1) == ["1"]


def test_a_step_given_as_its_class_is_refused() -> None:
    """It would be a record otherwise, and the test would see too much, or never end."""
    given: list[Any] = [Pause, End, Watermark]
    for step in given:
        with pytest.raises(TypeError, match=f"{step.__name__} is given as a class"):
            run_operator(lambda s: s.map(str), [1, step, 2])
    none: Any = "no error"
    with pytest.raises(TypeError, match="takes the exception to raise, not 'no error'"):
        Fail(none)


class Reminding(ProcessFunction[str, str]):
    """Says each key's name a minute after it came, by the clock."""

    def execute(self, record: str) -> None:
        self.context.set_timer(self.context.now + 60, time="processing")

    def on_timer(self, timer: Timer) -> list[str]:
        return [f"{self.context.key} at {timer.at:g}"]


def test_timers_fire_at_their_moment_of_a_pause() -> None:
    """In the order of their times, however long the pause is."""
    steps = ["a", Pause(20), "b", Pause(1000), "c", Forever()]
    assert run_operator(lambda s: s.keyby(str).process(Reminding, parallelism=2), steps) == ["a at 60", "b at 80"]


def test_an_input_falls_idle_by_the_clock() -> None:
    """After as long as it says, also where a function tells the watermarks itself."""

    class Telling(TimestampFunction[int]):
        def execute(self, record: int) -> int:
            return record

        def watermark(self, record: int, time: float) -> float | None:
            return time if record % 10 == 0 else None

    with Harness(lambda s: s.assign_timestamps(Telling, idle_after=30)) as harness:
        assert harness.send(10) == [At(10, 10), Watermark(10)]
        assert harness.advance(29) == []
        assert harness.send(11) == [At(11, 11)]
        assert harness.advance(29) == []
        assert harness.advance(1) == [Idle()]
        assert harness.send(20) == [At(20, 20), Watermark(20)]


def test_timers_and_watermarks_are_saved() -> None:
    """And another harness goes on from them, at another parallelism."""

    def reminded(parallelism: int) -> Any:
        return lambda s: s.keyby(str).process(Reminding, parallelism=parallelism)

    with Harness(reminded(1)) as first:
        assert [first.send(key) for key in "abc"] == [[], [], []]
        saved = first.snapshot()
    with Harness(reminded(3), restored=saved) as second:
        assert sorted(second.advance(60)) == ["a at 60", "b at 60", "c at 60"]
    with Harness(first_seen) as first:
        first.send("a", time=3)
        first.send("b", time=5)
        saved = first.snapshot()
    with Harness(lambda s: first_seen(s, 2), restored=saved) as second:
        assert second.send("a", time=4) == []
        assert second.watermark(20) == [At(9.999999, 2), At(9.999999, 1), Watermark(20)]


def test_the_clock_goes_on_from_what_was_saved() -> None:
    """A timer that was set for a minute later comes after what was left of it."""
    with Harness(lambda s: s.keyby(str).process(Reminding)) as first:
        first.send("a")
        first.advance(45)
        saved = first.snapshot()
    assert saved.time == 45
    with Harness(lambda s: s.keyby(str).process(Reminding), restored=pickle.loads(pickle.dumps(saved))) as second:
        assert second.advance(14) == []
        assert second.advance(1) == ["a at 60"]


def test_times_are_shown_as_they_are() -> None:
    """The last instant of a window is not a float's sixteenth digit."""
    assert (
        repr([At(9.999999, "a"), At(10, "b"), Watermark(-1.5)]) == "[At(9.999999, 'a'), At(10, 'b'), Watermark(-1.5)]"
    )


def test_what_is_no_operator_and_no_steps_is_told() -> None:
    """A function that forgets to return its stream, one that collects, and steps that are in no list."""
    operators: list[Any] = [lambda s: None, lambda s: s.map(str).collect()]
    for operator in operators:
        with pytest.raises(TypeError, match="must return the stream to look at"):
            run_operator(operator, [1])
    steps: list[Any] = ["abc", At(1, "a")]
    for given in steps:
        with pytest.raises(TypeError, match="put it into a list"):
            run_operator(lambda s: s.map(str), given)


def test_lengths_of_time_may_be_timedeltas() -> None:
    """A pause, and what waits for it: the batch leaves after an hour, and not before."""

    def batches(stream: DataStream[int]) -> DataStream[list[int]]:
        return stream.map_batches(lambda batch: [batch], max_size=9, max_wait=timedelta(hours=1))

    hour = timedelta(hours=1)
    assert run_operator(batches, [1, Pause(hour / 2), 2, Pause(hour), 3]) == [[1, 2], [3]]
    with Harness(batches) as harness:
        harness.send(1)
        assert harness.advance(timedelta(minutes=59)) == []
        assert harness.advance(timedelta(minutes=1)) == [[1]]


def test_what_has_late_records_may_be_united_with_what_has_none() -> None:
    """The side output of a window is taken of the window alone."""
    outputs = run_operator(
        lambda first, second: first.keyby(str).window(Tumbling(10)).reduce(max).union(second.map(str)),
        [At(1, "a"), Watermark(1), Input(1, At(50, "b"))],
    )
    assert sorted(map(str, outputs)) == sorted(map(str, [At(50, "b"), At(9.999999, "a")]))
