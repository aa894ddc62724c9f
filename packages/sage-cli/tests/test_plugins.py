"""`sage plugins`: what is installed, one plugin, and what is wrong with any; and how to do without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

OWN = "[sage-plugins-example]"  # it may be installed here, and is not what these tests are about
CHECK = """
from sage.core.plugins import hookimpl

print("imported")

@hookimpl
def sage_graph_check(graph):
    return []
"""
BAD = {
    "lacks": ("import what_is_not_there", "importing it raised ModuleNotFoundError: No module named"),
    "exits": ("raise SystemExit(4)", "importing it raised SystemExit: 4"),
    "dies": ("import os; os._exit(3)", "the process that loaded it ended with status 3 before it was through"),
    "crashes": (
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "the process that loaded it was ended by SIGKILL before it was through",
    ),
    "new": ("sage_api = 9", "it was written for version 9 of the plugin hooks, this SAGE offers 1"),
    "old": ("sage_api = 0", "it was written for version 0 of the plugin hooks, this SAGE needs 1"),
    "typo": (CHECK.replace("_check", "_chekc"), "there is no hook sage_graph_chekc; did you mean sage_graph_check?"),
    "argument": (CHECK.replace("(graph)", "(graf)"), "graf"),
    "none": ("x = 1", "marked with @hookimpl"),
    "wraps": (CHECK.replace("@hookimpl", "@hookimpl(wrapper=True)").replace("return", "yield"), "is a hook wrapper"),
}


@pytest.fixture(autouse=True)
def without_our_example(sage: Any) -> None:
    sage.env["SAGE_PLUGINS__DISABLE"] = OWN


def reports(result: Any) -> dict[str, Any]:
    assert result.json["kind"] == "PluginReportList"
    return {f"{item['group']}: {item['name']}": item for item in result.json["data"]["items"]}


def test_the_doctor_finds_nothing_wrong_where_all_is_well(sage: Any, plugin: Any) -> None:
    """Exit code 0, and stdout has the document alone, whatever plugins print."""
    plugin("acme-check", CHECK, {"acme": "acme_check"}, group="sage.plugins")
    result = sage("plugins", "doctor", "--json")
    assert (result.code, result.err) == (0, "")
    found = reports(result)
    assert all(item["problems"] == [] for item in found.values())
    acme = found["sage.plugins: acme"]
    assert (acme["hooks"], acme["printed"], acme["distribution"]) == (["sage_graph_check"], "imported", "acme-check")
    assert found["sage.backends: local"]["hooks"] == ["sage_backend"]
    assert found["sage.commands: jobmanager"]["hooks"] == ["sage_command"]
    assert sage("plugins", "doctor").out.endswith("plugins looked at, 0 with problems\n")


def test_the_doctor_tells_what_is_wrong_with_each(sage: Any, plugin: Any) -> None:
    """However a plugin misbehaves, it is told beside the others; exit code 10."""
    for name, (source, _) in BAD.items():
        plugin(f"acme-{name}", source, {name: f"acme_{name}"}, group="sage.plugins")
    result = sage("plugins", "doctor", "--json")
    assert result.code == 10
    found = reports(result)
    for name, (_, said) in BAD.items():
        (problem,) = found[f"sage.plugins: {name}"]["problems"]
        assert said in problem, name
    assert found["sage.backends: local"]["problems"] == []


def test_the_doctor_gives_up_what_hangs(sage: Any, plugin: Any) -> None:
    """After the time it was given; nothing of the child is left."""
    plugin("acme-hangs", "import threading\nthreading.Event().wait()", {"hangs": "acme_hangs"}, group="sage.plugins")
    result = sage("plugins", "show", "hangs", "--timeout", "0.5")
    assert result.code == 0
    assert "loading it took more than 0.5 s, and was given up" in result.out


@pytest.mark.parametrize(
    ("group", "name", "source", "said"),
    [
        ("sage.commands", "acme", "return 5", "sage_command returned int, not a typer.Typer with a command"),
        ("sage.backends", "acme", "return 5", "sage_backend returned a int, which is no Backend"),
        ("sage.connectors", "acme", "return 5", "which has neither source(…) nor sink(…)"),
        ("sage.backends", "acme", "return None", "sage_backend returned None"),
        ("sage.backends", "acme", "raise KeyError('x')", "sage_backend raised KeyError: 'x'"),
        ("sage.backends", "local", "return 5", "hidden: a built-in backend has this name"),
        ("sage.commands", "job.list", "return 5", "hidden: a built-in command has this name"),
        ("sage.commands", "jobs.export", "return 5", "out of reach: there is no group of commands 'jobs'"),
        ("sage.backend", "acme", "return 5", "there is no group sage.backend; those there are: sage.backends"),
    ],
)
def test_the_doctor_asks_a_plugin_for_what_it_is_there_for(
    sage: Any, plugin: Any, group: str, name: str, source: str, said: str
) -> None:
    """What a hook returns is looked at, and so are names that are taken and groups that are none."""
    hook = group.removesuffix("s").replace(".", "_")
    code = f"from sage.core.plugins import hookimpl\n@hookimpl\ndef {hook}(name):\n    {source}\n"
    plugin("acme-odd", code, {name: "acme_odd"}, group=group)
    result = sage("plugins", "doctor", "--json")
    assert result.code == 10
    items = [item for item in result.json["data"]["items"] if item["distribution"] == "acme-odd"]
    assert said in "\n".join(items[0]["problems"])


def test_one_plugin_is_shown_with_its_hooks_help_and_file(sage: Any, plugin: Any) -> None:
    """By its name or by the distribution's."""
    source = (
        "import typer\nfrom sage.core.plugins import hookimpl\napp = typer.Typer()\n\n\n@app.command()\n"
        "def greet(): ...\n\n\n@hookimpl\ndef sage_command(name):\n    return app\n"
    )
    plugin("acme-greet", source, {"greet": "acme_greet"}, {"greet": "Greets people."})
    by_name = sage("plugins", "show", "greet")
    assert by_name.code == 0
    for line in (
        "sage.commands: greet:",
        "  distribution:  acme-greet 1.2",
        "  entry point:   greet = acme_greet",
        "  help:          Greets people.",
        "  hooks:         sage_command",
    ):
        assert f"{line}\n" in by_name.out
    assert f"{Path('site', 'acme_greet', '__init__.py')}\n" in by_name.out
    assert sage("plugins", "show", "Acme_Greet", "--json").json["data"]["items"][0]["name"] == "greet"


def test_what_is_not_installed_cannot_be_shown(sage: Any) -> None:
    """Exit code 3, with what was meant."""
    result = sage("plugins", "show", "locla")
    assert (result.code, result.out) == (3, "")
    assert result.err == "error: there is no plugin 'locla'\n  hint: did you mean 'local'?\n"


def test_no_plugins_leaves_strangers_alone(sage: Any, plugin: Any) -> None:
    """Commands are not there, hooks of what is run are not called, SAGE's own commands are there."""
    check = CHECK.replace("return []", "from sage.core.plugins import Problem\n    return [Problem('never')]")
    plugin("acme-veto", check, {"veto": "acme_veto"}, group="sage.plugins")
    plugin("acme-greet", CHECK, {"greet": "acme_greet"})
    script = sage.folder / "pipeline.py"
    script.write_text(
        "from sage.core.api import LocalEnvironment\nenv = LocalEnvironment()\n"
        "env.from_batch([1]).sink(print)\nenv.submit(autostop=True)\n"
    )
    refused = sage("run", script)
    assert refused.code == 1
    assert "never (so says the plugin 'veto' of acme-veto 1.2)" in refused.err
    result = sage("--no-plugins", "run", script)
    assert (result.out, result.err, result.code) == ("1\n", "", 0)
    assert sage("--no-plugins", "greet").code == 2
    assert "  jobmanager  " in sage("--no-plugins", "--help").out
    rows = sage("--no-plugins", "plugins", "list").out.splitlines()
    assert next(row for row in rows if "acme-veto" in row).endswith("disabled by --no-plugins")


def test_what_a_command_prints_when_imported_leaves_json_clean(sage: Any, plugin: Any) -> None:
    """Its stdout goes to stderr until the command itself runs."""
    source = (
        "import os, typer\nfrom sage.core.plugins import command_context, hookimpl\n"
        "print('noise')\nos.system('echo child')\napp = typer.Typer()\n"
        "\n\n@app.command()\ndef greet():\n    command_context().emit({'text': 'hello'})\n\n\n"
        "@hookimpl\ndef sage_command(name):\n    print('more noise')\n    return app\n"
    )
    plugin("acme-loud", source, {"greet": "acme_loud"})
    result = sage("greet", "--json")
    assert result.json["data"] == {"text": "hello"}
    assert sorted(result.err.splitlines()) == ["child", "more noise", "noise"]


def test_a_trace_tells_what_the_command_loads(sage: Any, plugin: Any) -> None:
    """On stderr, with times; a built-in command loads nothing."""
    plugin("acme-check", CHECK, {"greet": "acme_check"})
    trace = {"SAGE_TRACE_PLUGINS": "1"}
    assert sage("version", env=trace).err == ""
    result = sage("greet", env=trace)
    assert "sage plugins: read what is installed in " in result.err
    assert "sage plugins: loaded sage.commands: greet = acme_check of acme-check 1.2 in " in result.err
