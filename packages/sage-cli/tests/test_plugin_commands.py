"""Commands of other distributions: listed unseen, loaded when chosen, named when broken."""

from __future__ import annotations

from typing import Any

import pytest

HELLO = """
import sys
from dataclasses import dataclass

import typer

from sage.core.plugins import command_context, hookimpl

print("imported", file=sys.stderr)
app = typer.Typer(help="Greets.")


@dataclass(frozen=True)
class Greeting:
    text: str
    port: int


@hookimpl
def sage_command(name):
    return app


@app.command()
def hello(name: str, output: str = "mine"):
    context = command_context()
    context.note(f"to {name}")
    context.emit(Greeting(f"hello {name}", context.config.daemon.port))


@app.command()
def ask(default: str = ""):
    context = command_context()
    context.emit(context.ask("who?", default or None))


@app.command()
def sure():
    command_context().confirm("Really?")


@app.command()
def fail(code: str):
    command_context().fail(code, "it failed", "try again")


@app.command()
def crash():
    raise KeyError("oops")


@app.command()
def follow():
    command_context().follow(Greeting(str(n), n) for n in range(2))


@app.command()
def jobs():
    context = command_context()
    context.emit(context.client().job("3"))
"""


def test_a_plugin_is_listed_without_being_imported(sage: Any, plugin: Any) -> None:
    """Its help comes from its file of helps, else from its Summary; help and completion import nothing of it."""
    plugin("acme-hello", HELLO, {"greet": "acme_hello", "wave": "acme_hello"}, {"greet": "Greets people."})
    result = sage("--help")
    assert "  greet       Greets people.\n" in result.out
    assert "  wave        What acme-hello does.\n" in result.out
    assert result.err == ""


def test_a_plugin_command_runs_like_any_other(sage: Any, plugin: Any) -> None:
    """It is imported when chosen, speaks through the context, and takes --json; options of its own go before ours."""
    plugin("acme-hello", HELLO, {"greet": "acme_hello"})
    result = sage("greet", "hello", "ada")
    assert (result.out, result.err, result.code) == ("text:  hello ada\nport:  19001\n", "imported\nto ada\n", 0)
    document = sage("greet", "hello", "ada", "--json", "--output", "x").json
    assert document == {"sage": 1, "kind": "Greeting", "data": {"text": "hello ada", "port": 19001}}
    shown = sage("greet", "--help")
    assert "Greets." in shown.out and "--install-completion" not in shown.out
    own = sage("greet", "hello", "--help").out
    assert "<table|json|yaml>" not in own and "--json" in own
    assert sage("greet", "follow", "--json").lines == [
        {"sage": 1, "kind": "Greeting", "data": {"text": str(n), "port": n}} for n in range(2)
    ]


def test_what_a_plugin_can_do_without_a_terminal(sage: Any, plugin: Any) -> None:
    """Questions take their default or are refused; codes of SAGE's errors decide the exit code."""
    plugin("acme-hello", HELLO, {"greet": "acme_hello"})
    assert sage("greet", "ask", "--default", "me").out == "me\n"
    assert (sage("greet", "ask").code, sage("greet", "sure").code) == (9, 9)
    result = sage("greet", "fail", "not_found")
    assert (result.err, result.code) == ("imported\nerror: it failed\n  hint: try again\n", 3)
    assert sage("greet", "fail", "of_my_own").code == 9


def test_a_plugins_bug_is_the_plugins(sage: Any, plugin: Any) -> None:
    """An unexpected exception names the distribution that the user should tell."""
    plugin("acme-hello", HELLO, {"greet": "acme_hello"})
    result = sage("greet", "crash")
    assert result.code == 70
    assert result.err == (
        "imported\n"
        "error: KeyError: 'oops'\n"
        "  hint: this looks like a bug in the command 'greet' of acme-hello 1.2, please report it; "
        "SAGE_DEBUG=1 shows where it happened\n"
    )


def test_a_plugin_reaches_the_jobmanager(sage: Any, plugin: Any, jobmanager: Any) -> None:
    """The client is that of the configuration, and models of SAGE are shown as its own commands show them."""
    plugin("acme-hello", HELLO, {"greet": "acme_hello"})
    jobmanager.job()
    assert sage("greet", "jobs").out == sage("job", "show", "3").out


def test_a_plugin_adds_to_a_group(sage: Any, plugin: Any) -> None:
    """An entry point job.archive is `sage job archive`; another of a taken name is left out."""
    source = HELLO + "\napp = typer.Typer()\n\n\n@app.command()\ndef archive():\n    print('archived')\n"
    plugin(
        "acme-archive",
        source,
        {"job.archive": "acme_archive", "job.list": "acme_archive", "jobmanager.extra": "acme_archive"},
    )
    assert sage("job", "archive").out == "archived\n"
    assert "  archive   What acme-archive does.\n" in sage("job", "--help").out
    assert sage("jobmanager", "extra").out == "archived\n"
    assert "imported" not in sage("job", "list", "--help").err
    assert "job.archive" not in sage("--help").out


def test_a_built_in_name_wins(sage: Any, plugin: Any) -> None:
    """A plugin that claims a built-in name is not run; `plugins list` shows the clash."""
    plugin("acme-hello", HELLO, {"version": "acme_hello", "job.list": "acme_hello"})
    assert sage("version").out.startswith("sage-cli: ")
    rows = [line for line in sage("plugins", "list").out.splitlines() if "acme-hello" in line]
    assert [row.split()[1] for row in rows] == ["job.list", "version"]
    assert all(row.endswith("hidden: a built-in command has this name") for row in rows)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("raise RuntimeError('no')", "importing it raised RuntimeError: no"),
        ("x = 1", "it has no sage_command marked with @hookimpl"),
        (
            "from sage.core.plugins import hookimpl\n\n\n@hookimpl\ndef sage_command(name):\n    return 5\n",
            "sage_command returned int, not a typer.Typer with a command",
        ),
    ],
)
def test_a_broken_plugin_is_named_and_breaks_nothing_else(sage: Any, plugin: Any, source: str, what: str) -> None:
    """Asked for by name it ends with 9 and names its distribution; all else works and says nothing of it."""
    plugin("acme-broken", source, {"broken": "acme_broken"})
    result = sage("broken")
    assert (result.out, result.code) == ("", 9)
    assert result.err.startswith("error: the plugin 'broken' of acme-broken 1.2 is broken: ")
    assert what in result.err
    for args in (("--help",), ("version",), ("plugins", "list")):
        other = sage(*args)
        assert (other.err, other.code) == ("", 0)


def test_two_distributions_with_one_name(sage: Any, plugin: Any) -> None:
    """Neither is taken silently: an error names both, exit code 9."""
    plugin("acme-one", HELLO, {"greet": "acme_one"})
    plugin("acme-two", HELLO, {"greet": "acme_two"})
    result = sage("greet")
    assert result.code == 9
    assert "acme-one" in result.err and "acme-two" in result.err
    rows = [line for line in sage("plugins", "list").out.splitlines() if "acme-" in line]
    assert "clashes with acme-two" in rows[0]


def test_a_configuration_that_keeps_plugins_from_being_listed(sage: Any, plugin: Any) -> None:
    """A file that says something of disabled plugins and is wrong costs one warning; help is there."""
    plugin("acme-hello", HELLO, {"greet": "acme_hello"})
    sage.home.mkdir(mode=0o700)
    (sage.home / "config.yaml").write_text("plugins: {disable: 5}\n")
    result = sage("--help")
    assert result.code == 0
    assert result.err.startswith("warning: commands of plugins are left out: ")
    assert result.err.count("\n") == 1
    assert sage("version").err == ""
    for name in ("greet", "jobmanager"):  # who asks for one by name is told what is wrong, not that it is missing
        result = sage(name, "--json")
        assert (result.code, result.json["data"]["code"]) == (9, "config")
        assert "config.yaml:1: plugins -> disable: " in result.json["data"]["message"]


def test_a_disabled_plugin_is_gone(sage: Any, plugin: Any) -> None:
    """plugins.disable leaves it out of the commands, and `plugins list` says why."""
    plugin("acme-hello", HELLO, {"greet": "acme_hello"})
    sage.env["SAGE_PLUGINS__DISABLE"] = "[acme-hello]"
    assert sage("greet").code == 2
    assert next(line for line in sage("plugins", "list").out.splitlines() if "acme-hello" in line).endswith(
        "disabled by plugins.disable"
    )


def test_the_runtimes_commands_name_what_brings_them(sage: Any) -> None:
    """Without sage-runtime its commands are known by name, and the error says what to install."""
    sage.env["SAGE_PLUGINS__DISABLE"] = "[sage-runtime]"
    for name in ("jobmanager", "deploy", "cluster"):
        result = sage(name, "status")
        assert (result.out, result.code) == ("", 9)
        assert result.err == (
            f"error: the command '{name}' comes with sage-runtime, which is not installed here\n"
            "  hint: pip install sage-runtime\n"
        )
