"""`sage plugins show`."""

from __future__ import annotations

from typing import Annotated

import typer

from sage.cli.context import current
from sage.cli.failures import refuse
from sage.cli.plugin_reports import reports_on, view

app = typer.Typer()


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the plugin, or of the distribution that brings it.")],
    timeout: Annotated[float, typer.Option("--timeout", help="For loading each.", min=0.1)] = 30.0,
) -> None:
    """Show one plugin: who brings it, where it is, its hooks, and what is wrong with it.

    It is loaded for that, in a process of its own; a disabled one is not. A name may stand in several groups.
    """
    from sage.core.config.problems import nearest
    from sage.core.plugins import installed_plugins
    from sage.core.plugins.metadata import canonical

    plugins = installed_plugins()
    chosen = [item for item in plugins if name == item.name or canonical(name) == canonical(item.distribution)]
    if not chosen:
        meant = nearest(name, [known for item in plugins for known in (item.name, item.distribution)])
        hint = f"did you mean '{meant}'?" if meant else "'sage plugins list' shows what is installed"
        refuse("not_found", f"there is no plugin '{name}'", hint, exit_code=3)
    current().emit(reports_on(chosen, timeout), kind="PluginReportList", view=view)
