"""`sage plugins list`."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from sage.cli.context import current
from sage.cli.registry import COMMANDS
from sage.cli.render.parts import Column, Part, Table
from sage.core.plugins.entry_points import InstalledPlugin

app = typer.Typer()


@app.command()
def list_plugins() -> None:
    """List installed backends, commands and other plugins, from metadata alone: no plugin is imported."""
    from sage.core.plugins import installed_plugins

    current().emit(installed_plugins(), kind="PluginList", view=_view)


def _view(plugins: Sequence[InstalledPlugin]) -> Sequence[Part]:
    columns = [Column("GROUP"), Column("NAME"), Column("DISTRIBUTION"), Column("VERSION"), Column("NOTE")]
    rows = [[plugin.group, plugin.name, plugin.distribution, plugin.version, _note(plugin)] for plugin in plugins]
    return [Table(columns, rows, empty="no plugins")]


def _note(plugin: InstalledPlugin) -> str:
    notes = []
    if plugin.disabled:
        notes.append("disabled by plugins.disable")
    if plugin.clash:
        notes.append(f"clashes with {', '.join(plugin.clash)}")
    if plugin.group == "sage.commands" and _is_built_in(plugin.name):
        notes.append("hidden: a built-in command has this name")
    return "; ".join(notes)


def _is_built_in(name: str) -> bool:
    entries = COMMANDS
    for part in name.split("."):
        if part not in entries:
            return False
        entries = entries[part].children
    return True
