"""A plugin's project, written from templates: it installs, and passes its tests, as it is."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template

__all__ = ["KINDS", "Names", "names_of", "write_project"]


@dataclass(frozen=True)
class _Kind:
    """What a kind of plugin adds to a project.

    Attributes:
        group: of its entry point.
        does: for the description.
        files: by template, where it goes.
        needs, tested_with: distributions that it depends on beside sage-core, and its tests do.
        usage: a line that shows it at work.
    """

    group: str
    does: str
    files: Mapping[str, str]
    usage: str
    needs: tuple[str, ...] = ()
    tested_with: tuple[str, ...] = ()


def _files(kind: str, **more: str) -> Mapping[str, str]:
    return {f"{kind}.py": f"src/${{module}}/{kind}.py", "test.py": f"tests/test_{kind}.py", **more}


KINDS: Mapping[str, _Kind] = {
    "backend": _Kind(
        "sage.backends",
        "the backend '${plugin}'",
        _files("backend"),
        'LocalEnvironment("job", backend="${plugin}")',
    ),
    "command": _Kind(
        "sage.commands",
        "the command 'sage ${plugin}'",
        {**_files("command"), "helps.json": "src/${module}/sage_commands.json"},
        "sage ${plugin} greet ada",
        needs=("typer",),
        tested_with=("sage-cli",),
    ),
    "connector": _Kind(
        "sage.connectors",
        "the connector '${plugin}'",
        _files("connector"),
        'env.from_connector("${plugin}", count=10)',
    ),
    "hook": _Kind(
        "sage.plugins",
        "hooks",
        _files("hook"),
        "any program that submits a pipeline",
    ),
}
"""What there is to choose from."""

_OWN = frozenset({"sage-cli", "sage-core", "sage-plugins-example", "sage-runtime"})
"""SAGE's distributions: installing another one of that name would remove it."""

_COMMON = {"pyproject.toml": "pyproject.toml", "README.md": "README.md", "init.py": "src/${module}/__init__.py"}


@dataclass(frozen=True)
class Names:
    """What one name leads to.

    Attributes:
        distribution: what `pip install` takes.
        module: what `import` takes.
        plugin: what users of SAGE type.
    """

    distribution: str
    module: str
    plugin: str


def names_of(name: str) -> Names:
    """The names of a project called ``name``: a plugin goes without the ``sage-`` that its distribution may have.

    Raises:
        ValueError: it cannot be a distribution's name, or not at the same time a module's.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_.][A-Za-z0-9]+)*", name):
        raise ValueError(
            "a name is made of letters and digits, begins with a letter, and may have single -, _ or . between"
        )
    distribution = re.sub(r"[-_.]+", "-", name).lower()
    module = distribution.replace("-", "_")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module == "sage":
        raise ValueError(f"{module!r} cannot be the name of its module")
    if distribution in _OWN:
        raise ValueError("it is a distribution of SAGE, and installing yours would take its place")
    return Names(distribution, module, distribution.removeprefix("sage-"))


def write_project(folder: Path, names: Names, kinds: Iterable[str]) -> Sequence[Path]:
    """Write a project into a folder that is not there yet, or empty. Returns its files.

    Raises:
        FileExistsError: there is something.
        OSError: it cannot be written.
    """
    chosen = {kind: KINDS[kind] for kind in kinds}
    values = {"distribution": names.distribution, "module": names.module, "plugin": names.plugin}

    def fill(text: str) -> str:
        return Template(text).substitute(values)

    *others, last = [fill(kind.does) for kind in chosen.values()]
    values["description"] = f"For SAGE: {' and '.join([', '.join(others), last] if others else [last])}."
    values |= _requirements(chosen.values())
    values["entry_points"] = "".join(
        f'\n[project.entry-points."{kind.group}"]\n{names.plugin} = "{names.module}.{name}"\n'
        for name, kind in chosen.items()
    )
    values["usage"] = "\nIn use:\n\n```\n" + "".join(fill(kind.usage) + "\n" for kind in chosen.values()) + "```"
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(folder)
    templates = files("sage.cli") / "templates"
    written = []
    for kind, wanted in {"project": _COMMON, **{name: kind.files for name, kind in chosen.items()}}.items():
        for template, place in wanted.items():
            path = folder / fill(place)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fill((templates / kind / f"{template}.tmpl").read_text("utf-8")), "utf-8")
            written.append(path)
    typed = folder / "src" / names.module / "py.typed"
    typed.touch()
    return [*written, typed]


def _requirements(chosen: Iterable[_Kind]) -> Mapping[str, str]:
    major, minor = version("sage-core").split(".")[:2]
    ours = f">={major}.{minor},<{major}.{int(minor) + 1}"

    def listed(names: Sequence[str]) -> str:
        return ", ".join(f'"{name}{ours}"' if name.startswith("sage-") else f'"{name}"' for name in names)

    kinds = list(chosen)
    needs = dict.fromkeys(item for kind in kinds for item in kind.needs)
    tested_with = dict.fromkeys(item for kind in kinds for item in kind.tested_with)
    return {
        "dependencies": listed(["sage-core", *needs]),
        "test_dependencies": listed(["pytest>=8", *tested_with]),
    }
