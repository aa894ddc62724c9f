"""Timers that are set for what is over, and results that are made then: in the past, and at the end of input."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from cases import Looping, Play, ms_of, ordered, seconds

from sage.core.api import (
    AfterCount,
    AfterTime,
    AtEnd,
    DataStream,
    Global,
    ProcessFunction,
    RuntimeContext,
    Timer,
    Tumbling,
)


class Late(ProcessFunction[int, int]):
    """Sets a timer for the time of the record before the watermark."""

    def execute(self, value: int) -> None:
        self.context.set_timer(seconds(value))

    def on_timer(self, timer: Timer) -> Iterable[int]:
        yield ms_of(timer.at)


def test_a_timer_in_the_past_fires_at_once() -> None:
    """It fires as soon as the record is done."""
    with Play(lambda s: s.keyby(lambda value: "key").process(Late)) as play:
        play.mark(10)
        assert [out for out, _ in [*play.record(3, 20), *play.mark(11)]] == [3]


def test_a_timer_sets_itself_again_at_the_end() -> None:
    """What timers set fires up to the latest time of a record or a timer: one that repeats itself comes to an end."""
    with Play(lambda s: s.keyby(lambda value: value).process(Looping)) as play:
        play.records((5, 0), (6, 3))
        assert play.end() == ordered(*[(count, count + 1) for count in range(3) for _ in (5, 6)])


class Sorting(ProcessFunction[int, int]):
    """Puts out what it has gathered in the order of time, one at each timer, and sets the next then."""

    def open(self, context: RuntimeContext) -> None:
        self.waiting = context.list_state("waiting")

    def execute(self, value: int) -> None:
        if not self.waiting:
            self.context.set_timer(seconds(value))
        self.waiting.append(value)

    def on_timer(self, timer: Timer) -> Iterable[int]:
        first, *rest = sorted(self.waiting.get())
        self.waiting.set(rest)
        if rest:
            self.context.set_timer(seconds(rest[0]))
        yield first


def test_what_is_put_out_one_by_one_is_not_lost_at_the_end() -> None:
    """Timers that set the next one put out all that there is."""
    with Play(lambda s: s.keyby(lambda value: "key").process(Sorting)) as play:
        play.records(*[(value, value) for value in (30, 10, 20, 50, 40)])
        play.end()
        assert [record for record, _ in play.outputs] == [10, 20, 30, 40, 50]


def test_what_is_put_out_one_by_one_is_not_lost_at_the_end_of_a_job_that_goes_on_from_another() -> None:
    """The latest time of a record is saved, and that of the timers that are set is known by them."""
    with Play(lambda s: s.keyby(lambda value: "key").process(Sorting)) as play:
        play.records(*[(value, value) for value in (30, 10, 20, 50, 40)])
        play.reopen()
        play.end()
        assert [record for record, _ in play.outputs] == [10, 20, 30, 40, 50]


@pytest.mark.parametrize("trigger", [AtEnd(), AfterTime(10)])
def test_what_the_global_window_puts_out_then_is_not_late(trigger: Any) -> None:
    """A window behind it takes it, though the record that it has the time of came long before."""

    def operator(stream: DataStream[int]) -> DataStream[list[int]]:
        totals = stream.keyby(lambda value: "key").window(Global(), trigger=trigger).reduce(lambda a, b: a + b)
        return totals.window(Tumbling(1)).process(lambda key, window, records: [records])

    with Play(operator, late=True) as play:
        play.records((1, 5000), (2, 3000))
        assert play.mark(6000) == []
        assert play.clock(9000) == []
        play.clock(11_000)
        play.end()
        assert play.outputs == [([3], 6999)]


def test_what_a_record_makes_the_global_window_put_out_has_its_time() -> None:
    """As of any operator: a late record has a late result."""

    def operator(stream: DataStream[int]) -> DataStream[int]:
        return stream.window(Global(), trigger=AfterCount(2)).reduce(lambda a, b: a + b)

    with Play(operator) as play:
        assert play.record(1, 5000) == []
        play.mark(6000)
        assert play.record(2, 3000) == [(3, 3000)]
