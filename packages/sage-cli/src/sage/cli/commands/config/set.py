"""`sage config set`."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from sage.cli.arguments import Setting
from sage.cli.config_file import changed, write_private
from sage.cli.context import current
from sage.cli.render.parts import Line
from sage.cli.render.values import plain_text
from sage.core.config import config_path, load, plain_value_at, validate_value
from sage.core.config.problems import config_error
from sage.core.errors import ConfigError

app = typer.Typer()


@app.command(context_settings={"ignore_unknown_options": True})
def set_value(
    setting: Setting,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="As YAML: 19001, true, 30s, null, [a, b].")],
) -> None:
    """Change one value in config.yaml, making the file if there is none. Comments stay.

    The whole file is validated before it is written; if it would be wrong, it stays as it is.
    """
    context = current()
    checked = validate_value(setting, value)
    path = config_path()
    config = _check(path, path)
    if "[" in setting:
        plain_value_at(config, setting)  # an item of a list must be there to be changed
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    after = changed(before, setting, checked)
    with tempfile.TemporaryDirectory(prefix="sage-config-") as folder:
        draft = Path(folder, path.name)
        draft.write_text(after, encoding="utf-8")
        shown = plain_value_at(_check(draft, path), setting)
    write_private(path, after)
    context.emit(
        {"setting": setting, "value": shown},
        kind="ConfigValue",
        view=lambda _: [Line(f"{setting}: {plain_text(shown)}")],
    )


def _check(file: Path, shown_as: Path) -> Any:
    """Load a file alone, without variables; errors speak of it by another name.

    Raises:
        ConfigError: it is wrong.
    """
    try:
        return load(file if file.exists() else None, env={"SAGE_HOME": str(shown_as.parent)})
    except ConfigError as error:
        problems = [
            dataclasses.replace(each, where=each.where and each.where.replace(str(file), str(shown_as)))
            for each in error.problems
        ]
        raise config_error(problems) from error
