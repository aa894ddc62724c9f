"""Look into a folder of built wheels and source distributions; exit code 1 names what does not belong there."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

__all__ = ["problems"]

NAMESPACE_FILES = {"sage/__init__.py", "sage/py.typed"}
"""No wheel may hold these: they would end the namespace `sage`, or be owned by two distributions."""

PORTIONS = {
    "sage_core": {"sage/core"},
    "sage_runtime": {"sage/runtime"},
    "sage_cli": {"sage/cli", "_sage_boot.py"},
    "sage_plugins_example": {"sage_plugins_example"},
}
"""What each wheel may hold, beside its metadata, as path prefixes."""


def problems(dist: Path) -> list[str]:
    """Everything that is wrong with the distributions in a folder, one line each."""
    found = []
    for name, portions in PORTIONS.items():
        wheels = sorted(dist.glob(f"{name}-*.whl"))
        sources = sorted(dist.glob(f"{name}-*.tar.gz"))
        if len(wheels) != 1:
            found.append(f"{name}: expected one wheel, found {[path.name for path in wheels]}")
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                found += [f"{wheel.name}: {problem}" for problem in _wheel_problems(archive.namelist(), portions)]
        for source in sources:
            with tarfile.open(source) as archive:
                members = {member.split("/", 1)[-1] for member in archive.getnames()}
            missing = {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} - members
            found += [f"{source.name}: lacks {member}" for member in sorted(missing)]
    return found


def _wheel_problems(members: list[str], portions: set[str]) -> list[str]:
    found = []
    for member in members:
        belongs = ".dist-info/" in member or any(
            member == portion or member.startswith(f"{portion}/") for portion in portions
        )
        if member in NAMESPACE_FILES:
            found.append(f"holds {member}, which no distribution may own")
        elif not belongs:
            found.append(f"holds {member}, which is none of its own")
    folders = [portion for portion in portions if not portion.endswith(".py")]
    found += [f"lacks {folder}/py.typed" for folder in folders if f"{folder}/py.typed" not in members]
    if not any(member.endswith(".dist-info/licenses/LICENSE") for member in members):
        found.append("lacks the license")
    return found


if __name__ == "__main__":
    complaints = problems(Path(sys.argv[1]))
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    if not complaints:
        print(f"{sys.argv[1]}: nothing in it that does not belong there")
    sys.exit(1 if complaints else 0)
