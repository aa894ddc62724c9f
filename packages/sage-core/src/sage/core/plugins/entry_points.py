"""What is installed, from the metadata of distributions alone: no plugin is imported here."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint


__all__ = [
    "BUILT_IN",
    "GROUPS",
    "HELPS_FILE",
    "BuiltIn",
    "Claim",
    "InstalledPlugin",
    "canonical",
    "distribution_of",
    "help_of",
    "installed",
    "scan",
]

GROUPS = ("sage.backends", "sage.commands", "sage.connectors", "sage.plugins")
HELPS_FILE = "sage_commands.json"
_MAX_HELPS = 1 << 16


class Claim(Protocol):
    """An `EntryPoint`, or what has its shape."""

    @property
    def group(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def dist(self) -> Distribution | None: ...
    def load(self) -> Any: ...


@dataclass(frozen=True)
class BuiltIn:
    """A plugin of sage-core itself, in the shape of an `EntryPoint`.

    Its name wins over any other's. It is found without a scan, and so without importing `importlib.metadata`, which
    takes longer than starting a small job does.
    """

    group: str
    name: str
    value: str

    @property
    def dist(self) -> Distribution | None:
        from importlib.metadata import distribution

        return distribution("sage-core")

    def load(self) -> Any:
        return importlib.import_module(self.value)


BUILT_IN = {
    ("sage.backends", name): BuiltIn("sage.backends", name, f"sage.core.backends.{name}")
    for name in ("inline", "local")
}
"""What sage-core brings itself; its metadata says the same."""


@dataclass(frozen=True)
class InstalledPlugin:
    """One entry point.

    Attributes:
        group: ``sage.backends`` or another of `GROUPS`.
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


def scan(group: str) -> dict[str, list[EntryPoint]]:
    """The entry points of a group by name; more than one where distributions claim the same."""
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = {}
    for entry_point in entry_points(group=group):
        claims = found.setdefault(entry_point.name, [])
        if entry_point not in claims or distribution_of(entry_point) not in map(distribution_of, claims):
            claims.append(entry_point)
    return found


def distribution_of(entry_point: Claim) -> tuple[str, str]:
    """Name and version of the distribution that brings `entry_point`. Reads its metadata: not for listings."""
    distribution = entry_point.dist
    if distribution is None:
        return "an unknown distribution", "?"
    facts = dict(_headers(distribution, ("name", "version")))
    return facts.get("name", "a distribution without a name"), facts.get("version", "?")


def installed(disable: Iterable[str] = ()) -> tuple[InstalledPlugin, ...]:
    """Everything installed for SAGE, by group and name."""
    barred = frozenset(disable)
    plugins: list[InstalledPlugin] = []
    for group in GROUPS:
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
                        disabled=name in barred or canonical(distribution) in map(canonical, barred),
                        clash=others,
                    )
                )
    return tuple(plugins)


def canonical(name: str) -> str:
    """A distribution's name as it compares: ``Sage_Plugins.Example`` is ``sage-plugins-example``."""
    return name.lower().replace("_", "-").replace(".", "-")


def help_of(entry_point: EntryPoint) -> str:
    """The one-line help of a command, without importing it.

    It is that in ``sage_commands.json`` beside the module, else the Summary of the distribution. A broken file is told
    in place of the help, since a listing must not fail for one plugin.
    """
    folder = _folder_of(entry_point.value.partition(":")[0].strip())
    path = None if folder is None else folder / HELPS_FILE
    if path is not None and path.is_file():
        try:
            with path.open("rb") as file:
                helps = json.loads(file.read(_MAX_HELPS))
            if not isinstance(helps, dict):
                raise ValueError("it is no JSON object")
        except (OSError, ValueError) as error:
            return f"(no help: {path} cannot be read: {error})"
        help = helps.get(entry_point.name)
        if isinstance(help, str) and help.strip():
            return _one_line(help)
    distribution = entry_point.dist
    if distribution is None:
        return ""
    return _one_line(dict(_headers(distribution, ("summary",))).get("summary", ""))


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _headers(distribution: Distribution, wanted: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Fields at the top of METADATA. `Distribution.metadata` would parse the whole description with `email`."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    for line in text.splitlines():
        if not line.strip():
            return
        key, _, value = line.partition(":")
        if key.lower() in wanted:
            yield key.lower(), value.strip()


def _folder_of(module: str) -> Path | None:
    """The folder of a module's file, found without importing its parents (which `importlib.util.find_spec` would)."""
    places: list[str] | None = None
    spec: ModuleSpec | None = None
    path = ""
    for part in module.split("."):
        path = f"{path}.{part}" if path else part
        spec = _top_spec(path) if places is None else _inner_spec(path, places)
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or ())
    return Path(spec.origin).parent if spec is not None and spec.has_location and spec.origin else None


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
