"""Single values as people read them in configuration files."""

from __future__ import annotations

__all__ = ["plain_text"]


def plain_text(value: object) -> str:
    """A value of the configuration in one line: text as it is, all else as YAML would take it."""
    if isinstance(value, str):
        return value
    import json

    return json.dumps(value, ensure_ascii=False)
