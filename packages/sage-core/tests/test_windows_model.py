"""Windows put out what a plain model of Flink's does, for records in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from window_model import Arrival, Cut, Fired, Model, When, by_window, play

from sage.core.api import (
    AfterCount,
    AggregateFunction,
    AtEnd,
    DataStream,
    LocalEnvironment,
    Session,
    Sliding,
    TimestampFunction,
    Tumbling,
    Window,
    WindowedStream,
    WindowResult,
)

Way = Callable[[WindowedStream[Arrival], int], DataStream[Any]]
"""One of the ways to tell what a window holds."""


class Times(TimestampFunction):
    """Times and watermarks as the records say."""

    def execute(self, arrival: Arrival) -> float:
        return arrival.time

    def watermark(self, arrival: Arrival, time: float) -> float | None:
        return None if arrival.mark is None else arrival.mark + 0.999999  # the last instant of that second


class Numbers(AggregateFunction):
    """A set that is changed in place."""

    def create(self) -> set[int]:
        return set()

    def add(self, accumulator: set[int], value: Arrival) -> set[int]:
        accumulator.add(value.number)
        return accumulator

    def merge(self, left: set[int], right: set[int]) -> set[int]:
        left.update(right)
        return left

    def result(self, accumulator: set[int]) -> tuple[int, ...]:
        return tuple(sorted(accumulator))


class NumbersApart(AggregateFunction):
    """Values that are not changed, and cannot be put together."""

    def create(self) -> tuple[int, ...]:
        return ()

    def add(self, accumulator: tuple[int, ...], value: Arrival) -> tuple[int, ...]:
        return tuple(sorted((*accumulator, value.number)))


def told(result: WindowResult[tuple[int, ...]]) -> Fired:
    return Fired(result.key, int(result.window.start), int(result.window.end), result.value)


def told_by_process(key: Any, window: Window, arrivals: list[Arrival]) -> list[WindowResult[tuple[int, ...]]]:
    return [WindowResult(key, window, tuple(sorted(one.number for one in arrivals)))]


def key_of(arrival: Arrival) -> str:
    return arrival.key


def told_by_reduce(result: WindowResult[Arrival]) -> Fired:
    bits = result.value.number
    numbers = tuple(number for number in range(bits.bit_length()) if bits >> number & 1)
    return Fired(result.key, int(result.window.start), int(result.window.end), numbers)


def joined(left: Arrival, right: Arrival) -> Arrival:
    return left._replace(number=left.number | right.number)


def as_bit(arrival: Arrival) -> Arrival:
    return arrival._replace(number=1 << arrival.number)


def number_of(arrival: Arrival) -> int:
    return arrival.number


def as_number(arrival: Arrival) -> int:
    return arrival.number.bit_length() - 1


WAYS: dict[str, tuple[Way, Callable[[Any], Fired]]] = {
    "process": (lambda windows, tasks: windows.process(told_by_process, parallelism=tasks), told),
    "aggregate": (lambda windows, tasks: windows.aggregate(Numbers, with_window=True, parallelism=tasks), told),
    "apart": (lambda windows, tasks: windows.aggregate(NumbersApart, with_window=True, parallelism=tasks), told),
    "reduce": (lambda windows, tasks: windows.reduce(joined, with_window=True, parallelism=tasks), told_by_reduce),
}
"""Ways to tell what a window holds. For ``reduce`` the number of a record is a bit."""

LATENESS = [0, 0, 3.5, 10.5, 40.5]
"""Never such that one window is gone at the very instant at which another one ends: there is no order between them."""

TRIGGERS: list[tuple[AtEnd | AfterCount | None, When]] = [
    (None, When()),
    (AtEnd(early=AfterCount(2)), When(early=2)),
    (AtEnd(accumulate=False), When(accumulate=False)),
    (AtEnd(early=AfterCount(2), late=AfterCount(2), accumulate=False), When(early=2, late=2, accumulate=False)),
    (AfterCount(3), When(at_end=False, early=3, late=3)),
    (AfterCount(2, accumulate=False), When(at_end=False, early=2, late=2, accumulate=False)),
]


@st.composite
def arrivals(draw: st.DrawFn, most: int = 30) -> list[Arrival]:
    """Records in any order, with watermarks between them that may go back, which is as if they did not."""
    times = st.integers(-15, 40)
    count = draw(st.integers(1, most))
    return [
        Arrival(draw(st.sampled_from("abc")), draw(times), number, draw(st.none() | st.none() | times))
        for number in range(count)
    ]


@st.composite
def cuts(draw: st.DrawFn) -> tuple[Tumbling | Sliding | Session, Cut]:
    """Windows, and the same for the model."""
    size = draw(st.integers(1, 12))
    kind = draw(st.sampled_from(["tumbling", "sliding", "sliding", "session"]))
    if kind == "session":
        return Session(size), Cut(gap=size)
    slide = size if kind == "tumbling" else draw(st.integers(1, size))
    offset = draw(st.integers(-slide + 1, slide - 1))
    if kind == "tumbling":
        return Tumbling(size, offset=offset), Cut(size, size, offset)
    return Sliding(size, slide, offset=offset), Cut(size, slide, offset)


def run(
    arriving: list[Arrival],
    window: Tumbling | Sliding | Session,
    trigger: AtEnd | AfterCount | None,
    lateness: float,
    *,
    backend: str = "inline",
    parallelism: int = 1,
) -> dict[str, tuple[list[Fired], list[int]]]:
    """By way, what the windows put out, and the numbers of the records that were late."""
    env = LocalEnvironment("windows", backend)
    stream = env.from_collection(arriving).assign_timestamps(Times)
    found: dict[str, tuple[list[Fired], list[int]]] = {}
    for name, (way, tell) in WAYS.items():
        if name == "apart" and isinstance(window, Session):
            continue
        records = stream.map(as_bit) if name == "reduce" else stream
        windows = records.keyby(key_of).window(window, trigger=trigger, allowed_lateness=lateness)
        results = way(windows, parallelism)
        late = results.late_records.map(as_number if name == "reduce" else number_of).collect()
        found[name] = results.map(tell).collect(), late
    env.submit(autostop=True)
    return found


@settings(max_examples=150, deadline=None)
@given(arriving=arrivals(), cut=cuts(), trigger=st.sampled_from(TRIGGERS), lateness=st.sampled_from(LATENESS))
def test_windows_are_those_of_the_model(
    arriving: list[Arrival],
    cut: tuple[Tumbling | Sliding | Session, Cut],
    trigger: tuple[AtEnd | AfterCount | None, When],
    lateness: float,
) -> None:
    """On ``inline`` all of it is the same, in order: what fires when, with what, and what is late."""
    if trigger[1].late > 1:
        lateness = lateness or 3.5
    model = Model(cut[1], trigger[1], lateness)
    wanted = play(arriving, model)
    for name, (fired, late) in run(arriving, cut[0], trigger[0], lateness).items():
        assert by_window(fired) == by_window(wanted), name
        assert late == model.late, name


@settings(max_examples=15, deadline=None)
@given(arriving=arrivals(most=60), cut=cuts(), parallelism=st.integers(1, 4), lateness=st.sampled_from([0, 5.5]))
def test_windows_of_several_tasks_hold_what_those_of_one_do(
    arriving: list[Arrival], cut: tuple[Tumbling | Sliding | Session, Cut], parallelism: int, lateness: float
) -> None:
    """On threads nothing is late if the watermarks say so, and every window fires once, at any parallelism."""
    arriving = [arrival._replace(mark=None) for arrival in arriving]
    # A watermark behind a record is below all that come after it. By a whole second more, since a record at the very
    # end of a session is in it only if the watermark, which goes with a batch, has not passed that yet.
    for place in reversed(range(len(arriving))):
        later = min((one.time for one in arriving[place + 1 :]), default=None)
        if later is not None:
            arriving[place] = arriving[place]._replace(mark=later - 2)
    wanted = play(arriving, Model(cut[1], When(), lateness))
    for name, (fired, late) in run(arriving, cut[0], None, lateness, backend="local", parallelism=parallelism).items():
        assert Counter(fired) == Counter(wanted), name
        assert late == []
