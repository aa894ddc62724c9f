"""The wheels: each holds its own portion of the namespace and nothing else, and installs and imports alone."""

from __future__ import annotations

import importlib.util
import socket
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Environment

ROOT = Path(__file__).parents[1]
PACKAGES = ["sage-core", "sage-runtime", "sage-cli", "sage-plugins-example"]
IMPORT_NAMES = {
    "sage-core": "sage.core",
    "sage-runtime": "sage.runtime",
    "sage-cli": "sage.cli",
    "sage-plugins-example": "sage_plugins_example",
}


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
    program = ROOT / "examples" / "tutorials" / "core-api" / "hello_remote_batch.py"
    venv.run("sage", "jobmanager", "start", cwd=tmp_path, variables=settings)
    try:
        assert "status: completed" in venv.run("python", program, cwd=tmp_path, variables=settings)
        assert "hello, 20" in venv.run("sage", "job", "logs", "1", cwd=tmp_path, variables=settings)
    finally:
        venv.run("sage", "jobmanager", "stop", cwd=tmp_path, variables=settings)


def test_the_conformance_kit_runs_from_the_wheel(
    wheels: Path, environment: Callable[..., Environment], tmp_path: Path
) -> None:
    """With pytest beside it and no repository, whatever the user's own tests are called."""
    venv = environment()
    venv.install(*wheels.glob("sage_core*.whl"), "pytest")
    (tmp_path / "pytest.ini").write_text("[pytest]\npython_files = spec_*.py\npython_functions = it_*\n")
    kit = ["--pyargs", "sage.core.testing.conformance", "--sage-backend", "local", "-k", "order. or contract."]
    printed = venv.run("pytest", *kit, cwd=tmp_path)
    assert "0 broken, 0 not claimed" in printed
    assert "order.path" in printed


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_the_stranger_on_the_package_index_is_not_picked(
    installer: str, wheels: Path, wheel_of_a_stranger: Callable[..., Path], environment: Callable[..., Environment]
) -> None:
    """Asked for with our bounds, `sage-cli` is ours, although the index has another project of that name."""
    bounded = "sage-cli>=0.1.0,<0.2"
    stranger = wheel_of_a_stranger("sage-cli", "0.0.4", {"stranger.py": ""})  # as the package index has it
    places = ["--find-links", str(stranger.parent), "--find-links", str(wheels)]
    if installer == "uv":
        venv = environment()
        venv.install("--no-deps", *places, bounded)
    else:
        venv = environment("--seed")
        venv.run("python", "-m", "pip", "install", "--quiet", "--no-deps", *places, bounded)
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


def test_a_package_named_sage_beside_the_wheels_is_told_of(
    wheels: Path, wheel_of_a_stranger: Callable[..., Path], environment: Callable[..., Environment]
) -> None:
    """What another distribution has put into SAGE's package is found by the doctor; if it does harm, by any command."""
    venv = environment()
    stranger = {"sage/__init__.py": "import os\nif 'BREAK' in os.environ: raise ImportError('no algebra')\n"}
    venv.install(*wheels.glob("sage_c*.whl"), wheel_of_a_stranger("algebra", "1.0", stranger))
    assert "sage-core" in venv.run("sage", "version")
    told = venv.run("sage", "plugins", "doctor", status=10)
    assert "sage/__init__.py (installed by algebra) is not SAGE's" in told
    assert "hint: install SAGE into a virtual environment of its own" in told
    told = venv.run("sage", "version", status=9, variables={"BREAK": "1"})
    assert "error: SAGE cannot be loaded: no algebra" in told
    assert "(installed by algebra) is not SAGE's" in told
    venv.uninstall("algebra")
    venv.run("sage", "plugins", "doctor")


REMOTE = """
from sage.core.api import RemoteEnvironment
with RemoteEnvironment("shop", "127.0.0.1", {port}) as env:
    env.from_batch([1]).print()
    env.submit(autostop=True)
"""


def test_what_is_missing_is_named_by_what_brings_it(
    wheels: Path, environment: Callable[..., Environment], tmp_path: Path
) -> None:
    """With core alone, then with a plugin, then with the command, but never with a JobManager to be started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        program = REMOTE.format(port=taken.getsockname()[1])  # where nobody listens, once this block is left
    settings = {"SAGE_HOME": str(tmp_path / "home")}

    def fails(*command: str, status: int = 1) -> str:
        return venv.run(*command, status=status, variables=settings)

    venv = environment()
    venv.install(*wheels.glob("sage_core*.whl"))
    assert "hint: start it: pip install sage-cli sage-runtime, then sage jobmanager start" in fails(
        "python", "-c", program
    )
    code = "from sage.core.testing import ThrowAwayJobManager as Manager; Manager()"
    assert "hint: pip install sage-runtime" in fails("python", "-c", code)
    venv.install(*wheels.glob("sage_plugins_example*.whl"))
    code = "from sage_plugins_example.commands.hello import app; app(['world'])"
    assert "hint: pip install sage-cli" in fails("python", "-c", code)
    venv.install(*wheels.glob("sage_cli*.whl"))
    assert "hint: start it: pip install sage-runtime, then sage jobmanager start" in fails("python", "-c", program)
    for command in (("jobmanager", "start"), ("cluster", "status"), ("deploy", "start")):
        told = fails("sage", *command, status=9)
        assert "comes with sage-runtime, which is not installed here\n  hint: pip install sage-runtime" in told
    venv.run("sage", "plugins", "doctor", variables=settings)
