"""What makes a graph one that can run: all problems at once, each with the user's own line."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from sage.core.api import (
    BatchFunction,
    DataStream,
    FilterFunction,
    LocalEnvironment,
    MapFunction,
    SourceFunction,
    Tumbling,
)
from sage.core.errors import GraphError, Problem
from sage.core.graph.model import LogicalGraph


def same(value: Any) -> Any:
    return value


def here() -> str:
    return f"test_graph_validation.py:{sys._getframe(1).f_lineno}"


def problems(env: LocalEnvironment) -> list[Problem]:
    """What `submit` refuses; nothing has been submitted then."""
    with pytest.raises(GraphError) as caught:
        env.submit()
    assert env.get_job_status()["status"] == "not_submitted"
    return list(caught.value.problems)


def problem(env: LocalEnvironment) -> Problem:
    found = problems(env)
    assert len(found) == 1, found
    return found[0]


def test_an_empty_pipeline() -> None:
    """Nothing declared is a problem of its own."""
    assert "empty" in problem(LocalEnvironment()).message


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 201, "\ud800", None, 5], ids=ascii)
def test_a_name_that_no_job_may_have(name: Any) -> None:
    """What runs here runs under a JobManager too, and so the same names are refused before anything runs."""
    env = LocalEnvironment(name)
    env.from_batch([1]).sink(same)
    assert problem(env).message.startswith("the environment's name must be 1 to 200 printable characters, not ")


def test_names_of_any_language() -> None:
    """Blanks, umlauts and emoji are printable."""
    for name in ("mit leer zeichen", "Übergröße 日本", "🐍 job 🚀", "a/b", "x" * 200):
        env = LocalEnvironment(name, backend="inline")
        env.from_batch([1]).sink(same)
        assert env.submit().status()["name"] == name


def test_a_pipeline_without_a_sink() -> None:
    """Both the missing sink and the stream that goes nowhere are told, the latter with its line."""
    env = LocalEnvironment()
    _, line = env.from_batch([1]).map(same), here()
    nowhere, no_sink = problems(env)
    assert nowhere.where == line
    assert nowhere.operator == "map:same"
    assert "go nowhere" in nowhere.message
    assert "no sink" in no_sink.message


def test_an_unconnected_stream_beside_a_good_one() -> None:
    """A stream that nobody uses is refused although others are complete."""
    env = LocalEnvironment()
    env.from_batch([1]).sink(same)
    _, line = env.from_batch([2], name="lost"), here()
    found = problem(env)
    assert (found.where, found.operator) == (line, "collection:lost")


@pytest.mark.parametrize("number", [0, -1, 129, 10**30, 1.0, float("nan"), "2", None, True])
def test_parallelism_is_a_whole_number_within_bounds(number: Any) -> None:
    """Anything else is named as given."""
    env = LocalEnvironment()
    env.from_batch([1]).map(same, parallelism=number).sink(same)
    assert problem(env).message == f"map 'same': parallelism must be a whole number from 1 to 128, not {number!r}"


def test_a_wrong_parallelism_harms_no_other_declaration() -> None:
    """What is no number does not break the declaration of what follows it."""
    env = LocalEnvironment()
    one = env.from_batch([1]).map(same, parallelism="2")  # type: ignore[call-overload]
    one.union(env.from_batch([1]).map(same, parallelism=2)).keyby(same).reduce(max).sink(same)
    assert "not '2'" in problem(env).message


def test_sources_are_one_subtask() -> None:
    """A higher parallelism is refused, never run twice."""
    env = LocalEnvironment()
    env.from_batch([1], parallelism=2).sink(same)
    env.from_batch(Three, parallelism=2).sink(same)
    env.from_source(Ever, parallelism=2).sink(same)
    env.from_collection([1], parallelism=2).sink(same)
    found = problems(env)
    assert len(found) == 4
    assert all("a source without partitions() runs as one subtask, not 2" in item.message for item in found)


class Three(BatchFunction):
    def execute(self) -> Any:
        return None


class Ever(SourceFunction):
    def execute(self) -> Any:
        return None


def test_reduce_in_parallel_needs_keys() -> None:
    """Without them it would give several answers."""
    env = LocalEnvironment()
    env.from_batch([1]).reduce(max, parallelism=2).sink(same)
    assert "reduce without keyby runs as one subtask" in problem(env).message


def test_keys_that_are_lost_before_anything_uses_them_are_refused() -> None:
    """A reduce behind them would fold across all keys, without a word."""
    env = LocalEnvironment()
    keyed = env.from_batch([1]).keyby(same, name="k")
    keyed.rebalance().map(same, name="dealt", parallelism=2).sink(same)
    keyed.broadcast().reduce(max, name="all").sink(same)
    keyed.union(env.from_batch([2])).reduce(max, name="mixed").sink(same)
    keyed.union(keyed).reduce(max, name="kept", parallelism=2).sink(same)
    found = [item.message for item in problems(env)]
    assert len(found) == 3
    for message, target in zip(found, ("map 'dealt'", "reduce 'all'", "reduce 'mixed'"), strict=True):
        assert message.startswith(f"keyby 'k': its keys are lost on the way to {target}")


def test_keys_that_are_replaced_before_anything_uses_them_are_refused() -> None:
    """A second keyby that cannot see the first one's key makes it useless; one with a context can."""
    env = LocalEnvironment()
    env.from_batch([1]).keyby(same, name="one").keyby(same, name="two").reduce(max).sink(same)
    message = "keyby 'one': its keys are replaced by those of keyby 'two' before anything has used them"
    assert problem(env).message == message


def test_side_outputs_that_nothing_can_come_by_are_refused() -> None:
    """Dead letters of an operator that sends none, and what a plain callable would have to put out."""
    env = LocalEnvironment()
    stream = env.from_batch([1]).map(same, name="mapped")
    stream.dead_letters.sink(same)
    stream.map(same, name="other").side_output("late").sink(same)
    stream.sink(same)
    assert [item.message for item in problems(env)] == [
        "map 'mapped': its dead_letters are taken, and its on_error sends none to a stream",
        "map 'other': its side output 'late' is taken, and a plain callable has none",
    ]


def test_uids_are_unique_and_text() -> None:
    """A uid given twice names the other's line; one that is no text is refused."""
    env = LocalEnvironment()
    stream, line = env.from_batch([1], uid="source"), here()
    stream.sink(same, uid="source")
    found = problem(env)
    assert found.message == f"sink 'same': the uid 'source' is taken by the operator at {line}"
    env = LocalEnvironment()
    env.from_batch([1], uid="").map(same, uid=["x"]).sink(same, uid=3, name=4)  # type: ignore[call-overload]
    assert [item.message.partition(": ")[2] for item in problems(env)] == [
        "its uid must be text that is not empty, not ''",
        "its uid must be text that is not empty, not ['x']",
        "its uid must be text that is not empty, not 3",
        "its name must be text that is not empty, not 4",
    ]


def test_a_uid_that_looks_like_an_automatic_one_is_found_out() -> None:
    """A clash of a given uid with an automatic one is a clash like any other."""
    env = LocalEnvironment()
    env.from_batch([1]).map(same, uid="map:same#2").map(same).map(same).sink(same)
    assert "'map:same#2' is taken" in problem(env).message


def test_automatic_uids_do_not_depend_on_neighbours() -> None:
    """Kind and name, numbered in order of declaration among their like only."""

    def uids(*, more: bool) -> list[str]:
        env = LocalEnvironment()
        stream: DataStream[Any] = env.from_batch([1])
        if more:
            stream = stream.filter(same)
        stream = stream.map(same).map(str)
        if more:
            stream = stream.map(len)
        stream.map(same).map(same, name="other").map(same, uid="own").sink(same)
        return [operator.uid for operator in env._builder.build().operators]

    expected = ["collection:list", "map:same", "map:str", "map:same#2", "map:other", "own", "sink:same"]
    assert uids(more=False) == expected
    assert [uid for uid in uids(more=True) if uid in expected] == expected


def test_all_problems_come_at_once_with_their_lines() -> None:
    """Wrong functions, wrong numbers and loose ends in one error, none hiding another."""
    env = LocalEnvironment()
    _, first = env.from_batch([1]).filter(Doubles), here()
    _, second = env.from_batch("text").map(same, parallelism=500).sink(print), here()
    _, third = env.from_batch([1]).map(Doubles, 1, 2, 3).map(42).sink(same, uid="x"), here()  # type: ignore[call-overload]
    _, fourth = env.from_batch([1]).sink(lambda: None, uid="x"), here()  # type: ignore[misc,arg-type]
    found = problems(env)
    assert [(item.where, item.operator) for item in found if item.where == first] == [
        (first, "filter:Doubles"),
        (first, "filter:Doubles"),
    ]
    assert sorted(item.where or "" for item in found) == sorted(
        [first, first, second, second, third, third, fourth, fourth]
    )


def test_the_likeliest_cause_comes_first() -> None:
    """That a stream is not used is told after what is wrong with its operator."""
    env = LocalEnvironment("causes")
    env.from_batch([1]).map_batches(same, max_size=0).window(Tumbling(5)).reduce(max)
    found = [item.message.partition(": ")[2] for item in problems(env)]
    assert [message[:30] for message in found[:3]] == [
        "max_size must be a whole numbe",
        "Tumbling(5) is in event time, ",
        "its records go nowhere: no ope",
    ]


class Doubles(MapFunction):
    def __init__(self, factor: int = 2) -> None:
        self.factor = factor

    def execute(self, value: Any) -> Any:
        return value * self.factor


class Keeps(FilterFunction):
    def execute(self, value: Any) -> bool:
        return True


def test_locations_are_the_users_own_through_helpers() -> None:
    """The innermost frame that is not SAGE's: the line of a helper that declares operators for others."""
    env = LocalEnvironment()

    def helper() -> str:
        env.from_batch([1]).map(same).sink(same)
        return here()

    line = helper()
    graph = env._builder.build()
    assert {str(operator.location).partition(":")[0] for operator in graph.operators} == {"test_graph_validation.py"}
    assert all(operator.location.line == int(line.partition(":")[2]) - 1 for operator in graph.operators)
    assert (
        graph.operators[0].location.function
        == f"{test_locations_are_the_users_own_through_helpers.__name__}.<locals>.helper"
    )


def test_the_public_graph_is_json_without_code_or_records() -> None:
    """What the JobManager may see: names and shape."""
    env = LocalEnvironment("shop")
    env.from_batch(["secret"]).map(Doubles, 7777).keyby(same).reduce(max, final=True, parallelism=3).print()
    graph = env._builder.build()
    text = json.dumps(graph.to_json())
    assert "secret" not in text
    assert "7777" not in text
    data = json.loads(text)
    assert data["name"] == "shop"
    assert [item["uid"] for item in data["operators"]] == [item.uid for item in graph.operators]
    assert data["operators"][3]["options"] == {"final": True}
    assert data["edges"][3] == {"source": 3, "target": 4, "input": 0, "exchange": "forward", "tag": None, "back": False}
    assert data["edges"][2]["exchange"] == "hash"


def test_a_graph_is_frozen_and_built_anew_each_time() -> None:
    """What was built does not change with what is declared later."""
    env = LocalEnvironment()
    stream = env.from_batch([1]).sink(same)
    before: LogicalGraph = env._builder.build()
    stream.sink(same)
    assert len(before.operators) == 2
    assert len(env._builder.build().operators) == 3
    with pytest.raises(AttributeError):
        before.name = "x"  # type: ignore[misc]
