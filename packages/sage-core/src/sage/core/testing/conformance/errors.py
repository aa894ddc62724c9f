"""Errors: what fails a job, who is named, what a policy does, and what a failing call leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from sage.core.api.error_policy import dead_letter, retry, skip
from sage.core.api.function.base_function import BaseFunction
from sage.core.api.function.batch_function import BatchFunction
from sage.core.api.function.flatmap_function import FlatMapFunction
from sage.core.engine.context import RuntimeContext
from sage.core.testing.conformance._functions import Ring, drop, first, itself
from sage.core.testing.conformance._promises import promise
from sage.core.testing.conformance.kit import Kit, operator

__all__ = [
    "FailsAsSource",
    "FailsAt",
    "Flaky",
    "HalfWay",
    "NotSimple",
    "Total",
    "any_exception",
    "budget",
    "dead_letters",
    "ends_the_others",
    "failing_close",
    "failing_open",
    "failing_source",
    "fails_the_job",
    "leave",
    "parse",
    "raise_not_simple",
    "retries",
    "skips",
    "undone",
    "withheld",
]

_PAGE = "reference/errors-in-functions.md"


def parse(text: str) -> int:
    return int(text)


class NotSimple(Exception):
    """Cannot be pickled as exceptions mostly are: it takes other arguments than it passes on."""

    def __init__(self, code: int, lock: object) -> None:
        super().__init__(f"code {code}")
        self.lock = lock


def raise_not_simple(value: object) -> object:
    raise NotSimple(7, sys.stdout)


def leave(value: object) -> object:
    raise SystemExit(3)


@promise(
    "errors.fail",
    "A function that raises fails the job, and operator, subtask, record, error and traceback are told.",
    f"{_PAGE}#a-job-that-fails",
)
def fails_the_job(kit: Kit) -> None:
    env = kit.environment()
    texts = env.from_batch(["1", "2", "three"]).rebalance()
    texts.map(parse, name="numbers", uid="parsed", parallelism=3).collect()
    failure = kit.fail(env)
    assert (failure.kind, failure.uid, failure.subtask) == ("user_code", "parsed", 2)
    assert failure.record == "'three'"
    assert failure.error_type is not None and failure.error_type.endswith("ValueError")
    assert "numbers" in failure.message and "'three'" in failure.message
    assert failure.traceback is not None and "in parse" in failure.traceback


@promise(
    "errors.any",
    "Any exception is told, also one that cannot be pickled, and an exit is one.",
    f"{_PAGE}#a-job-that-fails",
)
def any_exception(kit: Kit) -> None:
    for function, name in ((raise_not_simple, "NotSimple"), (leave, "SystemExit")):
        env = kit.environment()
        env.from_batch([1]).rebalance().map(function, name="raises").collect()
        failure = kit.fail(env)
        assert failure.error_type is not None and failure.error_type.endswith(name)
        assert "raises" in failure.message


@promise(
    "errors.others",
    "The failure of one task ends all others, and their functions are closed.",
    f"{_PAGE}#a-job-that-fails",
)
def ends_the_others(kit: Kit) -> None:
    env, bell = kit.environment(), kit.bell()
    env.from_batch(_without_end).map(Ring, bell, "other").rebalance().sink(drop)
    env.from_batch(["one"]).rebalance().map(parse).sink(drop)
    failure = kit.fail(env)
    assert failure.record == "'one'"
    assert bell.heard(2, kit.limit) == ["open other", "close other"]


def _without_end() -> Iterator[int]:
    while True:
        yield 1


class FailsAt(BaseFunction):
    """Raises in one part of its life."""

    def __init__(self, when: str) -> None:
        self.when = when

    def open(self, context: RuntimeContext) -> None:
        if self.when == "open":
            raise LookupError("nothing to open")

    def execute(self, record: int) -> int:
        return record

    def close(self) -> None:
        if self.when == "close":
            raise LookupError("nothing to close")


@promise(
    "errors.open",
    "A function that cannot be opened fails the job before any record flows.",
    f"{_PAGE}#what-a-policy-covers",
)
def failing_open(kit: Kit) -> None:
    env, bell = kit.environment(), kit.bell()
    numbers = env.from_batch(range(100)).map(Ring, bell, "source", records=True)
    numbers.rebalance().map(FailsAt, "open", uid="opens").collect()
    failure = kit.fail(env)
    assert failure.uid == "opens"
    assert failure.error_type is not None and failure.error_type.endswith("LookupError")
    assert not [text for text in bell.heard() if text.startswith("source")], "no record may flow before all are open"


@promise("errors.close", "A function that cannot be closed fails the job, by name.", f"{_PAGE}#what-a-policy-covers")
def failing_close(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(range(100)).rebalance().map(FailsAt, "close", uid="closes").collect()
    failure = kit.fail(env)
    assert failure.uid == "closes"
    assert sorted(found) == list(range(100)), "what came before its close went on"


class FailsAsSource(BatchFunction[int]):
    """Raises at its third call."""

    def __init__(self) -> None:
        self.count = 0

    def execute(self) -> int | None:
        self.count += 1
        if self.count == 3:
            raise ConnectionError("gone")
        return self.count if self.count < 6 else None


@promise(
    "errors.source",
    "A source that raises fails the job; under `skip` it goes on with its next call.",
    f"{_PAGE}#what-a-policy-covers",
)
def failing_source(kit: Kit) -> None:
    env = kit.environment()
    env.from_batch(FailsAsSource, uid="source").rebalance().map(itself).collect()
    failure = kit.fail(env)
    assert failure.uid == "source" and "gone" in failure.message
    env = kit.environment()
    found = env.from_batch(FailsAsSource, on_error=skip()).rebalance().map(itself).collect()
    kit.run(env)
    assert found == [1, 2, 4, 5]


@promise("errors.skip", "Under `skip` a record whose function raises is left out, and counted.", f"{_PAGE}#policies")
def skips(kit: Kit) -> None:
    env = kit.environment()
    found = env.from_batch(["1", "two", "3"]).rebalance().map(parse, on_error=skip(), name="parse").collect()
    ended = kit.run(env)
    assert found == [1, 3]
    assert operator(ended.metrics, "parse").skipped == 1


@promise(
    "errors.dead-letter",
    "Under `dead_letter` it goes to the stream of dead letters, with its failure.",
    f"{_PAGE}#dead-letters",
)
def dead_letters(kit: Kit) -> None:
    env = kit.environment()
    parsed = env.from_batch(["1", "two", "3"]).rebalance().map(parse, on_error=dead_letter(), uid="parse")
    found, letters = parsed.collect(), parsed.dead_letters.rebalance().collect()
    kit.run(env)
    assert found == [1, 3]
    (letter,) = letters
    assert (letter.record, letter.failure.uid) == ("two", "parse")
    assert "ValueError" in str(letter.failure.error_type)


class Flaky(BaseFunction):
    """Works at the third call."""

    def __init__(self) -> None:
        self.calls = 0

    def execute(self, record: str) -> tuple[str, int]:
        self.calls += 1
        if self.calls < 3:
            raise ConnectionError("not yet")
        return record, self.calls


@promise(
    "errors.retry", "Under `retry` the call is made again; records keep their order meanwhile.", f"{_PAGE}#retries"
)
def retries(kit: Kit) -> None:
    env = kit.environment()
    flaky = env.from_batch(["a", "b"]).rebalance().map(Flaky, on_error=retry(2, backoff=0.001), name="flaky")
    found = flaky.collect()
    ended = kit.run(env)
    assert found == [("a", 3), ("b", 4)]
    assert operator(ended.metrics, "flaky").retried == 2


@promise("errors.budget", "A policy whose budget is spent fails the job.", f"{_PAGE}#budgets")
def budget(kit: Kit) -> None:
    env = kit.environment()
    env.from_batch(["one", "2", "three"]).rebalance().map(parse, on_error=skip(at_most=1)).collect()
    failure = kit.fail(env)
    assert failure.error_type == "sage.core.errors.BudgetSpentError"
    assert "'three'" in failure.message


class HalfWay(FlatMapFunction[int, int]):
    """Puts out two numbers, on the side as well, and fails between them for negative ones."""

    def execute(self, record: int) -> Iterator[int]:
        yield record
        self.context.side_output("seen", record)
        if record < 0:
            raise ValueError("negative")
        yield record * 10


@promise(
    "errors.withheld",
    "A call that raises has put out nothing, on the side neither.",
    f"{_PAGE}#what-is-withheld-what-is-undone-and-what-is-not",
)
def withheld(kit: Kit) -> None:
    env = kit.environment()
    halves = env.from_batch([1, -2, 3]).rebalance().flatmap(HalfWay, on_error=skip())
    found, seen = halves.rebalance().map(itself).collect(), halves.side_output("seen").rebalance().map(itself).collect()
    kit.run(env)
    assert found == [1, 10, 3, 30]
    assert seen == [1, 3]


class Total(BaseFunction):
    """Adds up what a key spends, and refuses what is too much, after having written it."""

    def open(self, context: RuntimeContext) -> None:
        self.total = context.value_state("total", 0)
        self.all = context.list_state("all")
        self.by_amount = context.map_state("by amount")

    def execute(self, pair: tuple[str, int]) -> Any:
        self.total.set(self.total.get() + pair[1])
        self.all.append(pair[1])
        self.by_amount[pair[1]] = True
        if self.total.get() > 100:
            raise ValueError("over the limit")
        return pair[0], self.total.get(), self.all.get(), sorted(self.by_amount)


@promise(
    "errors.undone",
    "What a failing call has written to keyed state is set back.",
    f"{_PAGE}#what-is-withheld-what-is-undone-and-what-is-not",
)
def undone(kit: Kit) -> None:
    env = kit.environment()
    spent = env.from_batch([("a", 60), ("a", 50), ("b", 100), ("b", 1), ("a", 30)]).keyby(first)
    found = spent.map(Total, on_error=skip(), parallelism=2).collect()
    kit.run(env)
    assert sorted(found) == [("a", 60, [60], [60]), ("a", 90, [60, 30], [30, 60]), ("b", 100, [100], [100])]
