"""Cases of joins and of several streams, rewritten from the public suites of Flink. See docs/reference/semantics-
cases.md."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from cases import Play, seconds

from sage.core.api import CoProcessFunction, DataStream, RuntimeContext, Tumbling, Window

Pairs = list[tuple[int, int]]


def within(lower: int, upper: int) -> Callable[[DataStream[int], DataStream[int]], DataStream[Any]]:
    """Pairs of one key, of which the right is so many ms after the left."""

    def operator(left: DataStream[int], right: DataStream[int]) -> DataStream[Any]:
        keyed = left.connect(right).keyby(lambda record: "key", lambda record: "key")
        return keyed.join(lambda a, b: (a, b), within=(seconds(lower), seconds(upper)))

    return operator


def elements_and_watermarks(play: Play, first: int, last: int) -> Pairs:
    """For each ms, a record and a watermark by both inputs. Returns the pairs that came of it."""
    found = []
    for ms in range(first, last + 1):
        for number in (0, 1):
            found += play.record(ms, ms, input=number)
            found += play.mark(ms, input=number)
    return sorted(record for record, _ in found)


INTERVALS: list[tuple[str, int, int, Pairs]] = [
    ("testImplementationMirrorsCorrectly", 1, 2, [(1, 2), (1, 3), (2, 3), (2, 4), (3, 4)]),
    ("testNegativeInclusiveAndNegativeInclusive", -2, -1, [(2, 1), (3, 1), (3, 2), (4, 2), (4, 3)]),
    (
        "testNegativeInclusiveAndPositiveInclusive",
        -1,
        1,
        [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3), (3, 4), (4, 3), (4, 4)],
    ),
    ("testNegativeExclusiveAndNegativeExlusive", -2, -2, [(3, 1), (4, 2)]),
    ("testNegativeExclusiveAndPositiveExlusive", 0, 0, [(1, 1), (2, 2), (3, 3), (4, 4)]),
    ("testPositiveExclusiveAndPositiveExlusive", 2, 2, [(1, 3), (2, 4)]),
]


@pytest.mark.parametrize(("case", "lower", "upper", "expected"), INTERVALS, ids=[item[0] for item in INTERVALS])
def test_intervals(case: str, lower: int, upper: int, expected: Pairs) -> None:
    """Flink IntervalJoinOperatorTest.testNegativeInclusiveAndPositiveInclusive (and its five kin): pairs within
    both bounds.

    Ours differs: bounds are always part of the interval; what Flink's exclude is a bound of a millisecond less here.
    """
    with Play(within(lower, upper)) as play:
        assert elements_and_watermarks(play, 1, 4) == sorted(expected)


def test_an_interval_join_is_saved_and_restored() -> None:
    """Flink IntervalJoinOperatorTest.testRestoreFromSnapshot: records from before find those that come after."""
    with Play(within(-1, 1)) as play:
        found = elements_and_watermarks(play, 1, 3)
        assert found == [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3)]
        play.reopen()
        assert elements_and_watermarks(play, 4, 4) == [(3, 4), (4, 3), (4, 4)]


def test_a_pair_has_the_later_time() -> None:
    """Flink IntervalJoinOperatorTest.testReturnsCorrectTimestamp: a pair carries the later time of its two records."""
    with Play(within(-1, 1)) as play:
        assert play.record(1, 1) == []
        assert play.record(2, 2, input=1) == [((1, 2), 2)]
        assert play.record(3, 3) == [((3, 2), 3)]


@pytest.mark.parametrize("late", [0, 1])
def test_late_records_find_nothing(late: int) -> None:
    """Flink IntervalJoinOperatorTest.testDiscardsLateData: a record behind the watermark is not joined."""
    with Play(within(-1, 1)) as play:
        for number in (0, 1):
            play.record(1, 1, input=number)
        play.marks(3)
        play.record(4, 4, input=1 - late)
        assert play.record(3, 3, input=late) == []
        assert play.marks(100) == []


def kept(play: Play) -> tuple[list[int], list[int]]:
    """What the join keeps of either side."""
    (table,) = [
        pickle.loads(part.keyed)
        for parts in play.harness.snapshot().values()
        for part in parts
        if "join" in part.kind and part.keyed is not None
    ]
    (key,) = list(table[""].values()) or [(([], []), ([], []))]
    return key[0][1], key[1][1]


def test_records_that_no_other_can_find_are_let_go_of() -> None:
    """Flink IntervalJoinOperatorTest.testStateCleanupNegativeInclusiveNegativeInclusive: none is kept after its
    time."""
    with Play(within(-1, 0)) as play:
        for number in (0, 1):
            for ms in range(1, 6):
                play.record(ms, ms, input=number)
        play.marks(4)
        assert kept(play) == ([5], [4, 5])
        play.marks(6)
        assert kept(play) == ([], [])


def test_records_of_the_right_are_let_go_of_first() -> None:
    """Flink IntervalJoinOperatorTest.testStateCleanupPositiveInclusivePositiveInclusive: where they come before it."""
    with Play(within(0, 1)) as play:
        for number in (0, 1):
            for ms in range(1, 6):
                play.record(ms, ms, input=number)
        play.marks(4)
        assert kept(play) == ([4, 5], [5])
        play.marks(6)
        assert kept(play) == ([], [])


# Flink: joins and co_group in windows


def grouped(window: Any) -> Callable[[DataStream[Any], DataStream[Any]], DataStream[str]]:
    def told(key: str, window: Window, lefts: list[Any], rights: list[Any]) -> Iterable[str]:
        first = ",".join(str(record) for record in lefts)
        second = ",".join(str(record) for record in rights)
        yield f"F:{first} S:{second}"

    def operator(left: DataStream[Any], right: DataStream[Any]) -> DataStream[str]:
        return left.connect(right).keyby(lambda r: r[0], lambda r: r[0]).co_group(told, window=window)

    return operator


def feed(play: Play, lefts: list[tuple[str, int]], rights: list[tuple[str, int]]) -> None:
    """Records of the form (key, number) at the ms of their number."""
    for key, number in lefts:
        play.record((key, number), number)
    for key, number in rights:
        play.record((key, number), number, input=1)


LEFTS = [("a", 0), ("a", 1), ("a", 2), ("b", 3), ("b", 4), ("b", 5), ("a", 6), ("a", 7), ("a", 8)]
RIGHTS = [("a", 0), ("a", 1), ("b", 3), ("c", 6), ("c", 7), ("c", 8)]


def test_co_group() -> None:
    """Flink CoGroupJoinITCase.testCoGroup: all of a key and window from both sides, also where one has none."""
    with Play(grouped(Tumbling(seconds(3)))) as play:
        feed(play, LEFTS, RIGHTS)
        assert sorted(record for record, _ in play.end()) == sorted(
            [
                "F:('a', 0),('a', 1),('a', 2) S:('a', 0),('a', 1)",
                "F:('b', 3),('b', 4),('b', 5) S:('b', 3)",
                "F:('a', 6),('a', 7),('a', 8) S:",
                "F: S:('c', 6),('c', 7),('c', 8)",
            ]
        )


def joined(window: Any, how: Any = "inner") -> Callable[[DataStream[Any], DataStream[Any]], DataStream[Any]]:
    def operator(left: DataStream[Any], right: DataStream[Any]) -> DataStream[Any]:
        keyed = left.connect(right).keyby(lambda r: r[0], lambda r: r[0])
        return keyed.join(lambda a, b: (a, b), window=window, how=how)

    return operator


def test_a_join_in_windows() -> None:
    """Flink CoGroupJoinITCase.testJoin: every pair of a key and window, and nothing of what has no other side."""
    with Play(joined(Tumbling(seconds(3)))) as play:
        feed(play, LEFTS, [("a", 0), ("a", 1), ("b", 3), ("b", 4), ("d", 6)])
        expected = [(("a", left), ("a", right)) for left in (0, 1, 2) for right in (0, 1)]
        expected += [(("b", left), ("b", right)) for left in (3, 4, 5) for right in (3, 4)]
        assert sorted(record for record, _ in play.end()) == sorted(expected)


def test_a_self_join() -> None:
    """Flink CoGroupJoinITCase.testSelfJoin: a stream joined with itself gives each record with each of its window."""

    def operator(stream: DataStream[Any]) -> DataStream[Any]:
        keyed = stream.connect(stream).keyby(lambda r: r[0], lambda r: r[0])
        return keyed.join(lambda a, b: (a, b), window=Tumbling(seconds(3)))

    with Play(operator) as play:
        for key, number in LEFTS[:5]:
            play.record((key, number), number)
        expected = [(("a", left), ("a", right)) for left in (0, 1, 2) for right in (0, 1, 2)]
        expected += [(("b", left), ("b", right)) for left in (3, 4) for right in (3, 4)]
        assert sorted(record for record, _ in play.end()) == sorted(expected)


# Flink: broadcast state


class Rules(CoProcessFunction):
    """Records by the first input, rules for all keys by the second, which is broadcast."""

    def open(self, context: RuntimeContext) -> None:
        self.rules = context.broadcast_state("rules")

    def process0(self, record: str) -> Iterable[Any]:
        yield record, dict(self.rules)

    def process1(self, rule: tuple[str, int]) -> None:
        self.rules[rule[0]] = rule[1]


def ruled(parallelism: int) -> Callable[[DataStream[str], DataStream[Any]], DataStream[Any]]:
    def operator(records: DataStream[str], rules: DataStream[Any]) -> DataStream[Any]:
        return records.keyby(lambda r: r).connect(rules.broadcast()).process(Rules, parallelism=parallelism)

    return operator


def test_broadcast_state_is_the_same_everywhere() -> None:
    """Flink CoBroadcastWithKeyedOperatorTest.testBroadcastState: all subtasks see every rule, whatever the key."""
    with Play(ruled(3)) as play:
        play.record(("test1", 3), 0, input=1)
        play.record(("test2", 4), 0, input=1)
        for key in ("a", "b", "c", "d"):
            assert [out for out, _ in play.record(key, 0)] == [(key, {"test1": 3, "test2": 4})]


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 2), (1, 4)])
def test_broadcast_state_at_another_parallelism(before: int, after: int) -> None:
    """Flink CoBroadcastWithKeyedOperatorTest.testScaleUp (and testScaleDown): restored, it is on all subtasks again."""
    parallelism = [before]
    with Play(lambda a, b: ruled(parallelism[0])(a, b)) as play:
        play.record(("test1", 3), 0, input=1)
        parallelism[0] = after
        play.reopen()
        for key in ("a", "b", "c", "d", "e", "f"):
            assert [out for out, _ in play.record(key, 0)] == [(key, {"test1": 3})]
