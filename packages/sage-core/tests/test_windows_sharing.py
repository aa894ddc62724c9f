"""What windows of one operator have in common: values that a function may change in place, the clock, and memory."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from sage.core.api import (
    AfterCount,
    AfterTime,
    AggregateFunction,
    AtEnd,
    Count,
    DataStream,
    Global,
    LocalEnvironment,
    RuntimeContext,
    Session,
    Sliding,
    Tumbling,
    retry,
)
from sage.core.backends import inline
from sage.core.engine.clock import VirtualClock
from sage.core.engine.operators.windows import choice
from sage.core.engine.operators.windows.panes import PaneOperator
from sage.core.engine.operators.windows.sessions import SessionOperator
from sage.core.graph.model import Operator
from sage.core.testing import At, Harness, Watermark, run_operator

STEPS = [step for at in range(0, 40, 2) for step in (At(at, at), At(at + 1, at + 1), Watermark(at + 1))]


class Listing(AggregateFunction[Any, Any, Any]):
    """Adds in place, and merges into whichever of the two is at hand."""

    def create(self) -> Any:
        return []

    def add(self, accumulator: Any, value: Any) -> Any:
        accumulator.append(value)
        return accumulator

    def merge(self, left: Any, right: Any) -> Any:
        if not left:
            return right
        left.extend(right)
        return left

    def result(self, accumulator: Any) -> Any:
        return list(accumulator)


class Nesting(AggregateFunction[Any, Any, Any]):
    """The same, a level deeper: what it merges may hold parts of both."""

    def create(self) -> Any:
        return {}

    def add(self, accumulator: Any, value: Any) -> Any:
        accumulator.setdefault("all", []).append(value)
        return accumulator

    def merge(self, left: Any, right: Any) -> Any:
        for name, values in right.items():
            if name in left:
                left[name].extend(values)
            else:
                left[name] = values
        return left

    def result(self, accumulator: Any) -> Any:
        return list(accumulator["all"])


class Telling(Listing):
    """Without a way to merge, so that each window is kept by itself."""

    merge = None  # type: ignore[assignment]


def windows(size: int, slide: int) -> list[list[int]]:
    starts = range(-size // slide * slide, 40, slide)
    found = [[at for at in range(start, start + size) if 0 <= at < 40] for start in starts]
    return [records for records in found if records]


def put_out(operator: Callable[[DataStream[Any]], DataStream[Any]], steps: list[Any]) -> list[Any]:
    return [step.record for step in run_operator(operator, steps) if isinstance(step, At)]


@pytest.mark.parametrize(("size", "slide"), [(10, 2), (9, 3), (10, 5), (7, 3), (4, 1)])
@pytest.mark.parametrize("function", [Listing, Nesting, Telling])
def test_accumulators_changed_in_place_are_each_windows_own(
    function: type[AggregateFunction[Any, Any, Any]], size: int, slide: int
) -> None:
    """A `merge` that gives back what it was given, or parts of it, changes no other window."""
    found = put_out(lambda s: s.keyby(lambda r: 0).window(Sliding(size, slide)).aggregate(function), STEPS)
    assert found == windows(size, slide)


def extend(left: Any, right: Any) -> Any:
    left["all"].extend(right["all"])
    return left


@pytest.mark.parametrize("trigger", [None, AtEnd(early=AfterCount(1000))])
def test_records_reduced_in_place_are_each_windows_own(trigger: Any) -> None:
    """What a reduce begins with is a record that other windows begin with, too."""
    steps = [At(step.time, {"all": [step.record]}) if isinstance(step, At) else step for step in STEPS]

    def operator(stream: DataStream[Any]) -> DataStream[Any]:
        reduced = stream.keyby(lambda r: 0).window(Sliding(10, 2), trigger=trigger).reduce(extend)
        return reduced.map(lambda value: list(value["all"]))

    assert put_out(operator, steps) == windows(10, 2)


def test_records_counted_into_several_windows_are_each_windows_own() -> None:
    """So are those of count windows that overlap."""
    steps = [{"all": [number]} for number in range(6)]
    found = run_operator(
        lambda s: s.keyby(lambda r: 0).window(Count(3, every=1)).reduce(extend).map(copy.deepcopy), steps
    )
    assert [value["all"] for value in found] == [[0], [0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]


class Failing(Listing):
    """Fails twice where the record 5 meets what is there already."""

    def open(self, context: RuntimeContext) -> None:
        self.failures = 0

    def add(self, accumulator: Any, value: Any) -> Any:
        if value == 5 and accumulator and self.failures < 2:
            self.failures += 1
            raise ConnectionError("not now")
        return super().add(accumulator, value)


def test_sessions_that_grow_together_do_so_once_however_often_it_is_tried() -> None:
    """A call that fails after sessions were put together leaves them as they were."""
    steps = [At(0, 0), At(10, 10), At(5, 5)]
    found = put_out(
        lambda s: s.keyby(lambda r: 0).window(Session(6)).aggregate(Failing, on_error=retry(5, backoff=0)), steps
    )
    assert found == [[0, 10, 5]]


class FailingInOne(Telling):
    """Fails once for a record that it has put into another window before."""

    def open(self, context: RuntimeContext) -> None:
        self.calls = 0

    def add(self, accumulator: Any, value: Any) -> Any:
        self.calls += value == 5
        if value == 5 and self.calls == 2:
            raise ConnectionError("not now")
        return super().add(accumulator, value)


def test_a_record_that_is_tried_again_is_once_in_each_of_its_windows() -> None:
    """Where adding to the second window fails, the first one does not keep the record twice."""
    found = put_out(
        lambda s: s.keyby(lambda r: 0).window(Sliding(4, 2)).aggregate(FailingInOne, on_error=retry(1, backoff=0)),
        [At(4, 4), At(5, 5)],
    )
    assert found == [[4, 5], [4, 5]]


def test_a_reduce_that_is_tried_again_has_each_record_once() -> None:
    """So it is where records are put together in place."""
    calls = iter([None, ConnectionError("not now")])

    def flaky(left: Any, right: Any) -> Any:
        error = next(calls, None)
        if error is not None:
            raise error
        return extend(left, right)

    def operator(stream: DataStream[Any]) -> DataStream[Any]:
        windows = stream.keyby(lambda r: 0).window(Sliding(4, 2), trigger=AtEnd(early=AfterCount(1000)))
        return windows.reduce(flaky, on_error=retry(1, backoff=0)).map(lambda value: list(value["all"]))

    assert put_out(operator, [At(4, {"all": [4]}), At(5, {"all": [5]})]) == [[4, 5], [4, 5]]


class Hasty(VirtualClock):
    """Time passes with each look at it."""

    step = 0.0

    def time(self) -> float:
        self._now += self.step
        return self._now


class Counting(AggregateFunction[Any, int, int]):
    def create(self) -> int:
        return 0

    def add(self, accumulator: int, value: Any) -> int:
        return accumulator + 1


class Merging(Counting):
    def merge(self, left: int, right: int) -> int:
        return left + right


@pytest.mark.parametrize("step", [0.1, 0.3, 0.7, 1.0, 1.7])
@pytest.mark.parametrize(
    ("window", "trigger", "function", "times"),
    [
        (Tumbling(1, time="processing"), None, Merging, 1),
        (Tumbling(1, time="processing"), AtEnd(early=AfterCount(1000)), Merging, 1),
        (Sliding(2, 1, time="processing"), None, Merging, 2),
        (Sliding(2, 1, time="processing"), None, Counting, 2),
        (Session(0.5, time="processing"), None, Merging, 1),
    ],
)
def test_no_record_is_lost_where_a_window_passes_as_it_comes(
    monkeypatch: pytest.MonkeyPatch, window: Any, trigger: Any, function: Any, times: int, step: float
) -> None:
    """By the clock a window may pass between any two looks at the time; a record is in those of the present then."""
    monkeypatch.setattr(Hasty, "step", step)
    monkeypatch.setattr(inline, "VirtualClock", Hasty)
    env = LocalEnvironment("hasty", "inline", options={"clock": "virtual"})
    found: list[int] = []
    stream = env.from_collection(range(100)).keyby(lambda r: r % 2)
    stream.window(window, trigger=trigger).aggregate(function).sink(found.append)
    env.submit(autostop=True)
    assert sum(found) == 100 * times


def test_the_global_window_forgets_keys_that_it_was_emptied_of() -> None:
    """With ``accumulate=False`` nothing stays of a key for which the window has fired, though it never ends."""
    harness = Harness(
        lambda s: s.keyby(lambda r: r).window(Global(), trigger=AfterCount(2, accumulate=False)).process(only_records)
    )
    with harness:
        for number in range(50):
            harness.send(number)
            assert harness.send(number) == [[number, number]]
        harness.send(7)
        saved = [snapshot for snapshots in harness.snapshot().values() for snapshot in snapshots]
    tables = [pickle.loads(snapshot.keyed) for snapshot in saved if snapshot.keyed is not None]
    assert [len(table) for table in tables] == [1]


def only_records(key: Any, window: Any, records: list[Any]) -> list[Any]:
    return [records]


def test_sessions_that_have_gone_leave_no_timer_behind() -> None:
    """A timer for hours later does not stay in memory for each session that ends before."""
    operators: list[SessionOperator] = []

    class Watched(SessionOperator):
        def __init__(self, spec: Operator, context: RuntimeContext) -> None:
            super().__init__(spec, context)
            operators.append(self)

    def operator(stream: DataStream[Any]) -> DataStream[Any]:
        return stream.keyby(lambda r: 0).window(Session(1), trigger=AtEnd(early=AfterTime(3600))).process(only_records)

    with pytest.MonkeyPatch.context() as patch, Harness(operator) as harness:
        patch.setattr(choice, "SessionOperator", Watched)
        for at in range(0, 100, 10):
            harness.send(at, time=at)
            harness.watermark(at + 5)
        assert [record for record in harness.outputs if isinstance(record, At)] == [
            At(at + 0.999999, [at]) for at in range(0, 100, 10)
        ]
    assert [len(session._timers) for session in operators] == [0]


def test_wide_windows_with_nothing_in_between() -> None:
    """Each fires once, one after the other, across what has none, and only one is noted for that at a time."""
    operators: list[PaneOperator] = []

    class Watched(PaneOperator):
        def __init__(self, spec: Operator, context: RuntimeContext) -> None:
            super().__init__(spec, context)
            operators.append(self)

    def operator(stream: DataStream[Any]) -> DataStream[Any]:
        return stream.keyby(lambda r: 0).window(Sliding(1000, 1)).process(only_records)

    with pytest.MonkeyPatch.context() as patch, Harness(operator) as harness:
        patch.setattr(choice, "PaneOperator", Watched)
        for at in (0, 5000, 500):
            harness.send(at, time=at)
        assert len(operators[0]._ends) == 3
        harness.end()
        found = [step for step in harness.outputs if isinstance(step, At)]
    lasts = [at * 1_000_000 + 999_999 for at in (*range(1500), *range(5000, 6000))]
    assert [step.time for step in found] == [last / 1_000_000 for last in lasts]
    assert Counter(record for step in found for record in step.record) == {0: 1000, 500: 1000, 5000: 1000}
