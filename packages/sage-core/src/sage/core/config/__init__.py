"""The configuration: a tree of frozen dataclasses from file, environment and arguments, checked whole.

::

    schema (every setting, once; each section has its class there) → kinds (what values may be)
    loading → documents (YAML in), places (SAGE_HOME), problems (what is wrong, and where)
    describe → the settings as data, for ``sage config`` and the reference page;   token → the client's token
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sage.core.config.describe import SettingInfo, fields, plain_value_at, sections, to_plain
    from sage.core.config.loading import load, validate_value
    from sage.core.config.places import config_path, sage_home
    from sage.core.config.problems import ConfigProblem, parse_path
    from sage.core.config.schema import Config
    from sage.core.config.token import read_token, token_path

__all__ = [
    "Config",
    "ConfigProblem",
    "SettingInfo",
    "config_path",
    "fields",
    "load",
    "parse_path",
    "plain_value_at",
    "read_token",
    "sage_home",
    "sections",
    "to_plain",
    "token_path",
    "validate_value",
]

_HOMES = {
    "describe": ("SettingInfo", "fields", "plain_value_at", "sections", "to_plain"),
    "loading": ("load", "validate_value"),
    "places": ("config_path", "sage_home"),
    "problems": ("ConfigProblem", "parse_path"),
    "schema": ("Config",),
    "token": ("read_token", "token_path"),
}


def __getattr__(name: str) -> Any:
    # Each name from its home when it is asked for: who needs only to know where files are does not pay for the tree.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
