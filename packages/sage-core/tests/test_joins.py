"""Joins of two streams: every pair that belongs together once, and what has no partner as asked."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from join_models import Event, running_join
from test_restoring import Saved, run

from sage.core.api import (
    ConnectedStreams,
    DataStream,
    JoinFunction,
    LocalEnvironment,
    RuntimeContext,
    dead_letter,
    retry,
    skip,
)
from sage.core.errors import GraphError, JobFailedError
from sage.core.testing import simulate

How = Literal["inner", "left", "right", "outer"]
HOWS: tuple[How, ...] = ("inner", "left", "right", "outer")


def pair(left: Any, right: Any) -> tuple[Any, Any]:
    return left, right


def numbered(events: list[tuple[int, int]], first: int = 0) -> list[Event]:
    return [Event(key, time, first + number) for number, (key, time) in enumerate(events)]


events = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), max_size=25)
lefts_and_rights = st.tuples(events.map(numbered), events.map(lambda found: numbered(found, 1000)))


def connected(env: LocalEnvironment, lefts: list[Event], rights: list[Event]) -> ConnectedStreams[Event, Event]:
    left, right = env.from_batch(lefts, name="lefts"), env.from_batch(rights, name="rights")
    return left.connect(right).keyby(lambda event: event.key, lambda event: event.key)


def declare(
    env: LocalEnvironment, lefts: list[Event], rights: list[Event], how: str, parallelism: int = 1
) -> DataStream[Any]:
    join: Any = connected(env, lefts, rights).join
    stream: DataStream[Any] = join(pair, how=how, parallelism=parallelism)
    return stream


def test_each_record_meets_those_of_its_key_that_came_before(backend: str) -> None:
    """Orders and payments of the same number, in whatever order they come."""
    env = LocalEnvironment("running", backend)
    orders = env.from_batch([(1, "tea"), (2, "coffee"), (3, "cocoa")])
    payments = env.from_batch([(2, 350), (1, 200), (2, 50)])
    keyed = orders.connect(payments).keyby(lambda order: order[0], lambda payment: payment[0])
    paid = keyed.join(lambda order, payment: (order[1], payment[1])).collect()
    env.submit(autostop=True)
    assert sorted(paid) == [("coffee", 50), ("coffee", 350), ("tea", 200)]


@given(lefts_and_rights, st.sampled_from(HOWS), st.integers(1, 4))
@settings(max_examples=60)
def test_running_joins_are_those_of_the_model(
    given: tuple[list[Event], list[Event]], how: How, parallelism: int
) -> None:
    """Every pair once, whichever side came first, and the unmatched at the end of input."""
    env = LocalEnvironment("model", "inline")
    out = declare(env, *given, how, parallelism).collect()
    env.submit(autostop=True)
    assert Counter(out) == running_join(*given, how)


@given(lefts_and_rights, st.sampled_from(HOWS), st.integers(1, 4), st.integers(0, 2**32))
@settings(max_examples=40)
def test_no_schedule_changes_a_running_join(
    given: tuple[list[Event], list[Event]], how: How, parallelism: int, seed: int
) -> None:
    """A simulated job gives the same, by any order of steps."""
    env = LocalEnvironment("simulated", "inline")
    out = declare(env, *given, how, parallelism).collect()
    simulate(env, seed=seed)
    assert Counter(out) == running_join(*given, how)


@pytest.mark.parametrize("how", HOWS)
def test_threads_do_not_change_a_running_join(how: How) -> None:
    """Many records over several subtasks on threads."""
    lefts = numbered([(number % 37, 0) for number in range(400)])
    rights = numbered([(number % 41, 0) for number in range(300)], 1000)
    env = LocalEnvironment("threads", "local")
    out = declare(env, lefts, rights, how, 4).collect()
    env.submit(autostop=True)
    assert Counter(out) == running_join(lefts, rights, how)


@given(
    lefts_and_rights,
    st.sampled_from(HOWS),
    st.lists(st.integers(0, 12), max_size=3),
    st.lists(st.integers(1, 4), min_size=4, max_size=4),
)
@settings(max_examples=40)
def test_a_running_join_goes_on_from_what_was_saved(
    given: tuple[list[Event], list[Event]], how: How, cuts: list[int], parallelisms: list[int]
) -> None:
    """Interrupted anywhere, and moved to another number of subtasks by key, it gives what it would have given."""
    out: list[Any] = []
    saved: Saved = {}
    for turns, parallelism in zip([*cuts, None], parallelisms, strict=False):

        def build(env: LocalEnvironment, parallelism: int = parallelism) -> DataStream[Any]:
            return declare(env, *given, how, parallelism)

        part = run(build, turns=turns, restored=saved)
        out += part.out
        saved = part.saved
        if part.ended:
            break
    assert Counter(out) == running_join(*given, how)


class Counting(JoinFunction[Event, Event | None, tuple[Any, int, str]]):
    """Numbers the pairs of each key, and puts those without a right record out on the side as well."""

    def open(self, context: RuntimeContext) -> None:
        self.count = context.value_state("count", 0)

    def execute(self, left: Event, right: Event | None) -> tuple[Any, int, str]:
        self.count.set(self.count.get() + 1)
        if right is None:
            self.context.side_output("lonely", left)
        return self.context.key, self.count.get(), "alone" if right is None else "pair"


def test_a_join_function_knows_the_key_and_keeps_state(backend: str) -> None:
    """Also where it is called for the unmatched, at the end of input; what it puts out on the side arrives."""
    env = LocalEnvironment("state", backend)
    lefts = numbered([(1, 0), (1, 0), (2, 0)])
    joined = connected(env, lefts, numbered([(1, 0)])).join(Counting, how="left", parallelism=2)
    out, lonely = joined.collect(), joined.side_output("lonely").collect()
    env.submit(autostop=True)
    assert sorted(out) == [(1, 1, "pair"), (1, 2, "pair"), (2, 1, "alone")]
    assert lonely == [lefts[2]]


def fail_at_two(left: Event | None, right: Event | None) -> tuple[Any, Any]:
    if left is not None and left.number == 2:
        raise ValueError("two")
    return left, right


def test_a_pair_that_fails_is_given_up_alone(backend: str) -> None:
    """The other pairs of the same record come out; the dead letter holds the pair."""
    env = LocalEnvironment("policy", backend)
    lefts, rights = numbered([(1, 0), (1, 0), (1, 0), (2, 0)]), numbered([(1, 0), (1, 0)], 1000)
    joined = connected(env, lefts, rights).join(fail_at_two, how="outer", on_error=dead_letter())
    out, letters = joined.collect(), joined.dead_letters.collect()
    env.submit(autostop=True)
    expected = running_join(lefts, rights, "outer")
    assert Counter(out) == Counter({found: n for found, n in expected.items() if found[0] != lefts[2]})
    assert Counter(letter.record for letter in letters) == Counter([(lefts[2], rights[0]), (lefts[2], rights[1])])


def test_the_unmatched_are_under_the_policy_too() -> None:
    """At the end of input a record is given up as any other, or tried again."""
    env = LocalEnvironment("late policy", "inline")
    lefts = numbered([(1, 0), (2, 0), (3, 0)])
    out = connected(env, lefts, []).join(fail_at_two, how="left", on_error=skip()).collect()
    env.submit(autostop=True)
    assert out == [(lefts[0], None), (lefts[1], None)]
    failed: list[int] = []

    def fail_once(left: Event, right: Event | None) -> int:
        if left.number not in failed:
            failed.append(left.number)
            raise ValueError
        return left.number

    env = LocalEnvironment("again", "inline")
    numbers = connected(env, lefts, []).join(fail_once, how="left", on_error=retry(1)).collect()
    env.submit(autostop=True)
    assert numbers == [0, 1, 2]


def test_a_failing_pair_fails_the_job_by_name() -> None:
    """The failure shows the operator and the pair."""
    env = LocalEnvironment("fails", "inline")
    connected(env, numbered([(1, 0)] * 3), numbered([(1, 0)], 1000)).join(fail_at_two).collect()
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True)
    failure = caught.value.failure
    assert failure is not None and failure.uid == "join:fail_at_two" and failure.error_type == "ValueError"
    assert failure.record is not None and "number=2" in failure.record and "number=1000" in failure.record


def test_wrong_joins_are_refused_with_all_that_is_wrong() -> None:
    """No keys, three streams, a function of one argument, a way of joining that there is not."""
    env = LocalEnvironment("wrong")
    one, two = env.from_batch([1]), env.from_batch([2])
    join: Any = one.connect(two).join
    join(pair, name="unkeyed").collect()
    three: Any = one.connect(two, two).keyby(int, int, int)
    three.join(pair, name="three").collect()
    join = one.connect(two).keyby(int, int).join
    join(str, name="one argument", how="full").collect()
    join(lambda left, right: (yield), name="generator").collect()
    join(pair, name="untimed", within=(0, 1)).collect()
    join(pair, name="turned", within=(1, 0)).collect()
    join(pair, name="no pair", within=5).collect()
    join(pair, name="no numbers", within=(True, "1")).collect()
    join(pair, 5, name="more").collect()
    with pytest.raises(GraphError) as caught:
        env.submit()
    text = str(caught.value)
    for expected in (
        "join 'unkeyed': pairs are of one key, and not all of its records have one",
        "join 'three': joins two streams, not 3",
        "join 'one argument': how must be 'inner', 'left', 'right' or 'outer', not 'full'",
        "join 'generator': it is a generator function",
        "interval_join 'untimed': within=… is of event time, which the records of both streams do not have",
        "interval_join 'turned': within=(1, 0) holds no pair",
        "interval_join 'no pair': within must be two numbers of seconds, or timedeltas, (lower, upper), not 5",
        "interval_join 'no numbers': within must be two numbers of seconds, or timedeltas, (lower, upper), not (True,",
        "join 'more': constructor arguments only go with a function class",
        "hint: 'outer' puts out what is alone on either side",
    ):
        assert expected in text, text


def test_annotations_of_both_sides_are_compared() -> None:
    """The left parameter is that of the first stream, the right one that of the second."""

    def wrong(left: str, right: int) -> str:
        return left * right

    def number(value: Any) -> int:
        return int(value)

    env = LocalEnvironment("annotated")
    numbers = env.from_batch([1]).map(number)
    join: Any = numbers.connect(numbers).keyby(str, str).join
    join(wrong).collect()
    with pytest.raises(GraphError, match="its left takes str, but gets int from map") as caught:
        env.submit()
    assert "its right" not in str(caught.value)
