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

import sage.core

MANY = 50
ROUNDS = 15

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
began, used = time.perf_counter(), time.process_time()
backend("bench")
first, busy = time.perf_counter(), time.process_time()
backend("bench")
print(json.dumps([first - began, busy - used, time.perf_counter() - first]))
"""

SUBMIT = """
import time
from sage.core.api import LocalEnvironment
from sage.core.plugins import metadata
%s
for name in ("warm", "tiny"):
    env = LocalEnvironment(name)
    env.from_batch([1]).sink(abs)
    began = time.perf_counter()
    env.submit(autostop=True)
    if name == "warm":
        %s
print(json.dumps([time.perf_counter() - began]))
"""
LOOKS = SUBMIT % ("", "metadata._scanned = None")
KNOWS = SUBMIT % ("metadata._scanned = (tuple(sys.path), {})", "pass")  # as if it were known that there are none


def install(place: Path, name: str, group: str, code: str) -> None:
    """A distribution with one plugin, in a folder for PYTHONPATH."""
    info = place / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nSummary: What {name} does.\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}_{group.rpartition('.')[2][:-1]}\n")
    (place / f"{name}_{group.rpartition('.')[2][:-1]}.py").write_text(code)


def command(*arguments: str, place: Path | None = None) -> Callable[[], object]:
    env = dict(os.environ)
    if place is not None:
        env["PYTHONPATH"] = os.pathsep.join([str(place), env.get("PYTHONPATH", "")])
    return lambda: subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, env=env)


def isolated(place: Path) -> Path:
    """A folder with sage-core and what it needs, but no distribution that has hooks."""
    (place / "sage").mkdir(parents=True)
    (place / "sage" / "core").symlink_to(Path(next(iter(sage.core.__path__))))
    packages = ("pluggy", "cloudpickle", "yaml")
    for found in (found for path in map(Path, sys.path) if path.name == "site-packages" for found in path.iterdir()):
        claims = found / "entry_points.txt"
        is_plain = found.suffix == ".dist-info" and not (claims.exists() and b"[sage." in claims.read_bytes())
        if is_plain or found.name in packages:
            (place / found.name).symlink_to(found)
    return place


def told(
    code: str, place: Path, names: tuple[str, ...], rounds: int = ROUNDS, *, bare: bool = False
) -> Mapping[str, list[float]]:
    """What a program prints of itself, in fresh processes."""
    found: dict[str, list[float]] = {name: [] for name in names}
    more = "" if bare else os.environ.get("PYTHONPATH", "")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), more])}
    for _ in range(rounds):
        command = [sys.executable, *(["-S"] if bare else []), "-c", f"import json, sys\n{code}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
        for name, seconds in zip(names, json.loads(done.stdout), strict=True):
            found[name].append(seconds)
    return found


def main() -> None:
    command_line = str(Path(sys.executable).with_name("sage"))
    with tempfile.TemporaryDirectory(prefix="sage-bench-") as folder:
        os.environ["SAGE_HOME"] = folder
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder, "bytecode"))  # wherever it may not be written
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        empty, none, many = Path(folder, "empty.py"), Path(folder, "none"), Path(folder, "many")
        empty.write_text(EMPTY_APP)
        for number in range(MANY):
            install(many, f"bench{number}", "sage.commands", "raise RuntimeError('never imported')")
        install(none, "bench", "sage.backends", BACKEND)
        help_with, help_without = f"sage --help, {MANY} plugins more", "sage --help"
        measured = in_turn(
            {
                "empty Typer app --help": command(sys.executable, str(empty), "--help"),
                help_without: command(command_line, "--help"),
                help_with: command(command_line, "--help", place=many),
            },
            rounds=ROUNDS,
        )
        report(
            "help and plugins",
            measured,
            [
                (help_without, "empty Typer app --help", "sage --help against an empty --help"),
                (help_with, "empty Typer app --help", f"the same with {MANY} plugins more"),
            ],
        )
        names = ("backend by name, first in a process", "of that, time of the processor", "the same again")
        report("resolving a backend, its own import left out", told(RESOLVE, none, names), [])
        looked, known = "submit that looks for plugins", "submit that knows there are none"
        alone = isolated(Path(folder, "alone"))
        submits: dict[str, list[float]] = {looked: [], known: []}
        for _ in range(ROUNDS):
            for name, code in ((looked, LOOKS), (known, KNOWS)):
                submits[name] += told(code, alone, (name,), rounds=1, bare=True)[name]
        report("a tiny local job where no plugin has hooks", submits, [(looked, known, "what the first look costs")])


if __name__ == "__main__":
    main()
