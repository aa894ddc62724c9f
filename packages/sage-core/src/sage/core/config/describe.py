"""The settings as data: a walk over all of them, a configuration as plain data, and one value by its path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from typing import Any

from sage.core.config.kinds import Kind, ListOf, Record
from sage.core.config.loading import check_path
from sage.core.config.problems import ConfigProblem, config_error, parse_path, path_text
from sage.core.config.schema import Config

__all__ = ["SettingInfo", "fields", "plain_value_at", "sections", "to_plain"]


@dataclass(frozen=True)
class SettingInfo:
    """One setting.

    Attributes:
        path: ``daemon.port``; ``ssh.workers[].port`` for a field of a list's items.
        type: what it takes, in words.
        default: as a file would say it; None also where it is `required`.
        help: what it is for.
        required: it must be given (only fields of list items are).
        variable: the environment variable that sets it; None for fields of list items.
    """

    path: str
    type: str
    default: Any
    help: str
    required: bool
    variable: str | None


def fields() -> tuple[SettingInfo, ...]:
    """All settings in the order of the schema."""
    return tuple(_walk(Record(Config), ""))


def sections() -> dict[str, str]:
    """The sections by path (``daemon``, ``daemon.tls``), each with its help."""
    return dict(_sections(Record(Config), ""))


def to_plain(config: Config) -> dict[str, Any]:
    """`config` as plain data for JSON and YAML: durations as ``10s``, sizes as ``64MiB``, paths as text."""
    return Record(Config).plain(config)


def plain_value_at(config: Config, path: str) -> Any:
    """What `config` has at `path` (a setting, a section, an item: ``ssh.workers[0].host``), as plain data.

    Raises:
        ConfigError: there is no such setting, or no such item.
    """
    target = parse_path(path)
    check_path(target)
    value: Any = to_plain(config)
    for depth, part in enumerate(target):
        try:
            value = value[part]
        except IndexError:
            place = path_text(target[:depth])
            raise config_error(
                [ConfigProblem(path_text(target), f"is not there: {place} has {len(value)} items")]
            ) from None
    return value


def _walk(record: Record[Any], prefix: str) -> Iterator[SettingInfo]:
    for name, item in record.fields.items():
        kind: Kind[Any] = record.kind(name)
        path = f"{prefix}{name}"
        if isinstance(kind, Record):
            yield from _walk(kind, f"{path}.")
            continue
        required = name in record.required
        default = None if item.default is MISSING else kind.plain(item.default)
        variable = None if "[]" in path else "SAGE_" + path.replace(".", "__").upper()
        yield SettingInfo(path, kind.text, default, item.metadata["help"], required, variable)
        if isinstance(kind, ListOf) and isinstance(kind.kind, Record):
            yield from _walk(kind.kind, f"{path}[].")


def _sections(record: Record[Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, item in record.fields.items():
        kind = record.kind(name)
        if isinstance(kind, Record):
            yield f"{prefix}{name}", item.metadata["help"]
            yield from _sections(kind, f"{prefix}{name}.")
