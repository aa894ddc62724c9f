"""`sage config show`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from sage.cli.context import current
from sage.cli.render.parts import Column, Part, Table
from sage.cli.render.values import plain_text
from sage.core.config import plain_value_at, to_plain

app = typer.Typer()


@app.command()
def show(
    section: Annotated[
        str | None, typer.Argument(metavar="[SECTION]", help="Only this part, such as daemon.tls.")
    ] = None,
) -> None:
    """Show the configuration in force: defaults, config.yaml and variables laid over each other."""
    context = current()
    if section is None:
        values: Any = to_plain(context.config)
    else:
        values = plain_value_at(context.config, section)
        for part in reversed(section.split(".")):
            values = {part: values}
    context.emit(values, kind="Config", view=_view)


def _view(values: Mapping[str, Any]) -> Sequence[Part]:
    return [Table([Column("SETTING"), Column("VALUE")], list(_rows(values, "")))]


def _rows(values: Mapping[str, Any], prefix: str) -> Iterator[Sequence[str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", plain_text(value)
