"""`sage config get`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from sage.cli.arguments import Setting
from sage.cli.context import current
from sage.cli.render.parts import Line, Part
from sage.cli.render.values import plain_text
from sage.core.config import plain_value_at

app = typer.Typer()


@app.command()
def get(setting: Setting) -> None:
    """Print one value of the configuration in force; of a section, its values as YAML."""
    context = current()
    value = plain_value_at(context.config, setting)
    context.emit({"setting": setting, "value": value}, kind="ConfigValue", view=_view)


def _view(found: Mapping[str, Any]) -> Sequence[Part]:
    value = found["value"]
    if not isinstance(value, Mapping):
        return [Line(plain_text(value))]
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return [Line(line) for line in text.rstrip("\n").split("\n")]
