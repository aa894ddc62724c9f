"""What can be done with this checkout. `dev.py` sets nox up and runs it; see CONTRIBUTING.md."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.5"
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "tests"]

ROOT = Path(__file__).parent
PACKAGES = ["sage-core", "sage-runtime", "sage-cli", "sage-plugins-example"]
SOURCES = [ROOT / "packages" / package / "src" for package in PACKAGES]
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")


def prepare(session: nox.Session, *groups: str) -> None:
    """Install the four packages (editable) and some dependency groups, unless that is what the environment holds.

    nox reuses an environment but still runs every install in it; the stamp spares that. Bytecode is compiled
    here because the tests start many short-lived processes, and some environments forbid Python to write it.
    """
    for name in [name for name in os.environ if name.startswith("SAGE_") or name in {"PYTHONPATH", "PYTHONHOME"}]:
        session.env[name] = None
    requirements = [item for group in groups for item in nox.project.dependency_groups(PYPROJECT, group)]
    editable = [argument for package in PACKAGES for argument in ("-e", str(ROOT / "packages" / package))]
    inputs = [ROOT / "noxfile.py", ROOT / "pyproject.toml", *sorted(ROOT.glob("packages/*/pyproject.toml"))]
    digest = hashlib.sha256("\n".join([str(ROOT), sys.version, sys.base_prefix, *requirements]).encode())
    for path in inputs:
        digest.update(path.read_bytes())
    stamp = Path(session.virtualenv.location, ".inputs.sha256")
    if not stamp.exists() or stamp.read_text() != digest.hexdigest():
        # One command for all: asked for alone, each would be looked for on the package index.
        session.install(*editable, *requirements, env={"UV_COMPILE_BYTECODE": "1"})
        stamp.write_text(digest.hexdigest())
    session.run("python", "-m", "compileall", "-q", *map(str, SOURCES), silent=True)


@nox.session
def demo(session: nox.Session) -> None:
    """Start a JobManager, run two pipelines on it, show what it knows of them, stop it."""
    prepare(session)
    session.run("python", "examples/demo.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests, or those that pytest is asked for after `--`."""
    prepare(session, "tests")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and import directions."""
    prepare(session, "tests", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")  # the packages named in pyproject.toml
    roots = [ROOT / "tests", ROOT / "examples", *ROOT.glob("packages/*/tests"), ROOT / "benchmarks"]
    for folder in sorted({path.parent for root in roots for path in root.rglob("*.py")}):
        # One folder a call: test modules of the same name (conftest) in two folders are two modules.
        files = [str(path.relative_to(ROOT)) for path in sorted(folder.glob("*.py"))]
        session.run("mypy", *files, env={"MYPYPATH": str(folder)})
    session.run("mypy", "noxfile.py")
    session.run("mypy", "dev.py")
    session.run("lint-imports", "--no-cache")


@nox.session
def docs(session: nox.Session) -> None:
    """Run the code in the documentation and check that its links lead somewhere."""
    prepare(session, "tests")
    session.run("python", "-m", "pytest", "tests/test_docs.py", *session.posargs)


@nox.session
def simulate(session: nox.Session) -> None:
    """Run random pipelines under random schedules: `-- COUNT FIRST` seeds (2000 from 0), or replay `-- --seed N`."""
    prepare(session)
    session.run("python", "packages/sage-core/tests/simulate.py", *(session.posargs or ["2000"]))


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks (all, or those named after `--`): tables to read, and JSON lines for machines."""
    prepare(session, "bench")
    named = [ROOT / "benchmarks" / f"{name.removesuffix('.py')}.py" for name in session.posargs]
    for script in named or sorted((ROOT / "benchmarks").glob("[!_]*.py")):
        session.run("python", str(script))


PEERS = {
    "bytewax": "bytewax>=0.21,<0.22",
    "streamz": "streamz>=0.6.6,<0.7",
    "pathway": "pathway>=0.33,<0.34",
    "beam": "apache-beam>=2.77,<2.78",
    "flink": "apache-flink>=2.3,<2.4",
}
"""What SAGE is measured beside. Their requirements exclude each other. Flink needs a Java runtime besides."""

NEXMARK_PEERS = {"bytewax", "flink"}


@nox.session
def bench_peers(session: nox.Session) -> None:
    """Run the benchmarks that set SAGE beside its peers, each of which gets an environment of its own.

    After `--` may stand works (W1 …) and queries of NEXMARK (q0 …); without any, all are run.
    """
    prepare(session, "bench")
    pythons = {}
    for peer, requirement in PEERS.items():
        folder = Path(session.virtualenv.location, "peers", peer)
        python = folder / "bin" / "python"
        if not python.exists():
            session.run("python", "-m", "venv", str(folder))
        done = folder / ".requirement"
        if not done.exists() or done.read_text() != requirement:
            install = [str(python), "-m", "pip", "install", "--quiet", requirement, "numpy"]
            try:
                session.run(*install, external=True)
            except CommandFailed:  # not every peer is to be had for every Python; the others are measured all the same
                session.warn(f"{requirement} cannot be installed here")
                continue
            done.write_text(requirement)
        pythons[peer] = f"{peer}={python}"
    works = [item for item in session.posargs if item.startswith("W")]
    queries = [item for item in session.posargs if item.startswith("q")]
    if works or not queries:
        beside = [python for peer, python in pythons.items() if peer != "flink"]
        session.run("python", "benchmarks/peers.py", *beside, *works)
    if queries or not works:
        beside = [python for peer, python in pythons.items() if peer in NEXMARK_PEERS]
        session.run("python", "benchmarks/nexmark.py", *beside, *queries)


@nox.session
def build(session: nox.Session) -> None:
    """Build wheels and source distributions of the four packages into `dist/` and look into them."""
    prepare(session, "build")
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    for package in PACKAGES:
        with session.chdir(ROOT / "packages" / package):
            session.run("python", "-m", "hatchling", "build", "--directory", str(dist))
    session.run("python", "tests/check_dist.py", str(dist))
