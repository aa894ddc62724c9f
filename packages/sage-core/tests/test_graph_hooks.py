"""Plugins that judge and change pipelines when they are submitted."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from conftest import Install

from sage.core.api import LocalEnvironment, RemoteEnvironment
from sage.core.errors import GraphError, PluginError
from sage.core.plugins import graph_hooks

CHECK = """
    from sage.core.plugins import Problem, hookimpl

    seen = []

    @hookimpl
    def sage_graph_check(graph, target):
        seen.append((graph.name, target))
        return PROBLEMS
"""
REWRITE = """
    from dataclasses import replace

    from sage.core.plugins import hookimpl

    @hookimpl
    def sage_graph_rewrite(graph, target):
        return RESULT
"""


def run() -> list[int]:
    env = LocalEnvironment("judged", backend="inline")
    found: list[int] = env.from_batch([1, 2, 3]).map(lambda value: value * 2, name="double").collect()
    env.submit()
    return found


def plugin(install: Install, module: str, code: str, *, of: str | None = None) -> None:
    install(of or f"sage-t-{module.replace('_', '-')}", module, code, group="sage.plugins")


def test_a_plugin_is_asked_with_graph_and_target(install: Install) -> None:
    """What it has nothing against runs; it saw the job's name and where it was to run."""
    plugin(install, "g_sees", CHECK.replace("PROBLEMS", "[]"))
    assert run() == [2, 4, 6]
    import g_sees  # type: ignore[import-not-found]

    from sage.core.plugins import Target

    assert g_sees.seen == [("judged", Target("local", "inline"))]


def test_an_error_refuses_the_pipeline_and_names_the_plugin(install: Install) -> None:
    """All errors of all plugins are told at once; the line and the operator are the plugin's to say."""
    plugin(install, "g_veto", CHECK.replace("PROBLEMS", "[graph.operators[1].problem('no doubling', 'halve')]"))
    plugin(install, "g_veto_too", CHECK.replace("PROBLEMS", "[Problem('not on a Sunday')]"))
    with pytest.raises(GraphError) as caught:
        run()
    first, second = caught.value.problems
    assert first.message == "map 'double': no doubling (so says the plugin 'g_veto' of sage-t-g-veto 1.2)"
    assert (first.hint, first.where is not None) == ("halve", True)
    assert "not on a Sunday (so says the plugin 'g_veto_too'" in second.message


def test_a_warning_is_shown_and_no_more(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    """The level says whether the pipeline may run."""
    plugin(install, "g_warns", CHECK.replace("PROBLEMS", "[Problem('costs money', level='warning')]"))
    assert run() == [2, 4, 6]
    assert "costs money (so says the plugin 'g_warns'" in caplog.text


def test_the_jobmanagers_jobs_are_judged_before_anything_is_sent(install: Install) -> None:
    """A refused pipeline never reaches the network."""
    plugin(install, "g_remote", CHECK.replace("PROBLEMS", "[Problem(str(target))]"))
    env = RemoteEnvironment("far", port=1, backend="local")
    env.from_batch([1]).sink(print)
    with pytest.raises(GraphError, match=r"Target\(where='jobmanager', backend='local'\)"):
        env.submit()


def test_a_pipeline_that_is_handed_over_is_judged(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sage job submit` takes the graph of a script, which is judged in the script's own process."""
    plugin(install, "g_capture", CHECK.replace("PROBLEMS", "[Problem(target.where)]"))
    monkeypatch.setenv("SAGE_CAPTURE", str(tmp_path))
    env = LocalEnvironment("captured")
    env.from_batch([1]).sink(print)
    with pytest.raises(GraphError, match="jobmanager"):
        env.submit()


def test_a_plugin_changes_the_graph(install: Install) -> None:
    """What it returns is what runs, and what the next plugin and the checks see."""
    double = "replace(graph, operators=tuple(replace(item, name=item.name + '!') for item in graph.operators))"
    plugin(install, "g_marks", REWRITE.replace("RESULT", double))
    plugin(install, "g_marks_too", REWRITE.replace("RESULT", double))
    plugin(install, "g_names", CHECK.replace("PROBLEMS", "[Problem(graph.operators[1].name)]"))
    with pytest.raises(GraphError, match="double!!"):
        run()


def test_none_leaves_the_graph_as_it_is(install: Install) -> None:
    """A plugin that has nothing to change says so."""
    plugin(install, "g_leaves", REWRITE.replace("RESULT", "None"))
    assert run() == [2, 4, 6]


def test_the_order_is_that_of_names_unless_a_plugin_says_otherwise(install: Install) -> None:
    """`tryfirst` and `trylast` of pluggy count."""
    for name, mark in (("g_b", "@hookimpl(trylast=True)"), ("g_c", "@hookimpl"), ("g_d", "@hookimpl(tryfirst=True)")):
        plugin(
            install,
            name,
            REWRITE.replace("@hookimpl", mark).replace("RESULT", f"replace(graph, name=graph.name + '{name}')"),
        )
    plugin(install, "g_e", CHECK.replace("PROBLEMS", "[Problem(graph.name)]"))
    with pytest.raises(GraphError, match="judgedg_dg_cg_b"):
        run()


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("'nonsense'", "sage_graph_rewrite returned a str, not a LogicalGraph or None"),
        ("replace(graph, operators=graph.operators[:2], edges=graph.edges[:1])", "its records go nowhere"),
        ("replace(graph, operators=graph.operators[:2])", "there is an edge from 1 to 2, and 2 operators"),
        ("replace(graph, operators=graph.operators[::-1])", "its id is 2, and its position 0"),
        ("replace(graph, edges=graph.edges[1:])", "it has no input"),
        ("replace(graph, operators=(1, 2))", "a graph that cannot be read"),
        ("replace(graph, name='')", "the environment's name"),
        ("graph.operators[1].options.update(max_ahead=1) or vars(graph).update(name='')", "the environment's name"),
        ("1 / 0", "sage_graph_rewrite raised ZeroDivisionError"),
    ],
)
def test_a_graph_that_cannot_run_is_the_plugins_error(install: Install, result: str, said: str) -> None:
    """Nothing runs, and the error names distribution, entry point and what is wrong."""
    module = "g_wrong"
    plugin(install, module, REWRITE.replace("RESULT", result), of="sage-t-wrong")
    with pytest.raises(PluginError, match=r"of sage-t-wrong .* is broken") as caught:
        run()
    assert said in str(caught.value)
    assert caught.value.plugin == f"sage.plugins: {module}"


@pytest.mark.parametrize("result", ["None", "'no'", "['no']", "Problem('no')"])
def test_a_check_that_returns_nonsense_refuses(install: Install, result: str) -> None:
    """A forgotten return must not let everything pass."""
    plugin(install, "g_nonsense", CHECK.replace("PROBLEMS", result))
    with pytest.raises(PluginError, match="not a list of Problem"):
        run()


def test_a_check_that_blocks_is_given_up(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs the time that a hook may take, and the error says who took it."""
    code = CHECK.replace("seen = []", "import threading\n    seen, release = [], threading.Event()")
    plugin(install, "g_blocks", code.replace("PROBLEMS", "release.wait(60) and []"))
    monkeypatch.setattr(graph_hooks, "LIMIT", 0.05)
    with pytest.raises(PluginError, match=r"'g_blocks' .* sage_graph_check has not returned within 0.05 s"):
        run()
    import g_blocks  # type: ignore[import-not-found]

    g_blocks.release.set()


def test_a_plugin_that_cannot_be_loaded_costs_one_warning(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    """It names distribution and entry point; the pipeline runs, and the others are asked."""
    plugin(install, "g_broken", "import nothing_of_that_name")
    plugin(install, "g_exits", "raise SystemExit('bye')")
    plugin(install, "g_new", "sage_api = 7")
    plugin(install, "g_odd", CHECK.replace("sage_graph_check", "sage_graph_chekc"))
    plugin(install, "g_fine", CHECK.replace("PROBLEMS", "[]"))
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        assert run() == [2, 4, 6]
    said = [record.getMessage() for record in caplog.records if record.name == "sage.plugins"]
    assert len(said) == 4
    for message, name, what in zip(
        said,
        ("broken", "exits", "new", "odd"),
        ("No module named", "SystemExit: bye", "version 7 of the plugin hooks", "did you mean sage_graph_check?"),
        strict=True,
    ):
        assert f"'g_{name}' of sage-t-g-{name} 1.2" in message
        assert f"entry point: g_{name} = g_{name} [sage.plugins]" in message
        assert what in message
    import g_fine  # type: ignore[import-not-found]

    assert len(g_fine.seen) == 2


def test_two_claims_to_one_name_are_both_left_out(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    """One warning names both distributions."""
    plugin(install, "g_twice", CHECK.replace("PROBLEMS", "[Problem('one')]"), of="sage-t-one")
    plugin(install, "g_twice", CHECK.replace("PROBLEMS", "[Problem('two')]"), of="sage-t-two")
    assert run() == [2, 4, 6]
    assert "sage-t-one 1.2" in caplog.text
    assert "sage-t-two 1.2" in caplog.text


@pytest.mark.parametrize("variable", ["SAGE_PLUGINS__DISABLE", "SAGE_NO_PLUGINS"])
def test_a_disabled_plugin_is_not_asked(install: Install, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Neither by name, nor where no stranger's plugin is to be used."""
    plugin(install, "g_off", CHECK.replace("PROBLEMS", "[Problem('no')]"))
    monkeypatch.setenv(variable, "[g_off]")
    assert run() == [2, 4, 6]
