"""Windows: what is refused, what triggers and clocks make fire, and what becomes of failing functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from sage.core.api import (
    AfterCount,
    AfterTime,
    AggregateFunction,
    AtEnd,
    Count,
    Counting,
    DataStream,
    Global,
    LocalEnvironment,
    Session,
    Sliding,
    TimestampFunction,
    Tumbling,
    Window,
    WindowedStream,
    WindowFunction,
    WindowResult,
    dead_letter,
    skip,
)
from sage.core.api.windows import Windows
from sage.core.engine.operators.windows.spans import Spans
from sage.core.errors import GraphError, JobFailedError
from sage.core.testing import At, Pause, run_operator, script

NAN = float("nan")


class Unmerged(AggregateFunction[Any, int, int]):
    """Counts, and cannot put two counts together."""

    def create(self) -> int:
        return 0

    def add(self, accumulator: int, value: Any) -> int:
        return accumulator + 1


class Summing(Unmerged):
    def add(self, accumulator: int, value: Any) -> int:
        return accumulator + int(value)

    def merge(self, left: int, right: int) -> int:
        return left + right


def add(left: Any, right: Any) -> Any:
    return left + right


def held(key: Any, window: Window, records: list[Any]) -> list[Any]:
    return [(window.start, records)]


def itself(record: Any) -> Any:
    return record


def parts(results: list[WindowResult[Any]]) -> list[tuple[Any, float, Any]]:
    return [(result.key, result.window.start, result.value) for result in results]


# ---- what is refused -------------------------------------------------------------------------------------------------


def problems(declare: Callable[[DataStream[Any]], DataStream[Any]], *, timed: bool = True) -> str:
    """What is wrong with a pipeline."""
    env = LocalEnvironment("wrong")
    stream: DataStream[Any] = env.from_batch([1])
    if timed:
        stream = stream.assign_timestamps(itself)
    declare(stream).sink(itself)
    with pytest.raises(GraphError) as caught:
        env.submit()
    return str(caught.value)


WRONG: dict[str, tuple[Callable[[DataStream[Any]], WindowedStream[Any]], str]] = {
    "no window": (lambda s: s.window(60), "takes Tumbling(…), Sliding(…), Session(…), Count(…) or Global(), not 60"),  # type: ignore[arg-type]
    "class": (lambda s: s.window(Tumbling), "not the class Tumbling: write Tumbling(…)"),  # type: ignore[arg-type]
    "zero": (lambda s: s.window(Tumbling(0)), "the size of Tumbling must be a number of seconds above 0"),
    "negative": (lambda s: s.window(Tumbling(-5)), "the size of Tumbling must be a number of seconds above 0"),
    "nan": (lambda s: s.window(Tumbling(NAN)), "or a timedelta, not nan"),
    "text": (lambda s: s.window(Tumbling("60")), "or a timedelta, not '60'"),  # type: ignore[arg-type]
    "true": (lambda s: s.window(Tumbling(True)), "or a timedelta, not True"),
    "too short": (lambda s: s.window(Tumbling(1e-9)), "not 1e-09"),
    "negative timedelta": (lambda s: s.window(Tumbling(timedelta(seconds=-1))), "not -1.0"),
    "slide": (lambda s: s.window(Sliding(10, 20)), "the slide of Sliding, 20, is larger than its size, 10"),
    "zero slide": (lambda s: s.window(Sliding(10, 0)), "the slide of Sliding must be a number of seconds above 0"),
    "overlap": (lambda s: s.window(Sliding(86_400, 1)), "each record would be in 86,400 windows"),
    "offset": (lambda s: s.window(Tumbling(10, offset=10)), "offset must be less than the size, 10, not 10"),
    "offset of sliding": (lambda s: s.window(Sliding(10, 5, offset=-5)), "offset must be less than the slide, 5"),
    "offset nan": (lambda s: s.window(Tumbling(10, offset=NAN)), "offset must be a number of seconds"),
    "gap": (lambda s: s.window(Session(-1)), "the gap of Session must be a number of seconds above 0"),
    "time": (lambda s: s.window(Tumbling(1, time="wall")), "time must be 'event' or 'processing', not 'wall'"),  # type: ignore[arg-type]
    "count": (lambda s: s.window(Count(0)), "the size of Count must be a whole number from 1, not 0"),
    "count float": (lambda s: s.window(Count(2.5)), "the size of Count must be a whole number from 1"),  # type: ignore[arg-type]
    "every": (lambda s: s.window(Count(5, every=6)), "every of Count, 6, is larger than its size, 5"),
    "every zero": (lambda s: s.window(Count(5, every=0)), "every of Count must be a whole number from 1, not 0"),
    "global": (lambda s: s.window(Global()), "nothing would ever come out of it without a trigger"),
    "count trigger": (lambda s: s.window(Count(5), trigger=AfterCount(2)), "a count window has no trigger besides"),
    "trigger": (
        lambda s: s.window(Global(), trigger=3),  # type: ignore[arg-type]
        "trigger takes AtEnd(…), AfterCount(…) or AfterTime(…), not 3",
    ),
    "after count": (lambda s: s.window(Global(), trigger=AfterCount(0)), "the count of AfterCount must be a whole"),
    "after time": (lambda s: s.window(Global(), trigger=AfterTime(-1)), "AfterTime takes a number of seconds above 0"),
    "early": (
        lambda s: s.window(Tumbling(1), trigger=AtEnd(early=5)),  # type: ignore[arg-type]
        "early takes AfterCount(…) or AfterTime(…), not 5",
    ),
    "nested": (lambda s: s.window(Tumbling(1), trigger=AtEnd(early=AtEnd())), "early takes AfterCount(…) or"),  # type: ignore[arg-type]
    "accumulate": (
        lambda s: s.window(Tumbling(1), trigger=AtEnd(early=AfterCount(1, accumulate=False))),
        "accumulate=False belongs to the whole trigger",
    ),
    "late": (lambda s: s.window(Tumbling(1), trigger=AtEnd(late=AfterCount(1))), "late=… has no effect without"),
    "lateness": (lambda s: s.window(Tumbling(1), allowed_lateness=-1), "allowed_lateness must be a number of seconds"),
    "lateness of count": (
        lambda s: s.window(Count(2), allowed_lateness=1),
        "allowed_lateness is for windows in event time: in a count window no record is late",
    ),
    "lateness of global": (
        lambda s: s.window(Global(), trigger=AfterCount(1), allowed_lateness=1),
        "in a global window no record is late",
    ),
    "lateness by the clock": (
        lambda s: s.window(Tumbling(1, time="processing"), allowed_lateness=1),
        "in processing time no record is late",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_windows_that_cannot_be_are_refused(name: str) -> None:
    """Before anything runs, in words that name the argument."""
    declare, message = WRONG[name]
    assert message in problems(lambda stream: declare(stream).reduce(add))


def test_all_that_is_wrong_with_a_window_is_told_at_once() -> None:
    """A user mends it in one go."""
    told = problems(lambda s: s.window(Sliding(-1, NAN), trigger=AfterCount(0), allowed_lateness=-1).reduce(add))
    assert told.count("window_reduce 'add'") == 4


@pytest.mark.parametrize("window", [Tumbling(10), Sliding(10, 5), Session(10)])
def test_windows_in_event_time_need_times(window: Tumbling | Sliding | Session) -> None:
    """The problem says what to call."""
    told = problems(lambda stream: stream.window(window).reduce(add), timed=False)
    assert "is in event time, and the records of this stream have none" in told
    assert "call .assign_timestamps(…) before it, or give the window time='processing'" in told


def test_a_union_that_lacks_times_names_the_stream_without() -> None:
    """The times that the other stream was given are seen in the program, so that the bare refusal would puzzle."""
    env = LocalEnvironment("mixed")
    timed = env.from_batch([1]).assign_timestamps(lambda value: value)
    timed.union(env.from_batch([2], name="bare")).window(Tumbling(5)).reduce(max).collect()
    with pytest.raises(GraphError) as caught:
        env.submit()
    assert "it is a union with collection 'bare', whose records have none" in str(caught.value)
    assert "call .assign_timestamps(…) before the union" in str(caught.value)


def test_a_stream_without_times_is_found_in_a_union() -> None:
    """One of two that has none is enough."""
    env = LocalEnvironment("union")
    timed = env.from_batch([1]).assign_timestamps(itself)
    timed.union(env.from_batch([2])).window(Tumbling(10)).reduce(add).sink(itself)
    with pytest.raises(GraphError, match="have none"):
        env.submit()


def test_sessions_need_a_merge() -> None:
    """An accumulator that cannot be put together with another one is refused by name."""
    told = problems(lambda stream: stream.window(Session(1)).aggregate(Unmerged))
    assert "window_aggregate 'Unmerged'" in told
    assert "define merge(self, a, b)" in told


def test_a_window_of_all_keys_is_one_subtask() -> None:
    """Without keys nobody could say which of several has which record."""
    told = problems(lambda stream: stream.window(Tumbling(1)).reduce(add, parallelism=2))
    assert "a window without keyby runs as one subtask" in told


def test_late_records_are_of_windows_in_event_time() -> None:
    """Elsewhere they would be empty, without a word."""
    told = problems(lambda stream: stream.window(Count(2)).reduce(add).late_records)
    assert "its late_records are taken, and only windows in event time have any" in told


def test_functions_of_other_kinds_are_refused() -> None:
    """What a window calls is what reduce, aggregate and process of windows take."""
    assert "cannot be called with 3 arguments" in problems(lambda s: s.window(Count(2)).process(itself))  # type: ignore[arg-type]
    assert "cannot be called with 2 arguments" in problems(lambda s: s.window(Count(2)).reduce(itself))  # type: ignore[arg-type]
    assert "expects a function class" in problems(lambda s: s.window(Count(2)).aggregate(itself))  # type: ignore[call-overload]


# ---- times -----------------------------------------------------------------------------------------------------------


def test_windows_floor_before_1970() -> None:
    """A window holds its start and not its end, on either side of zero."""
    spans = Spans(10, 10, 0)
    assert [spans.last_start(time) for time in (-11, -10, -1, 0, 9, 10)] == [-20, -10, -10, 0, 0, 10]
    assert list(Spans(10, 4, 1).starts(0)) == [-7, -3]


@pytest.mark.parametrize("spans", [Spans(10, 4, 0), Spans(10, 3, 2), Spans(7, 7, 3), Spans(9, 3, -1), Spans(5, 4, 1)])
def test_pieces_make_up_windows(spans: Spans) -> None:
    """A piece is in all windows of its times alike, and there are at most two for each slide."""
    pieces = {spans.piece(time) for time in range(-40, 40)}
    for start, end in pieces:
        assert {tuple(spans.starts(time)) for time in range(start, end)} == {tuple(spans.starts(start))}
        assert all(spans.piece(time) == (start, end) for time in range(start, end))
    assert len(pieces) <= 2 * (80 // spans.slide + 2)


def test_fractions_of_seconds_are_exact() -> None:
    """0.3 is in the window that begins there, which a float's remainder would not say."""
    env = LocalEnvironment("fractions", "inline")
    stream = env.from_batch([0.1, 0.2, 0.3, 0.6, 0.7]).assign_timestamps(itself)
    found = stream.window(Tumbling(0.1)).process(held).collect()
    env.submit(autostop=True)
    assert found == [(0.1, [0.1]), (0.2, [0.2]), (0.3, [0.3]), (0.6, [0.6]), (0.7, [0.7])]


def test_results_carry_the_last_instant_of_their_window() -> None:
    """So that windows behind windows put them where they belong."""
    env = LocalEnvironment("twice", "inline")
    minutes = env.from_batch([0, 59, 60, 3599, 3600]).assign_timestamps(itself).window(Tumbling(60)).aggregate(Unmerged)
    hours = minutes.window(Tumbling(3600)).reduce(add, with_window=True).collect()
    env.submit(autostop=True)
    assert parts(hours) == [(None, 0.0, 4), (None, 3600.0, 1)]


def test_records_without_times_among_others_fail_by_name() -> None:
    """A map hides from the check that one of its inputs had no times."""
    env = LocalEnvironment("mixed", "inline")
    mixed = env.from_batch([1]).assign_timestamps(itself).union(env.from_batch([2])).map(itself)
    mixed.window(Tumbling(10)).reduce(add).sink(itself)
    with pytest.raises(JobFailedError, match="the record has no event time"):
        env.submit(autostop=True)


def run_paced(
    steps: list[Any], cut: Callable[[DataStream[Any]], WindowedStream[Any]], *, timed: bool = False
) -> list[Any]:
    """What windows put out for records and pauses, in virtual time."""
    env = LocalEnvironment("paced", "inline", options={"clock": "virtual"})
    stream = script(env, steps)
    if timed:
        stream = stream.assign_timestamps(itself)
    found = cut(stream).process(lambda key, window, records: [records]).collect()
    env.submit(autostop=True)
    return found


@pytest.mark.parametrize(
    ("window", "wanted"),
    [
        (Tumbling(10, time="processing"), [[1, 2], [3], [4]]),
        (Sliding(10, 5, time="processing"), [[1, 2], [1, 2], [3], [3], [4], [4]]),
        (Session(4, time="processing"), [[1, 2], [3], [4]]),
    ],
)
def test_windows_by_the_clock(window: Tumbling | Sliding | Session, wanted: list[list[int]]) -> None:
    """Records are where the clock is when they come; windows fire although nothing comes, and at the end of input."""
    steps = [1, Pause(3), 2, Pause(8), 3, Pause(20), 4]
    assert run_paced(steps, lambda stream: stream.window(window)) == wanted


def test_after_time_fires_by_the_clock() -> None:
    """So long after the first record since it last fired, and what is left at the end of input."""
    steps = [1, Pause(2), 2, Pause(9), 3, Pause(1), 4, Pause(20), 5]
    found = run_paced(steps, lambda stream: stream.window(Global(), trigger=AfterTime(5, accumulate=False)))
    assert found == [[1, 2], [3, 4], [5]]


def test_after_time_before_the_end_of_a_window() -> None:
    """The end fires as well, and what was to fire before it does not any more."""
    steps = [1, Pause(6), 2, 11, Pause(6), 12]
    found = run_paced(steps, lambda stream: stream.window(Tumbling(10), trigger=AtEnd(early=AfterTime(5))), timed=True)
    assert found == [[1], [1, 2], [11], [11, 12]]


def test_after_time_of_sessions() -> None:
    """Sessions have it, too."""
    steps = [1, Pause(6), 2, Pause(6), 20]
    found = run_paced(steps, lambda stream: stream.window(Session(5), trigger=AtEnd(early=AfterTime(5))), timed=True)
    assert found == [[1], [1, 2], [1, 2], [20]]


# ---- counts and the global window -----------------------------------------------------------------------------------


def run_counted(cut: Callable[[DataStream[int]], WindowedStream[int]], numbers: range = range(1, 8)) -> list[Any]:
    env = LocalEnvironment("counted", "inline")
    found = cut(env.from_batch(numbers)).process(lambda key, window, records: [records]).collect()
    env.submit(autostop=True)
    return found


def test_count_windows_are_put_out_when_they_are_full() -> None:
    """The last one is not full."""
    assert run_counted(lambda stream: stream.window(Count(3))) == [[1, 2, 3], [4, 5, 6]]


def test_rolling_count_windows_hold_the_last_records() -> None:
    """The first ones are of fewer."""
    assert run_counted(lambda stream: stream.window(Count(4, every=2))) == [[1, 2], [1, 2, 3, 4], [3, 4, 5, 6]]


def test_count_windows_fold() -> None:
    """By reduce and aggregate, of each key apart."""
    env = LocalEnvironment("folded", "inline")
    keyed = env.from_batch(range(1, 9)).keyby(lambda number: number % 2)
    summed = keyed.window(Count(2)).reduce(add).collect()
    counted = keyed.window(Count(3, every=2)).aggregate(Summing, with_window=True).collect()
    env.submit(autostop=True)
    assert summed == [4, 6, 12, 14]
    ever = -float("inf")
    assert parts(counted) == [(1, ever, 4), (0, ever, 6), (1, ever, 15), (0, ever, 18)]


def test_the_global_window_fires_by_its_trigger() -> None:
    """What AfterCount has not counted to the end is not put out; AtEnd puts out all."""
    counted = run_counted(lambda stream: stream.window(Global(), trigger=AfterCount(3, accumulate=False)))
    assert counted == [[1, 2, 3], [4, 5, 6]]
    ended = run_counted(lambda stream: stream.window(Global(), trigger=AtEnd()))
    assert ended == [[1, 2, 3, 4, 5, 6, 7]]


# ---- functions -------------------------------------------------------------------------------------------------------


class Spread(WindowFunction[int, tuple[Any, float, int]]):
    def execute(self, key: Any, window: Window, records: list[int]) -> Iterator[tuple[Any, float, int]]:
        assert self.context.key == key
        records.sort()  # it is the function's own list
        yield key, window.start, records[-1] - records[0]


def test_a_window_function_sees_key_window_and_records() -> None:
    """It may be a generator, and what it does to its list stays its own."""
    env = LocalEnvironment("spread", "inline")
    keyed = env.from_batch([9, 1, 4, 12, 3, 17]).assign_timestamps(itself, out_of_order=20).keyby(lambda n: n % 2)
    found = keyed.window(Sliding(10, 5)).process(Spread).collect()
    env.submit(autostop=True)
    assert sorted(found) == sorted(
        [(1, -5.0, 2), (0, -5.0, 0), (1, 0.0, 8), (0, 0.0, 0), (1, 5.0, 0), (0, 5.0, 0), (1, 10.0, 0), (0, 10.0, 0),
         (1, 15.0, 0)]
    )  # fmt: skip


class Stamp(WindowFunction[int, tuple[Any, float | None]]):
    def execute(self, key: Any, window: Window, records: list[int]) -> Iterator[tuple[Any, float | None]]:
        yield self.context.key, self.context.timestamp


@pytest.mark.parametrize(
    ("window", "wanted"),
    [
        (Tumbling(10), [("odd", 9.999999), ("even", 9.999999), ("odd", 19.999999)]),
        (Sliding(12, 6), [("odd", 5.999999), ("even", 5.999999), ("odd", 11.999999), ("even", 11.999999)]),
        (Session(5), [("odd", 5.999999), ("even", 8.999999), ("odd", 23.999999)]),
        (Count(1), [("odd", 1.0), ("even", 4.0), ("odd", 17.0), ("odd", 19.0)]),
    ],
)
def test_a_window_function_is_told_the_time_of_what_it_puts_out(window: Any, wanted: list[tuple[Any, float]]) -> None:
    """Not that of the record which let it fire; and the key is the window's."""
    env = LocalEnvironment("stamps", "inline")
    timed = env.from_batch([1, 4, 17, 19]).assign_timestamps(itself)
    found = timed.keyby(lambda n: "odd" if n % 2 else "even").window(window).process(Stamp).collect()
    env.submit(autostop=True)
    assert found[: len(wanted)] == wanted


def test_a_window_function_has_to_return_an_iterable() -> None:
    """A number is none."""
    env = LocalEnvironment("returns", "inline")
    env.from_batch([1]).window(Count(1)).process(lambda key, window, records: 5).sink(itself)  # type: ignore[arg-type,return-value]
    with pytest.raises(JobFailedError, match="process of a window must return an iterable of records or None, not int"):
        env.submit(autostop=True)


class Picky(Summing):
    """Fails for some records, and for some results."""

    def add(self, accumulator: int, value: Any) -> int:
        if value == 3:
            raise ValueError("three")
        return super().add(accumulator, value)

    def result(self, accumulator: int) -> int:
        if accumulator == 11 + 12:
            raise ValueError("twenty-three")
        return accumulator


@pytest.mark.parametrize("window", [Tumbling(10), Sliding(10, 10), Session(4), Count(2)])
def test_a_record_that_is_given_up_is_in_no_window(window: Any) -> None:
    """The policy holds for each record, and for each window that fires."""
    env = LocalEnvironment("picky", "inline")
    numbers = env.from_batch([1, 2, 3, 11, 12, 21]).assign_timestamps(itself)
    found = numbers.window(window).aggregate(Picky, on_error=skip())
    sums = found.collect()
    job = env.submit(autostop=True)
    assert sums == ([3] if isinstance(window, Count) else [3, 21])
    (operator,) = [item for item in job.metrics().operators if item.kind == "window_aggregate"]
    assert operator.skipped == 2


def test_dead_letters_of_firing_hold_key_window_and_value() -> None:
    """Those of adding hold the record."""
    env = LocalEnvironment("letters", "inline")
    numbers = env.from_batch([3, 11, 12]).assign_timestamps(itself).keyby(lambda number: number // 10)
    results = numbers.window(Tumbling(10)).aggregate(Picky, on_error=dead_letter())
    letters = results.dead_letters.map(lambda letter: letter.record).collect()
    results.sink(itself)
    env.submit(autostop=True)
    assert letters == [3, (1, Window(10.0, 20.0), 23)]


def test_a_failing_function_names_its_operator() -> None:
    """Whether it fails for a record or because it is time."""
    for numbers in ([3], [11, 12]):
        env = LocalEnvironment("fails", "inline")
        env.from_batch(numbers).assign_timestamps(itself).window(Tumbling(10)).aggregate(Picky).sink(itself)
        with pytest.raises(JobFailedError, match="window_aggregate 'Picky'"):
            env.submit(autostop=True)


def test_reduce_may_change_what_it_is_given() -> None:
    """Sliding windows share lists with each other, and do not see what another one does to them."""

    def extend(left: list[int], right: list[int]) -> list[int]:
        left.extend(right)
        return left

    env = LocalEnvironment("changing", "inline")
    lists = env.from_batch([1, 4, 7, 12]).assign_timestamps(itself).map(lambda number: [number])
    found = lists.window(Sliding(9, 3)).reduce(extend).map(sorted).collect()
    env.submit(autostop=True)
    assert found == [[1], [1, 4], [1, 4, 7], [4, 7], [7, 12], [12], [12]]


class Late(TimestampFunction):
    def execute(self, value: tuple[int, int]) -> float:
        return value[0]

    def watermark(self, value: tuple[int, int], time: float) -> float:
        return value[1]


def test_late_records_are_counted_and_put_out_on_the_side() -> None:
    """They leave as they came, with their own times."""
    env = LocalEnvironment("late", "inline")
    records = env.from_batch([(1, 0), (12, 11), (2, 11), (25, 24), (13, 24)]).assign_timestamps(Late)
    windows = records.window(Tumbling(10)).aggregate(Unmerged)
    late, found = windows.late_records.window(Tumbling(100)).aggregate(Unmerged).collect(), windows.collect()
    job = env.submit(autostop=True)
    assert found == [1, 1, 1]
    assert late == [2]
    assert [item.late for item in job.metrics().operators if item.kind == "window_aggregate"] == [2, 0]


def test_records_are_counted() -> None:
    """By the aggregate that is there for it: for each key, in windows of every kind, and running without one."""
    steps = [At(1, "a"), At(2, "b"), At(2, "a"), At(12, "a")]

    def counted(window: Windows) -> list[Any]:
        return [
            (item.record.key, item.record.value)
            for item in run_operator(lambda s: s.keyby(str).window(window).aggregate(Counting, with_window=True), steps)
            if isinstance(item, At)
        ]

    assert sorted(counted(Tumbling(10))) == [("a", 1), ("a", 2), ("b", 1)]
    assert sorted(counted(Session(5))) == [("a", 1), ("a", 2), ("b", 1)]
    assert sorted(counted(Sliding(20, 10))) == [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 1)]
    assert run_operator(lambda s: s.keyby(str).aggregate(Counting), ["a", "b", "a"]) == [1, 1, 2]
