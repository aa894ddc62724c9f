"""The planner: what runs as one task, and how tasks are connected."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sage.core.api import DataStream, LocalEnvironment
from sage.core.plan.model import ChannelId, ExecutionPlan, TaskId
from sage.core.plan.planner import MAX_CHAIN, MAX_NESTED, make_plan


def same(value: Any) -> Any:
    return value


def add(left: Any, right: Any) -> Any:
    return left


def plan_of(env: LocalEnvironment) -> ExecutionPlan:
    return make_plan(env._builder.build())


def stages(plan: ExecutionPlan) -> list[list[str]]:
    return [[plan.operators[number].name for number in stage.operators] for stage in plan.stages]


def edges(plan: ExecutionPlan) -> list[tuple[str, str, str]]:
    names = {number: operator.name for number, operator in plan.operators.items()}
    return [(names[edge.source], names[edge.target], edge.exchange) for edge in plan.edges]


def test_operators_without_an_exchange_are_one_task() -> None:
    """A plain pipeline is one stage, and nothing crosses."""
    env = LocalEnvironment()
    env.from_batch([1], name="a").map(same, name="b").filter(same, name="c").flatmap(list, name="d").sink(
        same, name="e"
    )
    plan = plan_of(env)
    assert stages(plan) == [["a", "b", "c", "d", "e"]]
    assert plan.edges == ()
    assert plan.tasks == (TaskId(0, 0),)


def test_branches_stay_in_the_task_of_their_stream() -> None:
    """A stream that is used twice feeds both from one loop."""
    env = LocalEnvironment()
    stream = env.from_batch([1], name="a").map(same, name="b")
    stream.map(same, name="c").sink(same, name="d")
    stream.sink(same, name="e")
    assert stages(plan_of(env)) == [["a", "b", "c", "d", "e"]]


def test_another_parallelism_begins_another_stage() -> None:
    """Records are dealt out in turn where the number of subtasks changes; equal numbers chain."""
    env = LocalEnvironment()
    stream = env.from_batch([1], name="a").map(same, name="b", parallelism=2).map(same, name="c", parallelism=2)
    stream.map(same, name="d", parallelism=3).sink(same, name="e")
    plan = plan_of(env)
    assert stages(plan) == [["a"], ["b", "c"], ["d"], ["e"]]
    assert edges(plan) == [("a", "b", "rebalance"), ("c", "d", "rebalance"), ("d", "e", "rebalance")]
    assert [stage.parallelism for stage in plan.stages] == [1, 2, 3, 1]
    assert len(plan.tasks) == 7


def test_a_key_exchange_crosses_unless_there_is_one_subtask_on_both_sides() -> None:
    """``hash`` between single subtasks moves nothing."""
    env = LocalEnvironment()
    keyed = env.from_batch([1], name="a").keyby(same, name="k")
    keyed.reduce(add, name="one").sink(same, name="s1")
    keyed.reduce(add, name="two", parallelism=2).sink(same, name="s2")
    plan = plan_of(env)
    assert stages(plan) == [["a", "k", "one", "s1"], ["two"], ["s2"]]
    assert edges(plan) == [("k", "two", "hash"), ("two", "s2", "rebalance")]

    env = LocalEnvironment()
    env.from_batch([1], name="a").map(same, name="m", parallelism=2).keyby(same, name="k").reduce(
        add, name="r", parallelism=2
    ).sink(same, name="s", parallelism=2)
    plan = plan_of(env)
    assert stages(plan) == [["a"], ["m", "k"], ["r", "s"]]
    assert edges(plan) == [("a", "m", "rebalance"), ("k", "r", "hash")]


def test_a_union_begins_a_stage_with_an_edge_for_each_of_its_streams() -> None:
    """Also for a stream that is united with itself."""
    env = LocalEnvironment()
    one, two = env.from_batch([1], name="a"), env.from_batch([2], name="b")
    one.union(two, one).map(same, name="u").sink(same, name="s")
    plan = plan_of(env)
    assert stages(plan) == [["a"], ["b"], ["u", "s"]]
    assert edges(plan) == [("a", "u", "forward"), ("b", "u", "forward"), ("a", "u", "forward")]
    assert len({edge.id for edge in plan.edges}) == 3


def test_keyed_streams_unite_to_a_keyed_one() -> None:
    """Their keys meet in what follows, whichever stream they come from."""
    env = LocalEnvironment()
    one = env.from_batch([1], name="a").keyby(same, name="j")
    two = env.from_batch([2], name="b").keyby(same, name="k")
    one.union(two).reduce(add, name="keyed", parallelism=2).sink(same, name="s")
    assert edges(plan_of(env)) == [
        ("j", "keyed", "hash"),
        ("k", "keyed", "hash"),
        ("keyed", "s", "rebalance"),
    ]


def test_chains_are_cut_where_python_would_not_compile_them() -> None:
    """Long rows and deeply nested loops continue in another task, whose input stays in order."""
    env = LocalEnvironment()
    stream = env.from_batch([1])
    for _ in range(2 * MAX_CHAIN):
        stream = stream.map(same)
    stream.sink(same)
    plan = plan_of(env)
    assert [len(stage.operators) for stage in plan.stages] == [MAX_CHAIN, MAX_CHAIN, 2]
    assert [edge.exchange for edge in plan.edges] == ["forward", "forward"]

    env = LocalEnvironment()
    deep: DataStream[Any] = env.from_batch([1])
    for _ in range(2 * MAX_NESTED + 1):
        deep = deep.flatmap(list).map(same)
    deep.sink(same)
    plan = plan_of(env)
    nested = [sum(plan.operators[number].kind == "flatmap" for number in stage.operators) for stage in plan.stages]
    assert sum(nested) == 2 * MAX_NESTED + 1
    assert max(nested) == MAX_NESTED


def test_what_a_plan_needs() -> None:
    """Only a source that may go on for ever asks something of the backend."""
    env = LocalEnvironment()
    env.from_batch([1]).sink(same)
    assert plan_of(env).needs == frozenset()
    env.from_source(lambda: None).sink(same)
    assert plan_of(env).needs == {"unbounded"}


@given(parallelisms=st.lists(st.integers(1, 5), min_size=1, max_size=5), keyed=st.booleans())
def test_channels_are_the_same_seen_from_both_ends(parallelisms: list[int], keyed: bool) -> None:
    """Whatever the numbers of subtasks, every channel has one sender and one receiver, and both know it."""
    env = LocalEnvironment()
    stream = env.from_batch([1])
    for parallelism in parallelisms:
        stream = (stream.keyby(same) if keyed else stream).map(same, parallelism=parallelism)
    stream.union(stream).sink(same, parallelism=2)
    plan = plan_of(env)
    incoming = [channel for task in plan.tasks for channel in plan.channels_into(task)]
    outgoing: list[ChannelId] = []
    for task in plan.tasks:
        for edge in plan.edges:
            if edge.source_stage == task.stage:
                outgoing += plan.channels_out_of(edge, task.subtask)
    assert sorted(incoming) == sorted(outgoing)
    assert len(set(incoming)) == len(incoming)
    for channel in incoming:
        assert channel in list(plan.channels_into(plan.target_of(channel)))
        assert plan.source_of(channel).stage < plan.target_of(channel).stage
    assert [edge.id for edge in plan.edges] == list(range(len(plan.edges)))
    assert [stage.id for stage in plan.stages] == list(range(len(plan.stages)))
    assert str(TaskId(1, 2)) == "1.2"
    assert str(ChannelId(0, 1, 2)) == "0:1>2"
