"""The wheels: each holds its own portion of the namespace and nothing else, and installs and imports alone."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["sage-core", "sage-runtime", "sage-cli", "sage-plugins-example"]
IMPORT_NAMES = {
    "sage-core": "sage.core",
    "sage-runtime": "sage.runtime",
    "sage-cli": "sage.cli",
    "sage-plugins-example": "sage_plugins_example",
}

IMPORT_ALL = """
import importlib, pkgutil, sys
root = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
    # Modules that are programs would run; command modules need the Typer of sage-cli and are imported by it alone, and
    # so are those for pytest.
    others = ("sage.runtime.commands", "sage.core.testing.pytest_plugin", "sage.core.testing.conformance.")
    if not module.name.endswith("__main__") and not module.name.startswith(others):
        importlib.import_module(module.name)
print(root.__name__)
"""


def run(*command: str | Path, cwd: Path | None = None, **variables: str) -> str:
    """Standard output of a command; the test fails with all that it printed if it fails."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SAGE_", "PYTHONPATH"))}
    clean |= {"VIRTUAL_ENV": "", **variables}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=clean, cwd=cwd)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels and source distributions of all four packages, just built."""
    folder = tmp_path_factory.mktemp("wheels")
    for package in PACKAGES:
        run(sys.executable, "-m", "hatchling", "build", "--directory", folder, cwd=ROOT / "packages" / package)
    return folder


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A folder with a wheel of the unrelated `sage-cli` 0.0.4, as the package index has it."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "sage_cli-0.0.4.dist-info"
    with zipfile.ZipFile(folder / "sage_cli-0.0.4-py3-none-any.whl", "w") as archive:
        archive.writestr("stranger.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: sage-cli\nVersion: 0.0.4\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"stranger.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return folder


class Environment:
    """A fresh virtual environment, served by uv."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        run(sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, *options, folder)

    def install(self, *arguments: str | Path) -> None:
        run(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", self.python, *arguments)

    def uninstall(self, package: str) -> None:
        run(sys.executable, "-m", "uv", "pip", "uninstall", "--quiet", "--python", self.python, package)

    def import_all(self, name: str) -> None:
        assert run(self.python, "-I", "-c", IMPORT_ALL, name).split()[-1] == name

    def installed_version(self, package: str) -> str:
        code = f"from importlib.metadata import version; print(version({package!r}))"
        return run(self.python, "-I", "-c", code).strip()

    @property
    def namespace(self) -> set[str]:
        """What lies in the folder `sage` of its site-packages."""
        folders = list(self.folder.glob("lib/python*/site-packages/sage"))
        return {path.name for folder in folders for path in folder.iterdir() if path.name != "__pycache__"}


@pytest.fixture
def environment(tmp_path: Path) -> Callable[..., Environment]:
    def make(*options: str) -> Environment:
        return Environment(tmp_path / "venv", *options)

    return make


def load_check_dist() -> Callable[[Path], list[str]]:
    spec = importlib.util.spec_from_file_location("check_dist", ROOT / "tests" / "check_dist.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    check: Callable[[Path], list[str]] = module.problems
    return check


def test_each_wheel_holds_its_own_portion_only(wheels: Path) -> None:
    """No wheel lists a file of the bare namespace or of another distribution; all carry types and license."""
    assert load_check_dist()(wheels) == []


def test_a_stray_namespace_file_is_noticed(wheels: Path, tmp_path: Path) -> None:
    """The guard itself names a wheel that holds `sage/__init__.py` or `sage/py.typed`."""
    for wheel in wheels.glob("*.whl"):
        (tmp_path / wheel.name).write_bytes(wheel.read_bytes())
    with zipfile.ZipFile(next(tmp_path.glob("sage_cli-*.whl")), "a") as archive:
        archive.writestr("sage/__init__.py", "")
        archive.writestr("sage/py.typed", "")
    found = load_check_dist()(tmp_path)
    assert [problem.split(" holds ")[1].split(",")[0] for problem in found] == ["sage/__init__.py", "sage/py.typed"]


@pytest.mark.parametrize("package", PACKAGES)
def test_each_distribution_installs_and_imports_alone(
    package: str, wheels: Path, environment: Callable[..., Environment]
) -> None:
    """In a fresh environment with one distribution (and what it requires), every module of it imports."""
    venv = environment()
    venv.install("--find-links", wheels, next(wheels.glob(f"{package.replace('-', '_')}-*.whl")))
    venv.import_all(IMPORT_NAMES[package])
    own = {"sage-core": {"core"}, "sage-runtime": {"core", "runtime"}, "sage-cli": {"core", "cli"}}
    assert venv.namespace == own.get(package, {"core"})


@pytest.mark.parametrize("leaving", ["sage-runtime", "sage-cli"])
def test_one_is_uninstalled_from_under_the_others(
    leaving: str, wheels: Path, environment: Callable[..., Environment]
) -> None:
    """Uninstalling one distribution takes its own folder along and leaves the others importable."""
    venv = environment()
    venv.install(*[path for path in wheels.glob("*.whl") if "plugins" not in path.name])
    assert venv.namespace == {"core", "runtime", "cli"}
    venv.uninstall(leaving)
    rest = {"sage-core", "sage-runtime", "sage-cli"} - {leaving}
    assert venv.namespace == {package.removeprefix("sage-") for package in rest}
    for package in sorted(rest):
        venv.import_all(IMPORT_NAMES[package])


def test_a_pipeline_runs_from_the_wheels(wheels: Path, environment: Callable[..., Environment], tmp_path: Path) -> None:
    """Installed from wheels, away from the sources, a JobManager starts, runs a program's job and stops."""
    venv = environment()
    venv.install(*[path for path in wheels.glob("*.whl") if "plugins" not in path.name])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    settings = {"SAGE_HOME": str(tmp_path / "home"), "SAGE_DAEMON__PORT": port}
    sage = venv.folder / "bin" / "sage"
    program = ROOT / "examples" / "tutorials" / "core-api" / "hello_remote_batch.py"
    run(sage, "jobmanager", "start", cwd=tmp_path, **settings)
    try:
        assert "status: completed" in run(venv.python, program, cwd=tmp_path, **settings)
        assert "hello, 20" in run(sage, "job", "logs", "1", cwd=tmp_path, **settings)
    finally:
        run(sage, "jobmanager", "stop", cwd=tmp_path, **settings)


def test_the_conformance_kit_runs_from_the_wheel(
    wheels: Path, environment: Callable[..., Environment], tmp_path: Path
) -> None:
    """With pytest beside it and no repository, whatever the user's own tests are called."""
    venv = environment()
    venv.install(*wheels.glob("sage_core*.whl"), "pytest")
    (tmp_path / "pytest.ini").write_text("[pytest]\npython_files = spec_*.py\npython_functions = it_*\n")
    kit = ["--pyargs", "sage.core.testing.conformance", "--sage-backend", "local", "-k", "order. or contract."]
    printed = run(venv.folder / "bin" / "pytest", *kit, cwd=tmp_path)
    assert "0 broken, 0 not claimed" in printed
    assert "order.path" in printed


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_the_stranger_on_the_package_index_is_not_picked(
    installer: str, wheels: Path, stranger: Path, environment: Callable[..., Environment]
) -> None:
    """Asked for with our bounds, `sage-cli` is ours, although the index has another project of that name."""
    bounded = "sage-cli>=0.1.0,<0.2"
    places = ["--find-links", str(stranger), "--find-links", str(wheels)]
    if installer == "uv":
        venv = environment()
        venv.install("--no-deps", *places, bounded)
    else:
        venv = environment("--seed")
        run(venv.python, "-m", "pip", "install", "--quiet", "--no-deps", *places, bounded)
    assert venv.installed_version("sage-cli") == "0.1.0"
    assert venv.namespace == {"cli"}


def test_requirements_on_siblings_have_both_bounds() -> None:
    """Every requirement of one of our packages on another admits one minor version and nothing older or newer."""
    unbounded = []
    for package in PACKAGES:
        project = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())["project"]
        extras = [item for items in project.get("optional-dependencies", {}).values() for item in items]
        for requirement in [*project["dependencies"], *extras]:
            if requirement.startswith("sage-") and not requirement.endswith(">=0.1.0,<0.2"):
                unbounded.append(f"{package}: {requirement}")
    assert unbounded == []


def test_licenses_are_one_text() -> None:
    """Each package carries the repository's license, since a distribution can only hold files below itself."""
    text = (ROOT / "LICENSE").read_bytes()
    assert all((ROOT / "packages" / package / "LICENSE").read_bytes() == text for package in PACKAGES)
