"""Which parts show which model to people. What has no view of its own is shown by its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sage.cli.render.envelope import plain_data
from sage.cli.render.parts import Column, Fields, Line, Part, Table

__all__ = ["View", "view"]

View = Callable[[Any], Sequence[Part]]


def view(model: object) -> Sequence[Part]:
    """The parts for any model."""
    from sage.core.models import JobInfo, Page

    if isinstance(model, (JobInfo, Page)):
        from sage.cli.render.jobs import details, table

        return table(model.items) if isinstance(model, Page) else details(model)
    if isinstance(model, Sequence) and not isinstance(model, str):
        return _rows(model)
    fields = _fields(model)
    if fields is None:
        return [Line(_text(model))]
    return [Fields([(_label(name), _text(value)) for name, value in fields.items() if value not in (None, [], {})])]


def _rows(models: Sequence[object]) -> Sequence[Part]:
    rows = [_fields(model) for model in models]
    if not rows or any(row is None for row in rows):
        return [Line(_text(model)) for model in models]
    names = list(dict.fromkeys(name for row in rows for name in row or ()))
    columns = [Column(name.upper().replace("_", " ")) for name in names]
    return [Table(columns, [[_text((row or {}).get(name)) for name in names] for row in rows])]


def _fields(model: object) -> Mapping[str, Any] | None:
    data = plain_data(model)
    return data if isinstance(data, Mapping) else None


def _label(name: str) -> str:
    return name.replace("_", " ")


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_text(item)}" for name, item in value.items()) or "-"
    return str(value)
