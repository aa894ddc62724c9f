"""Reads the entry points of installed distributions, without `importlib.metadata` where folders will do.

Importing that module takes ten times as long as looking into the folders of ``sys.path`` does, and a small job in this
process takes less than either. Where something else than folders may hold distributions (a zip file, an egg, a finder
of its own), it is asked all the same. What counts is the same as there: the first distribution of a name on
``sys.path``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sage.core.plugins.tracing import traced
from sage.core.versions import version_of

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["BUILT_IN", "Claim", "canonical", "distribution_of", "find", "groups", "headers", "is_claimed", "scan"]

_INFO = (".dist-info", ".egg-info")


class Claim(NamedTuple):
    """One entry point of one distribution.

    Attributes:
        group: ``sage.backends``, for one.
        name: what users type.
        value: ``package.module`` or ``package.module:object``.
        info: the folder of the distribution's metadata, or the distribution itself where that is no folder. None for
            what sage-core itself brings, which is known without looking.
    """

    group: str
    name: str
    value: str
    info: Path | Distribution | None = None

    @property
    def module(self) -> str:
        return self.value.partition("[")[0].partition(":")[0].strip()

    def read_text(self, name: str) -> str:
        """A file of the distribution's metadata; empty where there is none."""
        if isinstance(self.info, Path):
            try:
                return (self.info / name).read_text(encoding="utf-8", errors="replace")
            except OSError:
                return ""
        return (self.info.read_text(name) or "") if self.info is not None else ""

    def load(self) -> Any:
        """Import what it leads to.

        Raises:
            ValueError: it is malformed.
            Exception: whatever importing raises.
        """
        module, separated, attribute = (part.strip() for part in self.value.partition("[")[0].partition(":"))
        names = [*module.split("."), *(attribute.split(".") if separated else [])]
        if not all(name.isidentifier() for name in names):
            raise ValueError(f"{self.value!r} is neither package.module nor package.module:object")
        found: Any = import_module(module)
        for name in attribute.split(".") if separated else ():
            found = getattr(found, name)
        return found


BUILT_IN = {
    ("sage.backends", name): Claim("sage.backends", name, f"sage.core.backends.{name}") for name in ("inline", "local")
}
"""What sage-core brings itself, as its metadata says. Found without a look at that; its names win over any other's."""


def is_claimed(group: str) -> bool:
    """Whether any distribution has entry points of a group."""
    return bool(scan(group))


def scan(group: str) -> Mapping[str, Sequence[Claim]]:
    """The claims of a group by name; more than one where distributions claim the same.

    Folders are read once, and again when ``sys.path`` has changed.
    """
    return _all_claims().get(group, {})


def find(group: str, name: str, value: str, distribution: str) -> Claim:
    """The claim that a distribution makes.

    Raises:
        LookupError: it makes none.
    """
    for claim in scan(group).get(name, ()):
        if claim.value == value and distribution_of(claim)[0] == distribution:
            return claim
    raise LookupError(f"{name} of {distribution} is gone")


def groups() -> Sequence[str]:
    """All groups with names like SAGE's that anything is claimed in, those included that SAGE does not know."""
    return sorted(_all_claims())


def _all_claims() -> Mapping[str, Mapping[str, Sequence[Claim]]]:
    global _scanned
    path = tuple(sys.path)
    if _scanned is None or _scanned[0] != path:
        with traced(lambda: f"read what is installed in {len(path)} places"):
            _scanned = (path, _sorted(_from_folders(path) if _is_usual(path) else _from_importlib()))
    return _scanned[1]


_scanned: tuple[tuple[str, ...], Mapping[str, Mapping[str, Sequence[Claim]]]] | None = None


def canonical(name: str) -> str:
    """A distribution's name as it compares: ``Sage_Plugins.Example`` is ``sage-plugins-example``."""
    return name.lower().replace("_", "-").replace(".", "-")


def distribution_of(claim: Claim) -> tuple[str, str]:
    """Name and version of the distribution that makes a claim. Reads its metadata: not for listings."""
    if claim.info is None:
        return "sage-core", version_of("sage-core") or "?"
    facts = dict(headers(claim, ("name", "version")))
    folder = claim.info.name.rpartition(".")[0] if isinstance(claim.info, Path) else ""
    name, _, version = folder.partition("-")  # should METADATA not be there
    return facts.get("name") or name or "a distribution without a name", facts.get("version") or version or "?"


def headers(claim: Claim, wanted: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Fields at the top of METADATA. `Distribution.metadata` would parse the whole description with `email`."""
    for line in (claim.read_text("METADATA") or claim.read_text("PKG-INFO")).splitlines():
        if not line.strip():
            return
        key, _, value = line.partition(":")
        if key.lower() in wanted:
            yield key.lower(), value.strip()


def _is_usual(path: Sequence[str]) -> bool:
    """Whether folders are all that can hold distributions."""
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    named = {getattr(finder, "__name__", "") for finder in finders}
    return named <= {"PathFinder"} and not any(
        place.endswith(".egg") or Path(place).is_file() for place in path if place
    )


def _from_folders(path: Sequence[str]) -> Iterator[Claim]:
    seen: set[str] = set()
    for place in path:
        try:
            with os.scandir(place or ".") as items:
                names = sorted(item.name for item in items if item.name.endswith(_INFO))
        except OSError:  # it is not there, which is usual, or not ours to read
            continue
        for name in names:
            owner = canonical(name.rpartition(".")[0].partition("-")[0])
            if owner not in seen:
                seen.add(owner)
                yield from _from_folder(f"{place or '.'}/{name}")


def _from_folder(folder: str) -> Iterator[Claim]:
    try:
        with FileIO(f"{folder}/entry_points.txt") as file:
            text = file.readall()
    except OSError:  # most have none
        return
    if b"sage." not in text:
        return
    group = ""
    for raw in text.decode("utf-8", "replace").splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif group.startswith("sage.") and "=" in line and not line.startswith(("#", ";")):
            name, _, value = (part.strip() for part in line.partition("="))
            if name:
                yield Claim(group, name, value, Path(folder))


def _from_importlib() -> Iterator[Claim]:
    from importlib.metadata import distributions

    seen: set[str] = set()
    for distribution in distributions():
        owner = canonical(distribution.metadata["Name"] or "")
        if owner in seen:
            continue
        seen.add(owner)
        try:
            entries = distribution.entry_points
        except (TypeError, ValueError):  # those of a stranger are malformed
            continue
        for entry in entries:
            if entry.group.startswith("sage."):
                yield Claim(entry.group, entry.name, entry.value, distribution)


def _sorted(claims: Iterator[Claim]) -> Mapping[str, Mapping[str, Sequence[Claim]]]:
    found: dict[str, dict[str, list[Claim]]] = {}
    for claim in claims:
        found.setdefault(claim.group, {}).setdefault(claim.name, []).append(claim)
    return found
