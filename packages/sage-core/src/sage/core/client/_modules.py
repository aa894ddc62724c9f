"""Finds the author's own modules and the files that must travel with them.

A module is *local*, and travels as source, when its file lies outside

- the standard library,
- ``site-packages`` and ``dist-packages``, and folders made by ``pip install --target`` (they hold ``*.dist-info``),
- the namespace ``sage``, which never travels.

So code on ``sys.path``, beside the script, below ``PYTHONPATH`` and in editable installs travels, and installed
packages do not. What travels:

- of a plain module, its file;
- of a regular package, the whole tree below its ``__init__.py``: every module that can be imported, and data files of
  up to 1 MiB each, 16 MiB and 1,000 files in all. Hidden files and folders, caches and virtual environments stay at
  home. Data files above these bounds are left out and told to the caller;
- of a namespace package, the modules that are imported;
- the modules all of these import, also inside functions, found in their source without executing anything.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import deque
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, all_suffixes
from pathlib import Path
from typing import Any, NoReturn

from sage.core.client._archive import check_name
from sage.core.client._imports import glance_at_imports, imports_of_source
from sage.core.errors import PackagingError

__all__ = ["MODULES", "LocalModules", "is_installed", "refuse_shadowed_sage"]

MODULES = "modules/"
"""Where in a package the author's modules are."""

_DATA_FILE = 1024 * 1024
_DATA_TOTAL = 16 * 1024 * 1024
_DATA_FILES = 1_000
_TREE_FILES = 20_000
_INSTALLED = frozenset({"site-packages", "dist-packages", f"python{sys.version_info[0]}{sys.version_info[1]}.zip"})
_SKIPPED = frozenset({"__pycache__", "node_modules", *_INSTALLED})
_SUFFIXES = sorted(all_suffixes(), key=len, reverse=True)
_STDLIB = tuple({os.path.dirname(os.__file__) + os.sep, os.path.realpath(os.path.dirname(os.__file__)) + os.sep})  # noqa: PTH120


class LocalModules:
    """Collects local modules, from names to files.

    Attributes:
        files: member name → content, for the package.
        left_out: data files above the bounds.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.left_out: list[Path] = []
        self._specs: dict[str, ModuleSpec | None] = {}
        self._targets: dict[str, bool] = {}
        self._seen: set[str] = set()
        self._names: dict[str, str] = {}
        self._data_bytes = self._data_files = 0

    def collect(self, names: Iterable[str]) -> None:
        """Add the modules ``names`` and all they import, as far as they are local. Other names are ignored.

        Raises:
            PackagingError: a local module cannot travel; ``path`` is its file.
        """
        queue = deque(sorted(names))
        while queue:
            name = queue.popleft()
            if name not in self._seen:
                self._seen.add(name)
                queue.extend(sorted(self._add(name) - self._seen))

    def _add(self, name: str) -> set[str]:
        """Add one module and its parents; returns the names of what they import."""
        if _never_travels(name.partition(".")[0]):
            return set()
        wanted: set[str] = set()
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            prefix = ".".join(parts[:count])
            spec = self._find(prefix)
            if spec is None:
                if name in sys.modules:
                    continue  # a parent made up by whoever loaded the module; over there it is a namespace package
                break  # an attribute, or a module that is not there: its import will say so
            if not spec.has_location or spec.origin is None:
                if spec.submodule_search_locations is None:
                    break  # built in
                continue  # a namespace package has no file of its own
            if not self._is_local(prefix, spec):
                break
            self._seen.add(prefix)
            wanted |= self._ship(prefix, spec, spec.origin)
        return wanted

    def _ship(self, name: str, spec: ModuleSpec, origin: str) -> set[str]:
        file = Path(origin)
        base = MODULES + name.replace(".", "/")
        suffix = next((item for item in _SUFFIXES if file.name.endswith(item)), ".py")
        locations = spec.submodule_search_locations
        member = base + suffix if locations is None else f"{base}/__init__{suffix}"
        if member in self.files:
            return set()  # part of a package that was added whole, and looked at then
        self._require(member, file, self._read(file, spec))
        if locations is not None:
            before = len(self.files) - 1
            for location in locations:
                self._tree(Path(location), base)
            added = list(self.files.items())[before:]
            return set().union(*(self._imports_outside(name, *item) for item in added if item[0].endswith(".py")))
        return imports_of_source(self.files[member], origin, name.rpartition(".")[0]) if suffix == ".py" else set()

    def _imports_outside(self, package: str, member: str, source: bytes) -> set[str]:
        """What a file of a package imports, if it imports anything of the author's outside of that package.

        All of the package travels, so most files need no more than a glance.
        """
        for name in glance_at_imports(source):
            relative = name.startswith(".")
            inside = "." not in package if relative else f"{name}.".startswith(f"{package}.")
            if not inside and (relative or not name or self._may_be_local(name.partition(".")[0])):
                break
        else:
            return set()
        parts = member.removeprefix(MODULES).removesuffix(".py").split("/")
        return imports_of_source(source, member, ".".join(parts[:-1]))

    def _may_be_local(self, top: str) -> bool:
        spec = None if _never_travels(top) else self._find(top)
        return spec is not None and (not spec.has_location or self._is_local(top, spec))

    def _tree(self, folder: Path, base: str) -> None:
        """Add what is below a package's folder."""
        count = 0
        for place, folders, names in os.walk(folder):
            here = Path(place)
            folders[:] = sorted(
                name
                for name in folders
                if name not in _SKIPPED and not name.startswith(".") and not (here / name / "pyvenv.cfg").exists()
            )
            count += len(names)
            if count > _TREE_FILES:
                _refuse(folder, f"it has more than {_TREE_FILES:,} files", "point sys.path at a smaller folder")
            inside = base if here == folder else f"{base}/{here.relative_to(folder).as_posix()}"
            for name in sorted(names):
                member = f"{inside}/{name}"
                if name.startswith(".") or name.endswith((".pyc", ".pyo")) or member in self.files:
                    continue
                file = here / name
                if name.endswith(".py") and all(part.isidentifier() for part in member[:-3].split("/")):
                    self._require(member, file, _content(file))
                else:
                    self._data(member, file)

    def _require(self, member: str, file: Path, content: bytes) -> None:
        reason = check_name(member)
        if reason is not None:
            _refuse(file, f"its name cannot travel: {reason}", "rename it, with ASCII letters, digits and underscores")
        if self._names.setdefault(member.lower(), member) != member:
            _refuse(file, "its name differs only in case from that of another file", "rename one of them")
        self.files[member] = content

    def _data(self, member: str, file: Path) -> None:
        if not file.is_file():
            return  # a socket, a pipe, a dangling link
        size = file.stat().st_size
        room = size <= _DATA_FILE and self._data_bytes + size <= _DATA_TOTAL and self._data_files < _DATA_FILES
        if not room or check_name(member) is not None or self._names.setdefault(member.lower(), member) != member:
            self.left_out.append(file)
            return
        self._data_bytes += size
        self._data_files += 1
        self.files[member] = _content(file)

    def _read(self, file: Path, spec: ModuleSpec) -> bytes:
        if not file.is_file():
            # Imported from a zip file: its loader knows how to read it.
            get_data = getattr(spec.loader, "get_data", None)
            if get_data is None:
                _refuse(file, "its source cannot be read", "is it still where it was imported from?")
            data: bytes = get_data(spec.origin)
            return data
        return _content(file)

    def _find(self, name: str) -> ModuleSpec | None:
        if name not in self._specs:
            self._specs[name] = self._look(name)
        return self._specs[name]

    def _look(self, name: str) -> ModuleSpec | None:
        module = sys.modules.get(name)
        if module is not None:
            spec = getattr(module, "__spec__", None)
            file = getattr(module, "__file__", None)
            if isinstance(spec, ModuleSpec):
                return spec if spec.name == name else None  # None: another name of a module that is found by its own
            return importlib.util.spec_from_file_location(name, file) if isinstance(file, str) else None
        parent = name.rpartition(".")[0]
        locations = None
        if parent:
            above = self._find(parent)
            if above is None or above.submodule_search_locations is None:
                return None
            locations = list(above.submodule_search_locations)
        for finder in sys.meta_path:
            find: Any = getattr(finder, "find_spec", None)
            try:
                spec = find(name, locations) if find is not None else None
            except ImportError:
                continue  # this finder knows the name and cannot serve it; where it runs, the import will say so
            if isinstance(spec, ModuleSpec):
                return spec
        return None

    def _is_local(self, name: str, spec: ModuleSpec) -> bool:
        path = os.path.abspath(spec.origin or "")  # noqa: PTH100
        if is_installed(path):
            return False
        parents = Path(path).parents
        root = parents[min(len(parents) - 1, name.count(".") + (spec.submodule_search_locations is not None))]
        known = self._targets.get(str(root))
        if known is None:
            known = self._targets[str(root)] = _is_install_target(root)
        return not known


def _never_travels(top: str) -> bool:
    """Whether modules of this top-level name are there in every job's process.

    Raises:
        PackagingError: it is the name of one in the standard library, and the author has imported another module by it.
    """
    if top not in sys.stdlib_module_names:
        return top in ("sage", "__main__")
    file = getattr(sys.modules.get(top), "__file__", None)
    if isinstance(file, str) and not is_installed(os.path.abspath(file)):  # noqa: PTH100
        _refuse(Path(file), f"it hides the standard library's module {top!r}, which SAGE may need", "rename it")
    return True


def refuse_shadowed_sage() -> None:
    """Refuse a folder of the author's that has a ``sage`` of its own.

    Raises:
        PackagingError: there is a ``sage.py`` or a ``sage/__init__.py`` beside the script or on ``sys.path``.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folders = [os.path.dirname(script)] if isinstance(script, str) else []  # noqa: PTH120
    for folder in dict.fromkeys(os.path.abspath(entry) for entry in [*folders, *sys.path]):  # noqa: PTH100
        if is_installed(folder + os.sep):
            continue
        for name in ("sage.py", os.path.join("sage", "__init__.py")):  # noqa: PTH118
            file = os.path.join(folder, name)  # noqa: PTH118
            if os.path.isfile(file):  # noqa: PTH113
                _refuse(Path(file), "it hides SAGE from your other modules, and cannot travel", "rename or remove it")


def is_installed(path: str) -> bool:
    """Whether a file belongs to the standard library or to an installed package."""
    return path.startswith(_STDLIB) or not _INSTALLED.isdisjoint(path.split("/"))


def _is_install_target(root: Path) -> bool:
    if not root.is_dir():
        return False
    return any(item.name.endswith(".dist-info") for item in os.scandir(root))


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        _refuse(file, f"it cannot be read: {error.strerror}", "see that it is there and readable", error)


def _refuse(file: Path, reason: str, hint: str, cause: BaseException | None = None) -> NoReturn:
    raise PackagingError(f"{file} cannot be sent: {reason}", hint=hint, path=str(file)) from cause
