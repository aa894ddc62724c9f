"""A task as a machine that is stepped: pace, turns among inputs, and the ways it waits."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.core.api import STOP, LocalEnvironment
from sage.core.engine.events import Attempt, OperatorCounts, TaskEvent
from sage.core.engine.life import TaskLife
from sage.core.engine.links import Inbox
from sage.core.engine.messages import Batch, EndOfInput
from sage.core.engine.output import BATCH_SIZE
from sage.core.engine.pace import IN_A_ROW, QUICK, SLOW, Pace
from sage.core.engine.task import Task
from sage.core.engine.wiring import TaskSet, Wiring, wire
from sage.core.plan.model import TaskId
from sage.core.plan.planner import make_plan


@given(times=st.lists(st.floats(0, 5), max_size=60))
def test_the_pace_stays_within_bounds(times: list[float]) -> None:
    """Slices begin with one record, double while quick, shrink when slow, and never leave 1 … a full batch."""
    pace = Pace()
    assert pace.limit == 1
    quick = 0
    for seconds in times:
        before = pace.limit
        assert pace.after(seconds) == (seconds > SLOW)
        assert 1 <= pace.limit <= BATCH_SIZE
        quick = quick + 1 if seconds < QUICK else 0
        if quick and quick % IN_A_ROW == 0:
            assert pace.limit == min(2 * before, BATCH_SIZE)
        elif seconds <= SLOW:
            assert pace.limit == before
        else:
            assert pace.limit <= before


def test_a_source_that_catches_up_gets_no_large_slice() -> None:
    """A few quick slices after a stall are no sign of speed; many of them are."""
    pace = Pace()
    for _ in range(IN_A_ROW - 1):
        pace.after(0.0)
    pace.after(QUICK)
    for _ in range(IN_A_ROW - 1):
        pace.after(0.0)
    assert pace.limit == 1
    for _ in range(IN_A_ROW * 20):
        pace.after(0.0)
    assert pace.limit == BATCH_SIZE


def test_what_was_put_out_leaves_with_the_last_record_at_hand() -> None:
    """With nothing more at hand nothing is kept back, not even until the next step; with more, records gather."""
    env = LocalEnvironment()
    env.from_batch([]).rebalance().map(str).rebalance().sink(print)
    wiring = wired(env)
    task, (inbox, following) = wiring.tasks[1], wiring.inboxes.values()
    task.open()
    inbox.put(Batch([1]))
    inbox.put(Batch([2]))
    assert task.step() == "again"
    assert len(following) == 0
    assert task.step() == "wait"
    assert following.take() == Batch(["1", "2"])
    task.close()


def wired(env: LocalEnvironment, batch_size: int = BATCH_SIZE) -> Wiring:
    plan = make_plan(env._builder.build())
    return wire(TaskSet(plan, plan.tasks), Attempt("job"), {}, print, batch_size=batch_size)


def opened(env: LocalEnvironment, number: int, batch_size: int = BATCH_SIZE) -> tuple[Task, list[Inbox]]:
    """The ``number``-th task of a pipeline, opened, and its inboxes."""
    wiring = wired(env, batch_size)
    task = wiring.tasks[number]
    task.open()
    return task, [inbox for channel, inbox in wiring.inboxes.items() if channel.target == task.id.subtask]


def test_inputs_take_turns() -> None:
    """No input can keep the others waiting; the end comes when all have ended."""
    out: list[Any] = []
    env = LocalEnvironment()
    env.from_batch([]).union(env.from_batch([]), env.from_batch([])).sink(out.append)
    task, (one, two, three) = opened(env, 3)
    for number in range(3):
        one.put(Batch([f"one {number}"]))
    two.put(Batch(["two 0"]))
    two.put(EndOfInput())
    assert task.step() == "again"
    while task.step() == "again":
        continue
    assert out == ["one 0", "two 0", "one 1", "one 2"]
    assert task.patience == math.inf
    three.put(EndOfInput())
    one.put(EndOfInput())
    while (step := task.step()) == "again":
        continue
    assert step == "done"


def test_a_batch_is_taken_in_slices() -> None:
    """A task looks up between slices: a cancel is served there, and not after the whole batch."""
    out: list[int] = []
    env = LocalEnvironment()
    env.from_batch([]).union(env.from_batch([])).sink(out.append)
    task, (one, _) = opened(env, 2)
    one.put(Batch(list(range(100))))
    assert task.step() == "again"
    assert out == [0]
    assert task.step() == "again"
    assert out[:2] == [0, 1]
    task.cancel()
    before = list(out)
    assert task.step() == "done"
    assert out == before
    task.close()


@pytest.mark.parametrize("batch_size", [1, BATCH_SIZE])
def test_a_source_that_has_nothing_waits_longer_and_longer_until_it_has(batch_size: int) -> None:
    """From 0.1 ms, doubled up to 10 ms; a record sets it back, also where each turn is one record."""
    answers: list[Any] = [None] * 9 + ["record"] + [None] * 2
    env = LocalEnvironment()
    env.from_source(lambda: answers.pop(0) if answers else STOP).sink(str)
    task, _ = opened(env, 0, batch_size)
    patience = []
    while (step := task.step()) != "done":
        if step == "wait":
            patience.append(task.patience)
    doubled = [0.0001 * 2**number for number in range(7)]
    assert patience[:9] == [*doubled, 0.01, 0.01]
    assert patience[9] == 0.0001


def test_counts_are_those_of_what_has_been_done() -> None:
    """Any moment's counts are right for whole slices, and exact at the end."""
    env = LocalEnvironment()
    stream = env.from_batch(range(10)).filter(lambda value: value % 2).flatmap(lambda value: [value] * 3)
    stream.union(stream).sink(str)
    wiring = wired(env)
    source, sink = wiring.tasks
    for task in wiring.tasks:
        task.open()
    for task in (source, sink):
        while task.step() != "done":
            continue
    counts = source.counts()
    assert dict(counts.operators) == {
        "collection:range": OperatorCounts(0, 10),
        "filter:<lambda>": OperatorCounts(10, 5),
        "flatmap:<lambda>": OperatorCounts(5, 15),
    }
    assert {records for records, _ in counts.edges.values()} == {15}
    assert dict(sink.counts().operators) == {"sink:str": OperatorCounts(30, 0)}
    assert source.id == TaskId(0, 0)


def test_a_task_cancelled_before_it_was_opened_is_not_opened() -> None:
    """Nothing is built or connected for a job that is ending; the task says that it was cancelled."""

    class Never:
        def __init__(self) -> None:
            raise AssertionError("it was built")

        def execute(self, value: Any) -> Any:
            return value

    events: list[TaskEvent] = []
    env = LocalEnvironment()
    env.from_batch([1]).sink(Never)
    wiring = wired(env)
    task = wiring.tasks[0]
    task.cancel()
    life = TaskLife(task, wiring.services, events.append)
    assert not life.open()
    assert [event.kind for event in events] == ["cancelled"]
    assert life.ended
