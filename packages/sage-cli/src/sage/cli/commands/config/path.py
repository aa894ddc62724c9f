"""`sage config path`."""

from __future__ import annotations

import typer

from sage.cli.context import current
from sage.cli.render.parts import Line
from sage.core.config import config_path

app = typer.Typer()


@app.command()
def path() -> None:
    """Print where config.yaml is, or would be."""
    context = current()
    file = config_path()
    exists = file.exists()
    context.emit({"path": str(file), "exists": exists}, kind="ConfigFile", view=lambda _: [Line(str(file))])
    if not exists and not context.for_machines:
        context.note("there is no such file yet: sage config init writes one")
