"""Runs the programs of SAGE and its peers, each in a child process of the Python that has the peer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["chosen", "run"]

_PROGRAMS = Path(__file__).with_name("peer_programs")
_TIMEOUT = 600.0


def chosen(arguments: list[str], known: Mapping[str, str]) -> tuple[Mapping[str, str], list[str]]:
    """Of ``PEER=PYTHON …`` and names of works: the Python of each peer, SAGE's first; and those works, or all."""
    pythons = {"sage": sys.executable, **dict(item.split("=", 1) for item in arguments if "=" in item)}
    return pythons, [item for item in arguments if item in known] or list(known)


def run(program: str, peer: str, python: str, work: str, path: Sequence[Path] = ()) -> Mapping[str, Any] | None:
    """What a peer's program measured; None, and the reason printed, if it failed.

    Args:
        program: what its name begins with; the peer follows.
        peer: which one.
        python: the interpreter that has it.
        work: what the program is to do.
        path: folders of modules that it imports. What is to be found here besides is for SAGE alone.
    """
    folders = [*map(str, path), os.environ.get("PYTHONPATH", "") if peer == "sage" else ""]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": os.pathsep.join(filter(None, folders))}
    command = [python, str(_PROGRAMS / f"{program}_{peer}.py"), work]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, env=environment)
    except subprocess.TimeoutExpired:
        print(f"  {peer} {work}: not done after {_TIMEOUT:.0f} s")
        return None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        print(f"  {peer} {work}: {reason:.200}")
        return None
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
