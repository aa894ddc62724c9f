"""`sage config validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sage.cli.context import current
from sage.cli.render.parts import Line
from sage.core.config import config_path, load

app = typer.Typer()


@app.command()
def validate(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Another file than SAGE_HOME's.")] = None,
) -> None:
    """Check config.yaml, and the variables that go before it; tell everything that is wrong at once.

    A FILE is checked by itself, without variables.
    """
    context = current()
    path = file or config_path()
    if file is None:
        load()
    else:
        load(file, env={})
    context.emit({"path": str(path), "valid": True}, kind="ConfigFile", view=lambda _: [Line(f"{path}: valid")])
    if file is None and not path.exists() and not context.for_machines:
        context.note("there is no such file: the defaults are in force")
