"""The document that machines read: ``{"sage": 1, "kind": …, "data": …}``, the same for JSON and YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["VERSION", "envelope", "plain_data"]

VERSION = 1
"""Of the document. Fields are only ever added; anything else raises it."""

_KINDS = {"JobInfo": "Job", "Page": "JobList", "DaemonInfo": "JobManager", "LogChunk": "Log", "FailureInfo": "Failure"}


def envelope(model: object, kind: str | None = None) -> dict[str, Any]:
    """The document for a model.

    Args:
        model: a dataclass, a mapping, a plain value, or a sequence of these.
        kind: its name; without one it is that of the class (of the first item, and ``List``, for a sequence).

    A sequence becomes ``{"items": […]}``, as pages of the REST interface are; the cursor of a page stands beside
    ``data`` too.
    """
    data = plain_data(model)
    if isinstance(data, list):
        data = {"items": data}
    document: dict[str, Any] = {"sage": VERSION, "kind": kind or _kind(model), "data": data}
    if isinstance(data, dict) and "next_cursor" in data:
        document["next_cursor"] = data["next_cursor"]
    return document


def _kind(model: object) -> str:
    if isinstance(model, Sequence) and not isinstance(model, str):
        return f"{_kind(model[0])}List" if model else "List"
    name = type(model).__name__
    if dataclasses.is_dataclass(model):
        return _KINDS.get(name) or name.removesuffix("Info") or name
    return "Value"


def plain_data(value: Any) -> Any:
    """The value as plain mappings, lists, strings, numbers, booleans and None."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if hasattr(value, "to_json"):
        return plain_data(value.to_json())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_data(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_data(item) for item in value]
    return str(value)
