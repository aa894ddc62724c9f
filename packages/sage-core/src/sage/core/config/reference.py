"""The reference page of the configuration, made from the schema. ``python -m sage.core.config`` prints it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sage.core.config.describe import SettingInfo, fields, sections

__all__ = ["reference_page"]

_HEAD = """\
# Configuration

<!-- Made by `python -m sage.core.config`; change the help texts in `sage/core/config/schema.py` instead. -->

SAGE reads `config.yaml` in its home folder: `~/.sage`, or where `SAGE_HOME` points. Every setting has a default, so the
file may be absent, and any section or line may be left out. `sage config init` writes the file,
`sage config set daemon.port 19002` changes one value and keeps your comments, `sage config show` prints what is in
force, and `sage config validate` checks the file.

A value comes from the first of these that gives one:

1. an option of the command (`--port 19002`);
2. an environment variable `SAGE_<SECTION>__<FIELD>`, its value written as in YAML: `SAGE_DAEMON__PORT=19002`,
   `SAGE_PLUGINS__DISABLE='[hello]'`, `SAGE_DAEMON__TLS__CA=/etc/sage/ca.pem`;
3. the file;
4. the default.

The whole configuration is checked whenever it is read, and everything that is wrong is told at once, with the field
(`ssh -> workers[2] -> port`) and the line of the file or the variable that set it. Unknown names are errors, and so
is a file that everybody may write. The exit code is 9.

Durations are written `500ms`, `10s`, `5m`, `2h`, `1d`, or as a number of seconds; sizes `64MiB`, `10GB`, or as a number
of bytes. `null` stands for "not set". `SAGE_HOME` is no setting of this file: it says where the file is.
"""


def reference_page() -> str:
    """The page, in Markdown."""
    parts = [_HEAD]
    settings = fields()
    for section, help in sections().items():
        own = [each for each in settings if _section_of(each.path) == section]
        parts.append(f"\n## `{section}`\n\n{help}\n\n")
        parts.extend(_table(section, own))
    return "".join(parts)


def _section_of(path: str) -> str:
    return path.partition("[]")[0].rpartition(".")[0]


def _table(section: str, settings: list[SettingInfo]) -> Iterator[str]:
    yield "| field | takes | default | meaning |\n|---|---|---|---|\n"
    for each in settings:
        name = each.path.removeprefix(f"{section}.")
        default = "required" if each.required else f"`{_yaml(each.default)}`"
        yield f"| `{name}` | {each.type} | {default} | {each.help} |\n"


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
