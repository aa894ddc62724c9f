"""The entry of the ``sage`` command, outside the ``sage`` namespace on purpose.

Any regular module or package named ``sage`` on ``sys.path`` hides the namespace package of this project, and a
module inside the namespace could not say so any more. This one looks first, without running the stranger.
"""

from __future__ import annotations

import gc
import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ["intruder", "main"]

_OURS = frozenset({"sage-core", "sage-runtime", "sage-cli"})


def main() -> int:
    """Run the ``sage`` command and return its exit code."""
    stranger = _stranger()
    if stranger is not None:
        print(f"error: {stranger}", file=sys.stderr)
        return 9
    # A command makes its objects once and ends: looking for garbage among them while it starts, and once more when
    # the interpreter ends, takes a fifth of a short command's time. Long ones still collect.
    gc.set_threshold(50_000)
    try:
        from sage.cli.main import main as run
    except Exception as error:
        within = intruder()
        if within is None:
            raise
        print(f"error: SAGE cannot be loaded: {error}\n{within}", file=sys.stderr)
        return 9
    try:
        return run()
    finally:
        gc.freeze()


def intruder() -> str | None:
    """What of a stranger lies within SAGE's own package, in words; None if nothing does.

    Two distributions that are installed into the same folder share their packages: SAGE is found, but so is the
    stranger's ``sage/__init__.py``, which SAGE does not have.
    """
    spec = find_spec("sage")
    if spec is None or spec.origin is None:
        return None
    return (
        f"{spec.origin}{_owners()} is not SAGE's: whatever imports SAGE runs it, and files beside it may stand in for "
        "SAGE's own\n  hint: install SAGE into a virtual environment of its own"
    )


def _stranger() -> str | None:
    """What hides the namespace, in words; None if nothing does."""
    spec = find_spec("sage")  # of a top-level name: runs nothing
    if spec is None:
        return "no part of SAGE can be found; is this the Python that sage-cli was installed into?"
    if spec.origin is None or any((Path(place) / "cli" / "main.py").is_file() for place in _places(spec)):
        return None
    return (
        f"{spec.origin}{_owners()} hides SAGE's own 'sage' package\n"
        "  hint: rename or remove it, take it off PYTHONPATH, or install SAGE into a virtual environment of its own"
    )


def _places(spec: object) -> list[str]:
    return list(getattr(spec, "submodule_search_locations", None) or ())


def _owners() -> str:
    """The distributions that installed the stranger; slow, so only asked once there is one."""
    from importlib.metadata import packages_distributions

    owners = sorted(set(packages_distributions().get("sage", [])) - _OURS)
    return f" (installed by {', '.join(owners)})" if owners else ""
