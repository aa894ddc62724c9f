"""What is installed, from the metadata of distributions alone: no plugin is imported here."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from sage.core.plugins.disabling import NOTHING, Disabled
from sage.core.plugins.metadata import Claim, distribution_of, groups, headers, scan

__all__ = ["GROUPS", "HELPS_FILE", "InstalledPlugin", "file_of", "help_of", "installed"]

GROUPS = ("sage.backends", "sage.commands", "sage.connectors", "sage.plugins")
HELPS_FILE = "sage_commands.json"
_MAX_HELPS = 1 << 16


@dataclass(frozen=True)
class InstalledPlugin:
    """One entry point.

    Attributes:
        group: ``sage.backends`` or another of `GROUPS`; any other ``sage.…`` is a mistake of the plugin's.
        name: what users type.
        value: the module it leads to (``package.module`` or ``package.module:object``).
        distribution, version: who brings it.
        disabled: the configuration says to leave it alone.
        clash: other distributions that claim the same name in the same group.
    """

    group: str
    name: str
    value: str
    distribution: str
    version: str
    disabled: bool = False
    clash: tuple[str, ...] = ()


def installed(disabled: Disabled = NOTHING) -> tuple[InstalledPlugin, ...]:
    """Everything installed for SAGE, by group and name."""
    plugins: list[InstalledPlugin] = []
    for group in sorted({*GROUPS, *groups()}):
        for name, claims in sorted(scan(group).items()):
            owners = [distribution_of(claim) for claim in claims]
            for claim, (distribution, version) in zip(claims, owners, strict=True):
                others = tuple(owner for owner, _ in owners if owner != distribution)
                plugins.append(
                    InstalledPlugin(
                        group,
                        name,
                        claim.value,
                        distribution,
                        version,
                        disabled=disabled.bars(claim),
                        clash=others,
                    )
                )
    return tuple(plugins)


def help_of(claim: Claim) -> str:
    """The one-line help of a command, without importing it.

    It is that in ``sage_commands.json`` beside the module, else the Summary of the distribution. A broken file is told
    in place of the help, since a listing must not fail for one plugin.
    """
    file = file_of(claim.module)
    path = None if file is None else file.parent / HELPS_FILE
    if path is not None and path.is_file():
        try:
            with path.open("rb") as opened:
                helps = json.loads(opened.read(_MAX_HELPS))
            if not isinstance(helps, dict):
                raise ValueError("it is no JSON object")
        except (OSError, ValueError) as error:
            return f"(no help: {path} cannot be read: {error})"
        help = helps.get(claim.name)
        if isinstance(help, str) and help.strip():
            return _one_line(help)
    return _one_line(dict(headers(claim, ("summary",))).get("summary", ""))


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def file_of(module: str) -> Path | None:
    """A module's file, found without importing its parents (which `importlib.util.find_spec` would)."""
    places: list[str] | None = None
    spec: ModuleSpec | None = None
    path = ""
    for part in module.split("."):
        path = f"{path}.{part}" if path else part
        spec = _top_spec(path) if places is None else _inner_spec(path, places)
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or ())
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _top_spec(name: str) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(name, None) if find is not None else None
        if spec is not None:
            return spec
    return None


def _inner_spec(name: str, places: list[str]) -> ModuleSpec | None:
    """As Python's own finder, which however wants the parent of a namespace package to be imported."""
    portions: list[str] = []
    for place in places:
        finder = _finder_of(place)
        spec: ModuleSpec | None = finder.find_spec(name) if finder is not None else None
        if spec is None:
            continue
        if spec.loader is not None:
            return spec
        portions.extend(spec.submodule_search_locations or ())
    if not portions:
        return None
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def _finder_of(place: str) -> Any:
    for hook in sys.path_hooks:
        try:
            return hook(place)
        except ImportError:  # how a hook says that such places are not for it
            continue
    return None
