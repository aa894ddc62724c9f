"""`sage config init`."""

from __future__ import annotations

from typing import Annotated

import typer

from sage.cli.config_file import template, write_private
from sage.cli.context import current
from sage.cli.failures import refuse
from sage.cli.render.parts import Line
from sage.core.config import config_path

app = typer.Typer()


@app.command()
def init(force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False) -> None:
    """Write a commented config.yaml into SAGE_HOME, for its owner's eyes only (0600 in a 0700 folder)."""
    path = config_path()
    try:
        write_private(path, template(), exclusive=not force)
    except FileExistsError:
        refuse("exists", f"{path} is there already", "--force replaces it; 'sage config set' changes single values")
    current().emit({"path": str(path)}, kind="ConfigFile", view=lambda _: [Line(str(path))])
