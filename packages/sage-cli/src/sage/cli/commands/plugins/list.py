"""`sage plugins list`."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from sage.cli.context import current
from sage.cli.plugin_reports import notes_on
from sage.cli.render.parts import Column, Part, Table
from sage.core.plugins.entry_points import InstalledPlugin

app = typer.Typer()


@app.command()
def list_plugins() -> None:
    """List installed backends, connectors, commands and hooks, from metadata alone: no plugin is imported."""
    from sage.core.plugins import installed_plugins

    current().emit(installed_plugins(), kind="PluginList", view=_view)


def _view(plugins: Sequence[InstalledPlugin]) -> Sequence[Part]:
    columns = [Column("GROUP"), Column("NAME"), Column("DISTRIBUTION"), Column("VERSION"), Column("NOTE")]
    rows = [
        [plugin.group, plugin.name, plugin.distribution, plugin.version, "; ".join(notes_on(plugin))]
        for plugin in plugins
    ]
    return [Table(columns, rows, empty="no plugins")]
