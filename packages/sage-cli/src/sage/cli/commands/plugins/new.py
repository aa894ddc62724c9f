"""`sage plugins new`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sage.cli.context import current
from sage.cli.failures import misuse, refuse
from sage.cli.new_project import KINDS, names_of, write_project
from sage.cli.registry import COMMANDS
from sage.cli.render.parts import Line
from sage.core.plugins.metadata import BUILT_IN

app = typer.Typer()

_TAKEN = {"backend": {name for group, name in BUILT_IN if group == "sage.backends"}, "command": COMMANDS.keys()}
"""By kind, the names that SAGE's own have."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the distribution; without 'sage-' it is the plugin's.")],
    backend: Annotated[bool, typer.Option("--backend", help="With a backend.")] = False,
    command: Annotated[bool, typer.Option("--command", help="With a group of commands; so it is without any.")] = False,
    connector: Annotated[bool, typer.Option("--connector", help="With a connector.")] = False,
    hook: Annotated[bool, typer.Option("--hook", help="With hooks.")] = False,
    to: Annotated[Path | None, typer.Option(help="The folder; by default one of that name in the current one.")] = None,
) -> None:
    """Write the project of a plugin: it can be installed, and passes its tests, as it is."""
    try:
        names = names_of(name)
    except ValueError as error:
        misuse(f"{name!r} cannot be the name of a project: {error}")
    wanted = {"backend": backend, "command": command, "connector": connector, "hook": hook}
    kinds = [kind for kind in KINDS if wanted[kind]] or ["command"]
    for kind in kinds:
        if names.plugin in _TAKEN.get(kind, ()):
            refuse("exists", f"SAGE has a {kind} '{names.plugin}' of its own, which would win", "choose another name")
    folder = to or Path(names.distribution)
    try:
        written = write_project(folder, names, kinds)
    except FileExistsError:
        refuse("exists", f"{folder} is there already, and not empty", "choose another by --to")
    except OSError as error:
        refuse("not_written", f"{folder} could not be written: {error.strerror or error}", "choose another by --to")
    paths = [str(path) for path in written]
    current().note(f"next: cd {folder} && pip install -e '.[test]' && pytest")
    current().emit(
        {"folder": str(folder), "files": paths}, kind="Project", view=lambda _: [Line(path) for path in paths]
    )
