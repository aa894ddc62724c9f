"""Loops as they are declared: `from_future` and `fill_future`, what is refused, and the plan."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sage.core.api import DataStream, LocalEnvironment
from sage.core.errors import AlreadySubmittedError, CapabilityError, GraphError
from sage.core.graph.loops import find_loops
from sage.core.plan.model import ExecutionPlan
from sage.core.plan.planner import make_plan


def same(value: Any) -> Any:
    return value


def plan_of(env: LocalEnvironment) -> ExecutionPlan:
    return make_plan(env._builder.build())


def problems(declare: Callable[[LocalEnvironment, DataStream[Any], DataStream[Any]], object], **options: Any) -> str:
    """What is wrong with a pipeline that `declare` makes with a future and a stream."""
    env = LocalEnvironment("loops")
    declare(env, env.from_future("again", **options), env.from_batch([1], name="numbers"))
    graph, found = env._builder.draft()
    make_plan(graph)  # a plan of whatever it is can be made: nothing hangs or raises
    return "\n".join(problem.message for problem in found)


def close(stream: DataStream[Any], future: DataStream[Any]) -> DataStream[Any]:
    return stream.union(future).map(same, name="body").fill_future(future).sink(same)


def test_a_loop_is_a_graph_with_a_back_edge() -> None:
    """The edge leads to what was declared before, says so, and everything else is as in any graph."""
    env = LocalEnvironment("loops")
    future = env.from_future("again", uid="head")
    close(env.from_batch([1]), future)
    graph = env._builder.build()
    head = graph.operators[0]
    assert (head.kind, head.name, head.uid, head.parallelism) == ("feedback", "again", "head", 1)
    assert [(edge.source, edge.target) for edge in graph.edges if edge.back] == [(2, 0)]
    assert [edge["back"] for edge in graph.to_json()["edges"]] == [edge.back for edge in graph.edges]
    (loop,) = find_loops(graph)
    assert loop.heads == (0,)
    assert loop.operators == {0, 2}


def test_the_head_is_a_stage_and_loops_are_cut_out() -> None:
    """What leaves a loop is another stage; within it operators are chained as anywhere."""
    env = LocalEnvironment("loops")
    future = env.from_future("again")
    body = env.from_batch([1]).map(same).union(future).map(same).map(same)
    body.filter(bool).fill_future(future)
    body.map(same).sink(same)
    plan = plan_of(env)
    kinds = [[plan.operators[number].kind for number in stage.operators] for stage in plan.stages]
    assert kinds == [["feedback"], ["collection", "map"], ["map", "map", "filter"], ["map", "sink"]]
    assert plan.needs == {"feedback"}
    assert [(loop.heads, sorted(loop.stages)) for loop in plan.loops] == [(("again",), [0, 2])]
    assert [plan.loop_of(stage.id) is not None for stage in plan.stages] == [True, False, True, False]
    assert [(edge.source_stage, edge.target_stage) for edge in plan.edges if edge.back] == [(2, 0)]
    assert [edge["back"] for edge in plan.to_json()["edges"]] == [edge.back for edge in plan.edges]


def test_loops_inside_loops_are_one_and_loops_in_a_row_are_not() -> None:
    """What can reach one another drains together; what only follows waits for the loop before it."""
    env = LocalEnvironment("loops")
    outer, inner, after = (env.from_future(name) for name in ("outer", "inner", "after"))
    first = env.from_batch([1]).union(outer).map(same)
    second = first.union(inner).map(same)
    second.filter(bool).fill_future(inner)
    second.map(same).fill_future(outer)
    last = second.union(after).map(same)
    last.fill_future(after)
    last.sink(same)
    plan = plan_of(env)
    assert [loop.heads for loop in plan.loops] == [("outer", "inner"), ("after",)]
    assert plan.loops[0].stages.isdisjoint(plan.loops[1].stages)


def test_loops_that_cross_are_one() -> None:
    """Two futures that fill each other are one loop with two heads."""
    env = LocalEnvironment("loops")
    ping, pong = env.from_future("ping"), env.from_future("pong")
    env.from_batch([1]).union(ping).map(same).fill_future(pong)
    pong.map(same).fill_future(ping).sink(same)
    assert [loop.heads for loop in plan_of(env).loops] == [("ping", "pong")]


def test_explain_shows_where_it_goes_back() -> None:
    """As text, as a drawing."""
    env = LocalEnvironment("loops")
    close(env.from_batch([1]), env.from_future("again"))
    text = env.explain()
    assert "← map:body (back)" in text
    assert "stage 2 ─back, forward→ stage 1   (map:body → feedback:again)" in text
    assert 'op2 -.->|"back"| op1' in env.explain("mermaid")


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda env, future, stream: stream.union(future).sink(same), "feedback 'again': it is never filled"),
        (lambda env, future, stream: (close(stream, future), stream.fill_future(future)), "it is filled already, at"),
        (
            lambda env, future, stream: (stream.union(future).sink(same), stream.map(same).fill_future(future)),
            "whose records do not come from it",
        ),
        (lambda env, future, stream: (stream.sink(same), close(future, future)), "nothing ever comes into its loop"),
        (
            lambda env, future, stream: (stream.sink(same), stream.union(future).map(same).fill_future(future)),
            "nothing ever leaves its loop",
        ),
        (lambda env, future, stream: (close(stream, stream), stream.sink(same))[1], "fill_future takes"),
        (
            lambda env, future, stream: (
                stream.union(future).keyby(same).reduce(max, final=True).sink(same).fill_future(future)
            ),
            "whose loop is over by then",
        ),
        (
            lambda env, future, stream: stream.union(future).map(same).sink(same).keyby(same).fill_future(future),
            "its keys are lost on the way to feedback 'again'",
        ),
        (
            lambda env, future, stream: (stream.sink(same), stream.map(same).fill_future(future)),
            "feedback 'again': its records go nowhere",
        ),
    ],
)
def test_what_is_no_loop(declare: Any, message: str) -> None:
    """Each is refused by name, with a word on what is wrong."""
    try:
        found = problems(declare)
    except GraphError as error:
        found = str(error)
    assert message in found


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "many"])
def test_limits_that_make_no_sense(value: Any) -> None:
    """They are whole numbers; a loop that keeps nothing on disk is fine."""
    assert "in_memory must be a whole number of records from 1" in problems(
        lambda env, future, stream: close(stream, future), in_memory=value
    )
    if value != 0:
        assert "on_disk must be a whole number of bytes from 0" in problems(
            lambda env, future, stream: close(stream, future), on_disk=value
        )


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_name_that_is_none(name: Any) -> None:
    """A loop is told by its name."""
    env = LocalEnvironment("loops")
    close(env.from_batch([1]), env.from_future(name))
    with pytest.raises(GraphError, match="its name must be text"):
        env.explain()


def test_the_future_of_another() -> None:
    """Of another environment, and what is no stream at all."""
    env, other = LocalEnvironment("loops"), LocalEnvironment("other")
    stream = env.from_batch([1])
    with pytest.raises(GraphError, match="fill_future takes streams of the same environment"):
        stream.fill_future(other.from_future("again"))
    with pytest.raises(GraphError, match="fill_future takes streams, not str"):
        stream.fill_future("again")  # type: ignore[arg-type]
    future = env.from_future("again")
    for wrong in (future.rebalance(), future.union(stream), future.side_output("x")):
        with pytest.raises(GraphError, match=r"fill_future takes what env\.from_future"):
            stream.fill_future(wrong)


def test_filling_after_submit() -> None:
    """What is declared then would be in no job."""
    env = LocalEnvironment("loops")
    future = env.from_future("again")
    body = close(env.from_batch([1]), future)
    env._job = SimpleNamespace(uuid="1")  # type: ignore[assignment]
    with pytest.raises(AlreadySubmittedError):
        body.fill_future(future)


def test_what_fills_may_be_a_union_and_a_side_output() -> None:
    """All of it goes back, by the outputs that it leaves by."""
    env = LocalEnvironment("loops")
    future = env.from_future("again")
    body = env.from_batch([1]).union(future).keyby(same).map(Telling, parallelism=2)
    body.union(body.side_output("more")).fill_future(future)
    body.sink(same)
    graph = env._builder.build()
    assert [(edge.tag, edge.exchange) for edge in graph.edges if edge.back] == [(None, "forward"), ("more", "forward")]
    back = [edge for edge in plan_of(env).edges if edge.back]
    assert [(edge.tag, edge.exchange) for edge in back] == [(None, "rebalance"), ("more", "rebalance")]


class Telling:
    def execute(self, value: Any) -> Any:
        return value


def test_a_backend_has_to_offer_it() -> None:
    """One that does not is told so by name."""
    from sage.core.backends.api import missing_capabilities

    env = LocalEnvironment("loops")
    close(env.from_batch([1]), env.from_future("again"))
    (problem,) = missing_capabilities(plan_of(env), "plain", frozenset())
    assert problem.message == "the backend 'plain' does not offer 'feedback', which this pipeline needs"
    assert CapabilityError([problem], missing=["feedback"]).missing == ["feedback"]
