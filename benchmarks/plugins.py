"""What plugins cost those who do not use them, and how long it takes to find one by its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from _measure import in_turn, report
from start_times import EMPTY_APP

MANY = 50

BACKEND = """
from sage.core.plugins import backend, hookimpl

@hookimpl
def sage_backend(name, options):
    return backend("local", options)
"""

RESOLVE = """
import time
from sage.core.api import LocalEnvironment
import bench_backend, sage.core.backends.local  # the plugin's own imports do not count
from sage.core.plugins import backend
began = time.perf_counter()
backend("bench")
first = time.perf_counter()
backend("bench")
print(json.dumps([first - began, time.perf_counter() - first]))
"""

SUBMIT = """
import time
from sage.core.api import LocalEnvironment
from sage.core.plugins import metadata
%s
env = LocalEnvironment("tiny")
env.from_batch([1]).sink(abs)
began = time.perf_counter()
env.submit(autostop=True)
print(json.dumps([time.perf_counter() - began]))
"""
NOBODY = "metadata._scanned = (tuple(sys.path), {})"  # as if it were known that nothing is installed


def install(place: Path, name: str, group: str, code: str) -> None:
    """A distribution with one plugin, in a folder for PYTHONPATH."""
    info = place / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nSummary: What {name} does.\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}_{group.rpartition('.')[2][:-1]}\n")
    (place / f"{name}_{group.rpartition('.')[2][:-1]}.py").write_text(code)


def command(*arguments: str, place: Path | None = None) -> Callable[[], object]:
    env = {**os.environ, "SAGE_PLUGINS__DISABLE": "[]"}
    if place is not None:
        env["PYTHONPATH"] = os.pathsep.join([str(place), env.get("PYTHONPATH", "")])
    return lambda: subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, env=env)


def told(code: str, place: Path, names: tuple[str, ...], rounds: int = 15) -> Mapping[str, list[float]]:
    """What a program prints of itself, in fresh processes."""
    found: dict[str, list[float]] = {name: [] for name in names}
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])}
    for _ in range(rounds):
        command = [sys.executable, "-c", f"import json, sys\n{code}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
        for name, seconds in zip(names, json.loads(done.stdout), strict=True):
            found[name].append(seconds)
    return found


def main() -> None:
    sage = str(Path(sys.executable).with_name("sage"))
    with tempfile.TemporaryDirectory(prefix="sage-bench-") as folder:
        os.environ["SAGE_HOME"] = folder
        os.environ["SAGE_NO_PLUGINS"] = ""
        empty, none, many = Path(folder, "empty.py"), Path(folder, "none"), Path(folder, "many")
        empty.write_text(EMPTY_APP)
        for number in range(MANY):
            install(many, f"bench{number}", "sage.commands", "raise RuntimeError('never imported')")
        install(none, "bench", "sage.backends", BACKEND)
        help_with, help_without = f"sage --help, {MANY} plugins more", "sage --help"
        measured = in_turn(
            {
                "empty Typer app --help": command(sys.executable, str(empty), "--help"),
                help_without: command(sage, "--help"),
                help_with: command(sage, "--help", place=many),
            },
            rounds=15,
        )
        report(
            "help and plugins",
            measured,
            [
                (help_without, "empty Typer app --help", "sage --help against an empty --help"),
                (help_with, "empty Typer app --help", f"the same with {MANY} plugins more"),
            ],
        )
        first, again = "backend by name, first in a process", "the same again"
        report("resolving a backend, its own import left out", told(RESOLVE, none, (first, again)), [])
        looked, known = "first submit, looking for plugins", "first submit, told that there are none"
        submits = {
            **told(SUBMIT % "", none, (looked,)),
            **told(SUBMIT % NOBODY, none, (known,)),
        }
        report("a tiny local job where no plugin has hooks", submits, [(looked, known, "what the look costs")])


if __name__ == "__main__":
    main()
