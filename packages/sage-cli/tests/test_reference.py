"""The reference page of the command line says what there is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sage.cli
from sage.cli import reference, registry
from sage.cli.options import is_output_option
from sage.core import errors

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"
HELP = 100  # the longest one-line help


pytestmark = pytest.mark.skipif(not PAGE.parent.is_dir(), reason="not in a checkout: there is no docs folder")


def test_the_page_is_up_to_date() -> None:
    """`python -m sage.cli.reference > docs/reference/cli.md` makes it anew."""
    assert PAGE.read_text(encoding="utf-8") == reference.reference_page()


def test_every_command_is_on_the_page_and_takes_the_output_options() -> None:
    """All commands and options are named, and each command takes --output and --json."""
    page = PAGE.read_text(encoding="utf-8")
    found = dict(reference.commands())
    assert {"version", "run", "job", "config", "plugins", "jobmanager", "deploy", "cluster"} == {
        path[0] for path in found
    }
    for path, command in found.items():
        assert f"`sage {' '.join(path)}" in page
        assert sum(map(is_output_option, command.params)) == 2, path
        assert command.help, path


def test_the_registry_says_what_the_commands_say() -> None:
    """One-line helps are one line, and every entry leads to a module with a command."""

    def walk(entries: object) -> None:
        for name, entry in dict(entries).items():  # type: ignore[call-overload]
            assert entry.help.endswith(".") and len(entry.help) <= HELP, name
            assert (entry.module is None) == bool(entry.children), name
            walk(entry.children)

    walk(registry.COMMANDS)


def test_every_exit_code_is_on_the_page() -> None:
    """Those of all errors of SAGE, and those that commands give themselves."""
    page = PAGE.read_text(encoding="utf-8")
    classes = [getattr(errors, name) for name in errors.__all__]
    codes = {cls.exit_code for cls in classes if isinstance(cls, type) and issubclass(cls, errors.SageError)}
    for code in codes | {0, 2, 7, 10, 130, 141}:
        assert f"\n| {code} | " in page


def test_every_module_has_a_place_in_the_registry() -> None:
    """A command's file that nothing leads to would be dead."""
    known = {entry.module for _, entry in _entries(registry.COMMANDS)}
    folder = Path(next(iter(sage.cli.__path__)), "commands")
    files = [path for path in folder.rglob("*.py") if path.name != "__init__.py"]
    assert {
        "sage.cli.commands." + ".".join(path.relative_to(folder).with_suffix("").parts) for path in files
    } == known - {None}
    for path in files:
        names = {node.targets[0].id for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]
        assert "app" in names


def _entries(entries: object) -> list[tuple[str, registry.Entry]]:
    found = []
    for name, entry in dict(entries).items():  # type: ignore[call-overload]
        found += [(name, entry), *_entries(entry.children)]
    return found
