"""What may import what, and what the public modules offer."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in (ROOT / "packages").glob("*/src") for path in package.rglob("*.py"))


def public(path: Path) -> bool:
    """Whether others import from a module: no part of its path is private, and it is no program or command."""
    parts = path.relative_to(ROOT / "packages").parts[2:]
    return not any(part.startswith("_") and part != "__init__.py" for part in parts) and "commands" not in parts


PUBLIC = [path for path in SOURCES if public(path)]


def top_level_names(tree: ast.Module) -> set[str]:
    """The names a module binds at its top level, imports included, without running it."""
    names = set()
    for node in _top_level(tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return names


def _top_level(body: list[ast.stmt]) -> list[ast.stmt]:
    nodes = []
    for node in body:
        nodes.append(node)
        if isinstance(node, ast.If | ast.Try):
            for part in (node.body, node.orelse, *([node.finalbody] if isinstance(node, ast.Try) else [])):
                nodes += _top_level(part)
    return nodes


def defined_names(tree: ast.Module) -> set[str]:
    """The functions, classes and values that a module makes; not the variables of its types, which no one imports."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not _makes_type_variable(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _makes_type_variable(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) in ("TypeVar", "TypeVarTuple", "ParamSpec")


def exports(tree: ast.Module) -> list[str] | None:
    """The list `__all__` of a module, or None if it has none."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
            value = ast.literal_eval(node.value)
            return list(value)
    return None


def rank(name: str) -> tuple[bool, bool, str]:
    """The order of `__all__`: constants, classes, functions, each alphabetically (as ruff sorts it)."""
    return not name.isupper(), not name[:1].isupper(), name


def test_import_directions_hold() -> None:
    """Every contract in pyproject.toml holds: cli and runtime on core, core's layers, nothing heavy in core."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: str(path.relative_to(ROOT / "packages")))
def test_all_is_sorted_and_real(path: Path) -> None:
    """`__all__` lists, in order and once, names that the module has; a module that defines public names has one."""
    tree = ast.parse(path.read_text())
    listed = exports(tree)
    defined = {name for name in defined_names(tree) if not name.startswith("_") and name != "TYPE_CHECKING"}
    if listed is None:
        assert not defined, f"no __all__, but public: {sorted(defined)}"
        return
    assert listed == sorted(set(listed), key=rank)
    # A package may offer names lazily, through a module-level __getattr__.
    if not any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body):
        assert set(listed) <= top_level_names(tree), "listed, but not there"
    assert defined <= set(listed), "public by its name, but not listed"


def test_importing_the_api_loads_nothing_heavy() -> None:
    """`import sage.core.api` and the client bring in none of the libraries that are slow to load."""
    heavy = ["ray", "typer", "rich", "fastapi", "uvicorn", "pydantic", "numpy", "pluggy", "importlib.metadata"]
    code = f"import sys, sage.core.api, sage.core.client; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_folder_is_a_package() -> None:
    """Below the namespace every folder with modules has an `__init__.py`: tools overlook those that have none."""
    folders = {path.parent for path in SOURCES if path.parent.name != "src"}
    assert sorted(str(folder) for folder in folders if not (folder / "__init__.py").exists()) == []


def test_the_namespace_has_no_module_of_its_own() -> None:
    """No file lies directly in the namespace `sage`, so no distribution can shadow another."""
    stray = [path for path in SOURCES if path.parent.name == "sage" and path.parent.parent.name == "src"]
    assert stray == []
