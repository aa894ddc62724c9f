"""The command line itself: help, usage, formats, exit codes of what goes wrong around commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import typer

from sage.cli.groups import Stub
from sage.cli.main import main, root


def test_help_lists_every_command_in_one_line(sage: Any) -> None:
    """Built-in commands first, in a fixed order; then those of distributions."""
    result = sage("--help")
    assert (result.err, result.code) == ("", 0)
    head, _, commands = result.out.partition("Commands:\n")
    assert head == (
        "Usage: sage [OPTIONS] COMMAND [ARGS]...\n"
        "\n"
        "  Run dataflow pipelines, and look after the jobs that a JobManager runs.\n"
        "\n"
        "Options:\n"
        "  --version                   Show the version.\n"
        "  --no-plugins                Leave all plugins alone that SAGE itself does\n"
        "                              not bring.\n"
        "  --output <table|json|yaml>  How to print results.\n"
        "  --json                      The same as --output json.\n"
        "  --help                      Show this message and exit.\n"
        "\n"
    )
    names = [line.split()[0] for line in commands.splitlines() if line.startswith("  ") and line[2] != " "]
    assert names[:5] == ["version", "run", "job", "config", "plugins"]
    assert {"jobmanager", "deploy", "cluster"} <= set(names)


@pytest.mark.parametrize("args", [(), ("job",), ("config",), ("jobmanager",)])
def test_a_group_alone_shows_its_help_and_is_a_mistake(sage: Any, args: tuple[str, ...]) -> None:
    """Nothing was asked for: the help goes to stderr, exit code 2."""
    result = sage(*args)
    assert (result.out, result.code) == ("", 2)
    assert result.err.startswith(f"Usage: {' '.join(('sage', *args))} [OPTIONS] COMMAND [ARGS]...\n")


def test_a_misspelled_command_is_guessed(sage: Any) -> None:
    """The nearest name is offered, exit code 2."""
    result = sage("jbo")
    assert (result.out, result.code) == ("", 2)
    assert (
        result.err == "error: No such command 'jbo'. Did you mean 'job'?\n  hint: 'sage --help' shows how it is used\n"
    )


@pytest.mark.parametrize("args", [("--json", "job", "show"), ("job", "--json", "show"), ("job", "show", "--json")])
def test_a_mistake_in_the_command_line_is_a_document_too(sage: Any, args: tuple[str, ...]) -> None:
    """With --json anywhere, what is wrong with the command line goes to stdout as an Error."""
    result = sage(*args)
    assert (result.err, result.code) == ("", 2)
    assert result.json == {
        "sage": 1,
        "kind": "Error",
        "data": {
            "code": "usage",
            "message": "Missing argument 'JOB'.",
            "hint": "'sage job show --help' shows how it is used",
            "exit_code": 2,
        },
    }


def test_the_format_is_taken_anywhere_and_the_last_one_counts(sage: Any) -> None:
    """Before the command or after it; what stands further right decides."""
    assert sage("--output", "yaml", "config", "path").out.startswith("sage: 1\n")
    assert sage("--output", "yaml", "config", "--json", "path").json["kind"] == "ConfigFile"
    assert sage("--json", "config", "path", "--output", "table").out == f"{sage.home}/config.yaml\n"
    wrong = sage("config", "path", "--output", "xml")
    assert wrong.code == 2 and "'xml' is not one of" in wrong.err


def test_the_format_may_be_configured(sage: Any) -> None:
    """output.format of the configuration counts where no option says otherwise."""
    assert sage("config", "path", env={"SAGE_OUTPUT__FORMAT": "json"}).json["kind"] == "ConfigFile"
    sage("config", "set", "output.format", "yaml")
    assert sage("config", "path").out.startswith("sage: 1\n")
    assert sage("version", "--json").json["kind"] == "Version"


def test_version(sage: Any) -> None:
    """All of SAGE's distributions and the Python that runs them."""
    result = sage("version")
    python = ".".join(map(str, sys.version_info[:3]))
    data = sage("version", "--json").json["data"]
    assert data["python"] == python and data["implementation"] == sys.implementation.name
    assert set(data["distributions"]) == {"sage-core", "sage-cli", "sage-runtime"}
    assert result.out.splitlines()[0] == f"sage-cli:      {data['sage']}"
    assert sage("--version").out == f"sage {data['sage']}\n"


def test_the_version_is_that_of_the_metadata(sage: Any) -> None:
    """Read from the names of folders, it is what importlib.metadata says."""
    from importlib.metadata import version

    found = sage("version", "--json").json["data"]["distributions"]
    assert found == {name: version(name) for name in found}


def test_python_m_is_the_same_command(sage: Any) -> None:
    """`python -m sage.cli` runs it, too."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sage.cli", "--version"],
        env=sage.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == sage("--version").out


def test_a_wrong_configuration_is_one_clear_error(sage: Any) -> None:
    """Commands that need the configuration refuse a malformed one with exit code 9; others work."""
    sage.home.mkdir(mode=0o700)
    (sage.home / "config.yaml").write_text("daemon:\n  prt: 5\n")
    result = sage("job", "list")
    assert (result.out, result.code) == ("", 9)
    assert result.err == (
        f"error: {sage.home}/config.yaml:2: daemon -> prt: is no setting\n  hint: did you mean port?\n"
    )
    assert sage("version").code == 0
    assert sage("--help").code == 0


def test_a_bug_is_reported_in_two_lines(sage: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """An unexpected exception ends with 70 and a short message; SAGE_DEBUG=1 adds the traceback."""
    import sage.cli.commands.version as command

    def broken(name: str) -> str:
        raise KeyError(name)

    monkeypatch.setattr(command, "version_of", broken)
    monkeypatch.setenv("SAGE_HOME", str(sage.home))
    assert main(["version"]) == 70
    assert capsys.readouterr().err == (
        "error: KeyError: 'sage-cli'\n"
        "  hint: this looks like a bug in SAGE, please report it; SAGE_DEBUG=1 shows where it happened\n"
    )
    monkeypatch.setenv("SAGE_DEBUG", "1")
    assert main(["version", "--json"]) == 70
    shown = capsys.readouterr()
    assert json.loads(shown.out)["data"]["code"] == "internal"
    assert shown.err.startswith("Traceback (most recent call last):\n")


def test_nobody_reads_any_more(sage: Any) -> None:
    """A closed pipe ends the command quietly, as it does any other program (128 + SIGPIPE)."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "sage.cli", "config", "show"],
            env=sage.environment(),
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_typers_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the lazy tree builds on: Typer asks a group for names and commands, and a stub for its context."""
    asked: list[str] = []

    def load() -> Any:
        asked.append("load")
        app = typer.Typer()
        app.command()(lambda: asked.append("run"))
        return typer.main.get_command(app)

    group = root()
    group.commands["probe"] = Stub("probe", "Probes.", load)
    assert isinstance(group, typer.core.TyperGroup)
    with group.make_context("sage", ["probe"]) as ctx:
        assert "probe" in group.list_commands(ctx)
        assert "probe" in ctx.get_help() and asked == []
        group.invoke(ctx)
    assert asked == ["load", "run"]


def test_what_the_system_refuses_is_no_bug(sage: Any) -> None:
    """A file in the way of a folder, or a missing permission, is told with its place."""
    sage.home.touch()
    result = sage("config", "init")
    assert (result.out, result.code) == ("", 5)
    assert result.err == f"error: {sage.home} is no folder\n  hint: move it away or set SAGE_HOME\n"
    denied = sage("config", "init", env={"SAGE_HOME": "/proc/sage"})
    assert denied.code in {5, 9} and denied.err.startswith("error: /proc/sage: ")
