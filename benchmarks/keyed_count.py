"""A running count of 1,000,000 words over 10,000 keys, against a plain loop over a dict.

The words are Zipf distributed, as words are: a few of them make up most of the stream. For every word the pair of it
and its count so far goes to a sink, which is a function that does nothing. Each way of writing the count that a user
might choose is measured, on one keyed task (all of it one chain) and on two (keys travel by hash to two threads).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache, partial
from itertools import accumulate

from _measure import in_turn, report

from sage.core.api import AggregateFunction, DataStream, LocalEnvironment, MapFunction, RuntimeContext

RECORDS = 1_000_000
KEYS = 10_000

Pair = tuple[str, int]
Way = Callable[[DataStream[str], int], DataStream[Pair]]
"""From words to pairs of word and count so far, on so many keyed tasks."""


@cache
def zipf_words() -> list[str]:
    """The same words on every run, whatever the number of the run."""
    names = [f"word-{number}" for number in range(KEYS)]
    weights = list(accumulate(1 / rank for rank in range(1, KEYS + 1)))
    return random.Random(7).choices(names, cum_weights=weights, k=RECORDS)


def nothing(pair: Pair) -> None:
    pass


def plain_loop(sink: Callable[[Pair], object] = nothing) -> None:
    counts: dict[str, int] = {}
    for word in zipf_words():
        count = counts.get(word, 0) + 1
        counts[word] = count
        sink((word, count))


def word_of(word: str) -> str:
    return word


def with_one(word: str) -> Pair:
    return word, 1


def first(pair: Pair) -> str:
    return pair[0]


def add(total: Pair, pair: Pair) -> Pair:
    return total[0], total[1] + pair[1]


class Occurrences(AggregateFunction):
    def create(self) -> Pair:
        return "", 0

    def add(self, total: Pair, word: str) -> Pair:
        return word, total[1] + 1

    def result(self, total: Pair) -> Pair:
        return total


class CountInAttribute(MapFunction):
    """Counts in an attribute: each subtask has one of its own, and sees all of its keys' records."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def execute(self, word: str) -> Pair:
        count = self.counts.get(word, 0) + 1
        self.counts[word] = count
        return word, count


class CountInState(MapFunction):
    """Counts in keyed state, which goes with its key wherever that is looked after."""

    def open(self, context: RuntimeContext) -> None:
        self.count = context.value_state("count", 0)

    def execute(self, word: str) -> Pair:
        count = self.count.get() + 1
        self.count.set(count)
        return word, count


def by_reduce(words: DataStream[str], tasks: int) -> DataStream[Pair]:
    return words.map(with_one).keyby(first).reduce(add, parallelism=tasks)


def by_aggregate(words: DataStream[str], tasks: int) -> DataStream[Pair]:
    return words.keyby(word_of).aggregate(Occurrences, parallelism=tasks)


def by_attribute(words: DataStream[str], tasks: int) -> DataStream[Pair]:
    return words.keyby(word_of).map(CountInAttribute, parallelism=tasks)


def by_state(words: DataStream[str], tasks: int) -> DataStream[Pair]:
    return words.keyby(word_of).map(CountInState, parallelism=tasks)


WAYS: dict[str, Way] = {
    "keyed state": by_state,
    "aggregate": by_aggregate,
    "reduce": by_reduce,
    "map, attribute": by_attribute,
}


def on_sage(way: Way, tasks: int, sink: Callable[[Pair], object] = nothing) -> None:
    env = LocalEnvironment("keyed-count")
    way(env.from_collection(zipf_words()), tasks).sink(sink, parallelism=tasks)
    env.submit(autostop=True)


def check() -> None:
    """All ways put out the same pairs; those of one key in the same order."""
    wanted: list[Pair] = []
    plain_loop(wanted.append)
    for way in WAYS.values():
        for tasks in (1, 2):
            pairs: list[Pair] = []
            on_sage(way, tasks, pairs.append)
            # Sorting is stable, and counts of a word rise: equal lists mean equal order per key.
            assert pairs == wanted if tasks == 1 else sorted(pairs, key=first) == sorted(wanted, key=first)


def main() -> None:
    check()
    work: dict[str, Callable[[], object]] = {"plain loop": plain_loop}
    for name, way in WAYS.items():
        for tasks in (1, 2):
            work[f"sage, {name}, {tasks} keyed"] = partial(on_sage, way, tasks)
    measured = in_turn(work, rounds=5)
    report(
        "keyed count, 1,000,000 words, 10,000 keys",
        measured,
        [(name, "plain loop", f"time of {name}") for name in work if name != "plain loop"],
    )


if __name__ == "__main__":
    main()
