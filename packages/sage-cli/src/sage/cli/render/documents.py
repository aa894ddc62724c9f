"""Documents as text: JSON (one document, or one a line for followers) and YAML (documents one after the other)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["json_text", "yaml_text"]


def json_text(document: Mapping[str, Any], *, line: bool = False) -> str:
    """ASCII only, so that nothing in it can speak to a terminal and no locale can break it."""
    import json

    return json.dumps(document, indent=None if line else 2) + "\n"


def yaml_text(document: Mapping[str, Any], *, line: bool = False) -> str:
    """With ``line`` the document begins with ``---``, so that it can follow another."""
    import yaml

    text: str = yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, explicit_start=line)
    return text
