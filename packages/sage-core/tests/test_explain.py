"""A pipeline explained: in words, as a drawing, and for programs."""

from __future__ import annotations

import json
import re
import string
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sage.core.api import BaseFunction, FlatMapFunction, LocalEnvironment, dead_letter, retry, skip
from sage.core.errors import GraphError
from sage.core.graph.model import LogicalGraph
from sage.core.graph.policy import DEAD_LETTERS
from sage.core.plan.explain import explain
from sage.core.plan.planner import make_plan

counted: dict[str, int] = {}


def count(word: str) -> int:
    counted[word] = counted.get(word, 0) + 1
    return counted[word]


COUNT_LINE = count.__code__.co_firstlineno + 1


class Split(FlatMapFunction):
    def execute(self, line: str) -> list[str]:
        return line.split()


class Same(BaseFunction):
    def execute(self, record: Any) -> Any:
        return record


def example() -> tuple[LocalEnvironment, int]:
    """A pipeline with a bit of everything, and the line on which its declarations begin."""
    line = sys._getframe().f_lineno
    env = LocalEnvironment("words")
    words = env.from_batch(["a b"], name="lines").flatmap(Split, name="words", on_error=retry(3, then=skip()))
    keyed = words.keyby(str.lower, name="word")
    keyed.reduce(max, name="count", parallelism=2, final=True).sink(print, uid="out")
    words.side_output("late").map(count, on_error=dead_letter()).dead_letters.print()
    env.register_service("db", dict)
    return env, line


def test_operators_and_tasks_are_listed() -> None:
    """What was declared and where, what runs together, how records travel between tasks, and what is not saved."""
    env, line = example()
    here = "test_explain.py"
    assert env.explain().splitlines() == [
        "pipeline 'words'",
        "",
        "operators",
        f"  collection:lines ×1  [{here}:{line + 2}]",  # noqa: RUF001
        f"  flatmap:words ×1     [{here}:{line + 2}]  ← collection:lines   on error: retry 3 ×, then skip",  # noqa: RUF001
        f"  keyby:word ×1        [{here}:{line + 3}]  ← flatmap:words",  # noqa: RUF001
        f"  reduce:count ×2      [{here}:{line + 4}]  ← keyby:word (hash)",  # noqa: RUF001
        f"  out ×1               [{here}:{line + 4}]  ← reduce:count",  # noqa: RUF001
        f"  map:count ×1         [{here}:{line + 5}]  ← flatmap:words (side output late)   on error: dead letter",  # noqa: RUF001
        f"  sink:print ×1        [{here}:{line + 5}]  ← map:count (dead letters)",  # noqa: RUF001
        "",
        "services",
        f"  db  [{here}:{line + 6}]",
        "",
        "tasks",
        "  stage 0 ×1: collection:lines → flatmap:words → keyby:word → map:count → sink:print",  # noqa: RUF001
        "  stage 1 ×2: reduce:count",  # noqa: RUF001
        "  stage 2 ×1: out",  # noqa: RUF001
        "  stage 0 ─hash→ stage 1   (keyby:word → reduce:count)",
        "  stage 1 ─rebalance→ stage 2   (reduce:count → out)",
        "",
        "changed outside of the functions: not saved with the job, and a copy in another process",
        f"  map:count  changes the global dict 'counted' ({here}:{COUNT_LINE})",
    ]


def test_explaining_runs_nothing_and_refuses_what_cannot_run() -> None:
    """Nothing is opened or read; the problems are those of `submit`."""

    def never() -> list[int]:
        raise AssertionError("it was read")

    env = LocalEnvironment(backend="there is none")
    env.from_batch(never).print()
    for form in ("text", "mermaid", "json"):
        assert "never" in env.explain(form)
    assert env.get_job_status()["status"] == "not_submitted"
    with pytest.raises(GraphError, match="empty"):
        LocalEnvironment().explain()


def test_an_unknown_format() -> None:
    """It is told which there are."""
    env, _ = example()
    with pytest.raises(ValueError, match="explain makes 'text', 'mermaid', 'json', not 'dot'"):
        env.explain("dot")  # type: ignore[arg-type]


def test_json_is_the_public_graph_with_its_plan() -> None:
    """The graph as packages carry it and the JobManager gives it, the stages, and what is not saved."""
    env, line = example()
    document = json.loads(env.explain("json"))
    graph, _ = env._builder.draft()
    plan = make_plan(graph)
    assert list(document) == ["format", "graph", "plan", "unsaved"]
    assert document["format"] == 1
    assert document["graph"] == graph.to_json()
    assert document["plan"] == plan.to_json()
    assert document["plan"]["stages"][0] == {"id": 0, "operators": [0, 1, 2, 5, 6], "parallelism": 1}
    assert document["plan"]["edges"][0] == {
        "id": 0,
        "source": 2,
        "target": 3,
        "source_stage": 0,
        "target_stage": 1,
        "input": 0,
        "exchange": "hash",
        "tag": None,
        "back": False,
        "timed": False,
    }
    assert document["unsaved"] == [
        {"operator": "map:count", "what": "changes the global dict 'counted'", "where": f"test_explain.py:{COUNT_LINE}"}
    ]
    assert document["graph"]["operators"][1]["location"] == f"test_explain.py:{line + 2}"


# Mermaid: as much of its grammar as is used, read strictly.

_TEXT = r'"(?P<text>(?:[\w :/.×]|#\d+;|<br/>)*)"'  # noqa: RUF001
_LINES = {
    "head": re.compile(r"flowchart LR"),
    "open": re.compile(rf"  subgraph (?P<id>stage\d+)\[{_TEXT}\]"),
    "node": re.compile(rf"    (?P<id>op\d+)(?P<left>\(\[|\[\[|\[){_TEXT}(?P<right>\]\)|\]\]|\])"),
    "close": re.compile(r"  end"),
    "edge": re.compile(rf"  (?P<source>op\d+) -->(?:\|{_TEXT}\|)? (?P<target>op\d+)"),
}


def parse(drawing: str) -> tuple[dict[str, list[str]], dict[str, str], list[tuple[str, str, str]]]:
    """The nodes of each stage, the texts of all nodes, and the edges; fails on anything else."""
    stages: dict[str, list[str]] = {}
    nodes: dict[str, str] = {}
    edges = []
    expected = {"head"}
    for line in drawing.split("\n"):
        kind, found = next((kind, match) for kind, each in _LINES.items() if (match := each.fullmatch(line)))
        assert kind in expected, line
        text = re.sub(r"#(\d+);", lambda code: chr(int(code[1])), found.groupdict().get("text") or "")
        if kind == "open":
            assert found["id"] not in stages
            stages[found["id"]] = []
        elif kind == "node":
            assert found["id"] not in nodes
            assert (found["left"], found["right"]) in {("([", "])"), ("[[", "]]"), ("[", "]")}
            nodes[found["id"]] = text
            stages[list(stages)[-1]].append(found["id"])
        elif kind == "edge":
            assert {found["source"], found["target"]} <= set(nodes)
            edges.append((found["source"], text, found["target"]))
        expected = {
            "head": {"open"},
            "open": {"node"},
            "node": {"node", "close"},
            "close": {"open", "edge"},
            "edge": {"edge"},
        }[kind]
    return stages, nodes, edges


def test_mermaid_draws_stages_around_operators() -> None:
    """Each stage with its operators and their lines, and edges with the way records take."""
    env, line = example()
    stages, nodes, edges = parse(env.explain("mermaid"))
    assert stages == {"stage0": ["op0", "op1", "op2", "op5", "op6"], "stage1": ["op3"], "stage2": ["op4"]}
    assert nodes["op1"] == f"flatmap:words<br/>test_explain.py:{line + 2}"
    assert edges == [
        ("op0", "", "op1"),
        ("op1", "", "op2"),
        ("op2", "hash", "op3"),
        ("op3", "rebalance", "op4"),
        ("op1", "side output late", "op5"),
        ("op5", "dead letters", "op6"),
    ]


HOSTILE = st.one_of(
    st.sampled_from(
        ["end", 'x"]; op9', "%%{init: {}}%%", "1. x", "- x", "`md`", "#35;", "a\nb", "<br>", "//", "\ud800"]
    ),
    st.text(st.one_of(st.characters(), st.sampled_from(string.punctuation + "\n")), min_size=1, max_size=20),
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(HOSTILE, min_size=1, max_size=5, unique=True), HOSTILE.filter(lambda tag: tag != DEAD_LETTERS))
def test_names_of_any_kind_are_told(names: list[str], tag: str) -> None:
    """No text of a user's is taken for syntax, in any format."""
    env = LocalEnvironment()
    stream: Any = env.from_batch([1], uid=f"{names[0]}!")
    for name in names:
        stream = stream.map(Same, uid=name)
    stream.side_output(tag).print(uid=f"{names[0]}?")
    _, nodes, edges = parse(env.explain("mermaid"))
    assert [text.rpartition("<br/>")[0] for text in nodes.values()][1:-1] == names
    assert edges[-1][1] == f"side output {tag if tag.isprintable() else repr(tag)[1:-1]}"
    document = json.loads(env.explain("json"))
    assert [operator["uid"] for operator in document["graph"]["operators"]][1:-1] == names
    assert len(env.explain().split("\n")) == 8 + len(names)
    env.explain().encode()


def test_explaining_a_graph_of_another_origin() -> None:
    """A graph is enough: no environment is needed."""
    env, _ = example()
    graph: LogicalGraph = env._builder.build()
    assert explain(make_plan(graph)) == env.explain()


def test_streams_say_what_they_are() -> None:
    """The operator they come from with its parallelism and line, and the way records take from there."""
    env = LocalEnvironment()
    numbers = env.from_batch([1], name="numbers")
    line = sys._getframe().f_lineno
    doubled = numbers.map(abs, parallelism=2)
    named = numbers.map(abs, uid="mine")
    assert repr(numbers) == f"<DataStream of collection:numbers [test_explain.py:{line - 1}]>"
    assert repr(doubled) == f"<DataStream of map:abs ×2 [test_explain.py:{line + 1}]>"  # noqa: RUF001
    assert repr(named) == f"<DataStream of map mine [test_explain.py:{line + 2}]>"
    assert repr(doubled.broadcast()).endswith(f":{line + 1}], broadcast>")
    assert repr(doubled.keyby(abs)).startswith("<DataStream of keyby:abs ×2 [")  # noqa: RUF001
    assert repr(doubled.side_output("late")).endswith(f":{line + 1}], side output 'late'>")
    assert repr(doubled.union(named)) == f"{repr(doubled)[:-1]} and {repr(named)[15:]}"
    assert repr(numbers.map(3)).startswith("<DataStream of map:int [")  # type: ignore[call-overload]
