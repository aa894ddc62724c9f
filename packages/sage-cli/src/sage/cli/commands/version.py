"""`sage version`."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import typer

from sage.cli.context import current
from sage.cli.render.parts import Fields, Part
from sage.core.versions import version_of

app = typer.Typer()

_DISTRIBUTIONS = ("sage-cli", "sage-core", "sage-runtime")


@dataclass(frozen=True)
class Version:
    """What runs here. ``distributions`` maps names to versions, None for what is not installed."""

    sage: str
    distributions: dict[str, str | None]
    python: str
    implementation: str


@app.command()
def version() -> None:
    """Show the versions of SAGE's distributions and of Python."""
    found = {name: version_of(name) for name in _DISTRIBUTIONS}
    current().emit(
        Version(found["sage-cli"] or "unknown", found, platform.python_version(), sys.implementation.name),
        view=_view,
    )


def _view(found: Version) -> Sequence[Part]:
    rows = [(name, at or "not installed") for name, at in found.distributions.items()]
    return [Fields([*rows, (found.implementation, found.python)])]
