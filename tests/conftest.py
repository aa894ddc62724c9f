"""What tests of the wheels share: the wheels, those of strangers, and fresh environments to install them into."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["sage-core", "sage-runtime", "sage-cli", "sage-plugins-example"]

IMPORT_ALL = """
import importlib, pkgutil, sys
root = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
    # Modules that are programs would run; command modules need the Typer of sage-cli and are imported by it alone.
    if module.name.endswith("__main__") or module.name.startswith("sage.runtime.commands"):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:  # what pytest alone imports may do so, too
        if error.name != "pytest" or not module.name.startswith("sage.core.testing."):
            raise
print(root.__name__)
"""


def run(
    *command: str | Path, cwd: Path | None = None, status: int = 0, variables: Mapping[str, str] | None = None
) -> str:
    """What a command prints to standard output, and where it has to fail to standard error as well.

    The test fails with all that was printed if the exit status is another.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SAGE_", "PYTHONPATH"))}
    clean |= {"VIRTUAL_ENV": "", **(variables or {})}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=clean, cwd=cwd)
    assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr if status else done.stdout


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

    def run(
        self,
        program: str,
        *arguments: str | Path,
        cwd: Path | None = None,
        status: int = 0,
        variables: Mapping[str, str] | None = None,
    ) -> str:
        """What one of its programs prints."""
        return run(self.folder / "bin" / program, *arguments, cwd=cwd, status=status, variables=variables)

    def import_all(self, name: str) -> None:
        assert self.run("python", "-I", "-c", IMPORT_ALL, name).split()[-1] == name

    def installed_version(self, package: str) -> str:
        code = f"from importlib.metadata import version; print(version({package!r}))"
        return self.run("python", "-I", "-c", code).strip()

    @property
    def namespace(self) -> set[str]:
        """What lies in the folder `sage` of its site-packages."""
        folders = list(self.folder.glob("lib/python*/site-packages/sage"))
        return {path.name for folder in folders for path in folder.iterdir() if path.name != "__pycache__"}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels and source distributions of all four packages, just built."""
    folder = tmp_path_factory.mktemp("wheels")
    for package in PACKAGES:
        run(sys.executable, "-m", "hatchling", "build", "--directory", folder, cwd=ROOT / "packages" / package)
    return folder


@pytest.fixture
def wheel_of_a_stranger(tmp_path: Path) -> Callable[..., Path]:
    """Makes a wheel of a distribution that is not SAGE's: its name, its version, and its files with their text."""
    folder = tmp_path / "strangers"
    folder.mkdir()

    def make(name: str, version: str, files: Mapping[str, str]) -> Path:
        stem = f"{name.replace('-', '_')}-{version}"
        info = f"{stem}.dist-info"
        held = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        held[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*held, f"{info}/RECORD"])
        wheel = folder / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for path, text in held.items():
                archive.writestr(path, text)
        return wheel

    return make


@pytest.fixture
def environment(tmp_path: Path) -> Callable[..., Environment]:
    """Makes the environment of the test; its argument are options of `uv venv`."""

    def make(*options: str) -> Environment:
        return Environment(tmp_path / "venv", *options)

    return make


@pytest.fixture(scope="module")
def outside(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An outsider's environment: the example with what its tests need, and the bytecode that an installer makes."""
    venv = Environment(tmp_path_factory.mktemp("outside") / "venv")
    example = f"{next(wheels.glob('sage_plugins_example-*.whl'))}[test]"
    venv.install("--compile-bytecode", *wheels.glob("sage_c*.whl"), *wheels.glob("sage_runtime-*.whl"), example)
    return venv
