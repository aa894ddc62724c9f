"""How an author's code travels: packing a graph into a package, and opening it in a job's own process.

It travels in two ways. Modules of the author's own go as source files and are imported in the job's process; which
those are is told in `sage.core.client._modules`. What lives in ``__main__``, in notebooks and in lambdas has no module
to import there: it goes by value, in one pickle of the whole graph, and becomes the job's ``__main__``.

`open_package` runs the author's code by design and is for a job's own process only; a JobManager reads manifests with
`sage.core.client.package`.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.machinery
import io
import linecache
import logging
import os
import pickle
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, cast

from sage.core.client import package
from sage.core.client._checks import (
    TooLargeError,
    check_picklable,
    check_templates,
    refuse_one_shots,
    refuse_what_stays,
)
from sage.core.client._modules import MODULES, LocalModules, is_installed, refuse_shadowed_sage
from sage.core.client._rebuild import made_module
from sage.core.client.package import Manifest, PackageJob, PackageLimits
from sage.core.errors import InvalidPackageError, PackagingError, SageError
from sage.core.graph.model import LogicalGraph
from sage.core.versions import version_of

__all__ = ["check_picklable", "check_templates", "open_package", "write_package"]

_log = logging.getLogger(__name__)

_LIMITS = PackageLimits()
_SOURCE_BYTES = 1024 * 1024


def write_package(path: Path, graph: LogicalGraph, job: PackageJob, *, limits: PackageLimits = _LIMITS) -> str:
    """Pack a graph with the code it needs.

    Args:
        path: the file to write; it appears whole or not at all, readable by its owner only.
        graph: what to run.
        job: the job to ask for.
        limits: what the receiver accepts.

    Returns:
        the sha256 of the file.

    Raises:
        PackagingError: something cannot travel; ``path`` leads to it, ``problems`` lists everything of that kind.
        OSError: the file cannot be written.
    """
    problem = job.problem()
    if problem is not None:
        raise PackagingError(f"the job cannot be packed: {problem}", path="job")
    refuse_shadowed_sage()
    refuse_one_shots(graph)
    pickled, needed = _pickle(graph, limits)
    modules = LocalModules()
    modules.collect(needed)
    if modules.left_out:
        names = ", ".join(str(file) for file in modules.left_out[:5])
        more = len(modules.left_out) - 5
        _log.warning("left out of the package of job '%s': %s%s", job.name, names, f" and {more} more" * (more > 0))
    manifest = Manifest(
        format=package.FORMAT,
        job=job,
        python=f"{sys.version_info[0]}.{sys.version_info[1]}",
        implementation=sys.implementation.name,
        sage=version_of("sage-core") or "0",
        cloudpickle=sys.modules["cloudpickle"].__version__,
        graph=graph.to_json(),
        files=(),
    )
    contents = {package.GRAPH: pickled, **modules.files}
    try:
        manifest.encode()
    except (ValueError, TypeError) as error:
        message = (
            f"the job '{job.name}' cannot be packed: options of its operators or its own are not plain JSON: {error}"
        )
        raise PackagingError(message, path="options") from error
    try:
        return package.write(path, manifest, contents, limits)
    except InvalidPackageError as error:
        sizes = sorted(contents.items(), key=lambda item: -len(item[1]))[:3]
        largest = ", ".join(f"{name} ({len(data):,} bytes)" for name, data in sizes)
        raise PackagingError(
            f"the job '{job.name}' cannot be packed: {error.message}",
            hint=f"the largest files in it are {largest}; read data where the job runs instead of sending it",
            path=sizes[0][0],
        ) from error


def open_package(path: Path, folder: Path) -> tuple[Manifest, LogicalGraph]:
    """Unpack a package and load its graph. This runs the author's code: call it once, in a job's own process.

    The author's modules are put in front of ``sys.path``; ``sys.modules["__main__"]`` becomes a module that holds what
    the author's ``__main__`` held, as far as the graph needs it, so that pickle by reference finds it.

    Args:
        path: the package.
        folder: where to unpack it. It may be missing or empty, or hold this very package from an earlier attempt.

    Raises:
        InvalidPackageError: the package is corrupt; nothing was loaded.
        PackagingError: the author's code cannot be loaded here. Its cause has the traceback.
        OSError: the folder cannot be written.
    """
    manifest = _unpack(path, folder)
    modules = folder / MODULES
    if modules.is_dir():
        _refuse_loaded(modules)
        sys.path.insert(0, str(modules))
        importlib.invalidate_caches()
    with (folder / package.GRAPH).open("rb") as file:
        try:
            return manifest, _load(file)
        except SageError:
            raise
        except Exception as error:
            raise _load_error(error) from error


# Packing


def _pickle(graph: LogicalGraph, limits: PackageLimits) -> tuple[bytes, set[str]]:
    """The pickles of a graph, and the names of modules that they or the code in them may import.

    They are one pickle in several parts that share their memory: what ``__main__`` is like, the graph, then rounds of
    what is found by name and of attributes set late, which may bring up further ones, then the sources.
    """
    from sage.core.client._imports import imports_of_code
    from sage.core.client._pickler import GraphPickler

    file = _Bounded(limits.max_unpacked)
    try:
        with GraphPickler(cast(BinaryIO, file)) as pickler:
            main = sys.modules["__main__"]
            about = {name: getattr(main, name, None) for name in ("__file__", "__package__")}
            pickler.dump(("main", {name: value for name, value in about.items() if isinstance(value, str)}))
            pickler.dump(("graph", graph))
            named: dict[tuple[str, str], Any] = {}
            record = pickler.record
            while (names := _names(record.values, named)) or record.hooks:
                named.update(names)
                pickler.dump(("names", names))
                hooks, record.hooks = record.hooks, []
                pickler.dump(("attributes", hooks))
            files = sorted({code.co_filename for code, _ in record.codes})
            pickler.dump(("sources", {name: text for name in files if (text := _source(name))}))
            pickler.dump(("end", None))
    except TooLargeError as error:
        raise PackagingError(
            f"the job '{graph.name}' cannot be packed: its functions and records have more than {file.limit:,} bytes",
            hint="give from_batch a callable, or read data where the job runs instead of sending it",
            path=package.GRAPH,
        ) from error
    except Exception as error:
        refuse_what_stays(graph, error)
        raise PackagingError(
            f"the job '{graph.name}' cannot be packed: {type(error).__name__}: {error}", path=package.GRAPH
        ) from error
    needed = set(record.modules)
    for code, base in record.codes:
        needed |= imports_of_code(code, base)
    return file.getvalue(), needed


def _names(values: Mapping[tuple[str, str], Any], done: Mapping[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    """What must be found in a module under a name and is not yet: the outermost object of each qualified name."""
    found: dict[tuple[str, str], Any] = {}
    for (module, qualname), value in values.items():
        top, _, rest = qualname.partition(".")
        if (module, top) in done:
            continue
        outer = getattr(sys.modules.get(module), top, None) if rest else value
        if not rest or isinstance(outer, type):
            found.setdefault((module, top), outer)
    return found


def _source(filename: str) -> str | None:
    """The source that tracebacks will want, where it is the author's and of a sane size."""
    if is_installed(filename):
        return None
    text = "".join(linecache.getlines(filename))
    return text if 0 < len(text) <= _SOURCE_BYTES else None


class _Bounded(io.BytesIO):
    """Memory that refuses to grow beyond ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def write(self, data: Any) -> int:
        count = super().write(data)
        if self.tell() > self.limit:
            raise TooLargeError
        return count


# Opening


def _unpack(path: Path, folder: Path) -> Manifest:
    manifest = package.read_manifest(path)
    if _holds(folder, manifest):
        return manifest
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}-{os.getpid()}-{time.monotonic_ns():x}")
    part.mkdir(mode=0o700)
    try:
        package.unpack(path, part)
        # The folder appears whole or not at all; one that is there and empty is replaced.
        part.rename(folder)
    except OSError:
        if not _holds(folder, manifest):  # else another process of this job was faster
            raise
    finally:
        if part.exists():
            import shutil

            shutil.rmtree(part)
    return manifest


def _holds(folder: Path, manifest: Manifest) -> bool:
    """Whether the package was unpacked to ``folder`` before, by an earlier attempt or another process of the job."""
    known = folder / package.MANIFEST
    if not known.is_file():
        return False
    if package.parse_manifest(known.read_bytes()) != manifest:
        raise PackagingError(f"{folder} holds another package", hint="unpack into a new folder", path=str(folder))
    return True


def _refuse_loaded(modules: Path) -> None:
    """Refuse a module of the author's whose name this process has loaded from elsewhere: that one would be used."""
    for item in modules.iterdir():
        name = item.name.partition(".")[0]
        loaded = sys.modules.get(name)
        if loaded is None:
            continue
        ours = item / "__init__.py" if item.is_dir() else item
        file = Path(getattr(loaded, "__file__", None) or "")
        if file.is_relative_to(modules) or (
            ours.is_file() and file.is_file() and ours.read_bytes() == file.read_bytes()
        ):
            continue  # the very same, by another way: a plugin in an editable install, say
        raise PackagingError(
            f"the module {name!r} of the job has the name of one that SAGE itself uses ({file})",
            hint="rename it",
            path=name,
        )


def _load(file: BinaryIO) -> LogicalGraph:
    main = _new_main()
    graph: LogicalGraph | None = None
    parts = pickle.Unpickler(file)  # noqa: S301
    while True:
        kind, part = parts.load()
        if kind == "main":
            vars(main).update(part)
            parent = part.get("__package__")
            main.__spec__ = importlib.machinery.ModuleSpec(f"{parent}.__main__" if parent else "__main__", None)
        elif kind == "graph":
            graph = part
        elif kind == "names":
            for (module, name), value in part.items():
                setattr(made_module(module), name, value)
        elif kind == "attributes":
            for owner, name, value in part:
                setattr(owner, name, value)
        elif kind == "sources":
            for name, text in part.items():
                linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        elif kind == "end":
            break
    if not isinstance(graph, LogicalGraph):
        raise InvalidPackageError("the package is not valid: its pickle holds no graph")
    return graph


_replaced: list[ModuleType] = []


def _new_main() -> ModuleType:
    """An empty module as the ``__main__`` of this process.

    The one it replaces is still running, so it is kept, and its names stay its own. The specification is such that
    `multiprocessing` does not run the author's script again in children.
    """
    _replaced.append(sys.modules["__main__"])
    main = ModuleType("__main__")
    vars(main)["__builtins__"] = builtins
    main.__spec__ = importlib.machinery.ModuleSpec("__main__", None)
    sys.modules["__main__"] = main
    return main


def _load_error(error: Exception) -> PackagingError:
    hint = (
        "classes and functions of the script are rebuilt from a pickle; in a module beside the script they are imported"
    )
    if isinstance(error, ModuleNotFoundError):
        hint = (
            f"install what holds {error.name!r} for {sys.executable}, which runs the job; only your own modules travel"
        )
    return PackagingError(
        f"the job's code cannot be loaded: {type(error).__name__}: {error}",
        hint=hint,
        path=getattr(error, "name", None),
    )
