"""The manifest of a submission package: what it says, and how it is read from a stranger.

Everything a receiver will use or show is checked in one place, `parse_manifest`, before anybody sees it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sage.core.client._archive import check_name, refuse

__all__ = ["FORMAT", "GRAPH", "MANIFEST", "Manifest", "PackageFile", "PackageJob", "parse_manifest"]

FORMAT = 1
"""The version of the format that this SAGE writes, and the only one it reads."""

MANIFEST = "manifest.json"
"""The name of the first member."""

GRAPH = "graph.pkl"
"""The name of the member that holds the pickled graph."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_BACKEND = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
_PYTHON = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}\Z")
_VERSION = re.compile(r"[A-Za-z0-9_.!+-]{1,64}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_ENV_VAR = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}\Z")
_ENV_VARS = 100
_ENV_VARS_SIZE = 1 << 16
_NAME_LENGTH = 200
_DEPTH = 64
_VALUES = 300_000


@dataclass(frozen=True)
class PackageJob:
    """The job a package asks for.

    Attributes:
        uuid: in its canonical form, lower case with dashes.
        name: what people read, 1 to 200 printable characters.
        backend: name of the backend, ``[a-z0-9][a-z0-9_.-]{0,63}``; None for the JobManager's own choice.
        options: plain JSON values for the JobManager: ``env_vars``, the environment variables of the job's processes
            by name; the rest is for the backend.
    """

    uuid: str
    name: str
    backend: str | None
    options: Mapping[str, Any] = field(default_factory=dict)

    def problem(self) -> str | None:
        """What is wrong with these values, or None."""
        if not _UUID.match(self.uuid):
            return f"the job's uuid {self.uuid[:80]!r} is not in its canonical form"
        if not 1 <= len(self.name) <= _NAME_LENGTH or not self.name.isprintable():
            return f"the job's name must be 1 to {_NAME_LENGTH} printable characters, not {self.name[:210]!r}"
        if self.backend is not None and not _BACKEND.match(self.backend):
            return f"the backend's name {self.backend[:80]!r} must look like [a-z0-9][a-z0-9_.-]*, at most 64 long"
        return _env_vars_problem(self.options.get("env_vars", {}))


def _env_vars_problem(given: object) -> str | None:
    """What is wrong with environment variables, or None; what they hold is never told."""
    if not isinstance(given, Mapping):
        return "env_vars must be a mapping from names to texts"
    size = 0
    for name, value in given.items():
        if not isinstance(name, str) or not _ENV_VAR.match(name):
            return f"{str(name)[:80]!r} is no name of an environment variable"
        if name.startswith("SAGE_"):
            return f"the environment variable {name} is SAGE's own: names must not begin with SAGE_"
        if not isinstance(value, str):
            return f"the environment variable {name} must be text, not {type(value).__name__}"
        if "\0" in value or not _encodes(value):
            return f"the environment variable {name} must be text without NUL"
        size += len(name) + len(value)
    if len(given) > _ENV_VARS or size > _ENV_VARS_SIZE:
        return f"there may be {_ENV_VARS} environment variables, of {_ENV_VARS_SIZE} characters together"
    return None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class PackageFile:
    """One declared member: its name in the archive, unpacked size and sha256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a package says of itself.

    Attributes:
        format: version of the package format.
        job: the job it asks for.
        python: ``major.minor`` of the interpreter that packed it.
        implementation: of that interpreter, ``cpython``.
        sage: version of sage-core that packed it.
        cloudpickle: version of cloudpickle that packed it.
        graph: the public graph, as ``LogicalGraph.to_json()`` gives it.
        files: every member but the manifest.
    """

    format: int
    job: PackageJob
    python: str
    implementation: str
    sage: str
    cloudpickle: str
    graph: Mapping[str, Any]
    files: tuple[PackageFile, ...]

    def encode(self) -> bytes:
        """The manifest as it stands in the archive; equal manifests give equal bytes.

        Raises:
            ValueError, TypeError: the graph or the job's options hold something that JSON cannot.
        """
        job = {
            "uuid": self.job.uuid,
            "name": self.job.name,
            "backend": self.job.backend,
            "options": dict(self.job.options),
        }
        data = {
            "format": self.format,
            "job": job,
            "python": self.python,
            "implementation": self.implementation,
            "sage": self.sage,
            "cloudpickle": self.cloudpickle,
            "graph": dict(self.graph),
            "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in self.files],
        }
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def parse_manifest(raw: bytes) -> Manifest:
    """The manifest in ``raw``; everything a receiver will use or show is checked here, once.

    Raises:
        InvalidPackageError: it is not proper JSON, of another format, or a value in it is wrong.
    """
    # A million empty lists fit into a manifest, and take twenty times its room once they are read. Every value
    # comes after one of these, so there are at most as many.
    if sum(raw.count(mark) for mark in (b",", b"[", b"{")) > _VALUES:
        refuse(f"its manifest holds more than {_VALUES:,} values")
    try:
        data = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        refuse(f"its manifest is not proper JSON: {reason}", error)
    if not isinstance(data, dict) or "format" not in data:
        refuse("its manifest is not that of a SAGE package: it has no 'format'")
    number = data["format"]
    if type(number) is not int or number != FORMAT:
        refuse(
            f"it has package format {number if type(number) is int else '?'}, this SAGE reads format {FORMAT}",
            hint="install the same version of SAGE on both sides",
        )
    _check_values(data)
    job = _get(data, "job", dict, "")
    manifest = Manifest(
        format=number,
        job=PackageJob(
            uuid=_get(job, "uuid", str, "job."),
            name=_get(job, "name", str, "job."),
            backend=None if job.get("backend", "") is None else _get(job, "backend", str, "job."),
            options=_get(job, "options", dict, "job."),
        ),
        python=_match(data, "python", _PYTHON),
        implementation=_match(data, "implementation", _VERSION),
        sage=_match(data, "sage", _VERSION),
        cloudpickle=_match(data, "cloudpickle", _VERSION),
        graph=_get(data, "graph", dict, ""),
        files=tuple(_file(item) for item in _get(data, "files", list, "")),
    )
    problem = manifest.job.problem()
    if problem is not None:
        refuse(problem)
    _get(data["graph"], "operators", list, "graph.")
    _get(data["graph"], "edges", list, "graph.")
    _check_files(manifest.files)
    return manifest


def _get(data: Mapping[str, Any], key: str, kind: type[Any], where: str) -> Any:
    if key not in data:
        refuse(f"its manifest has no '{where}{key}'")
    value = data[key]
    if type(value) is not kind:
        refuse(f"'{where}{key}' in its manifest is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _match(data: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value: str = _get(data, key, str, "")
    if not pattern.match(value):
        refuse(f"'{key}' in its manifest is not a version: {value[:80]!r}")
    return value


def _file(item: Any) -> PackageFile:
    if type(item) is not dict:
        refuse(f"'files[]' in its manifest holds a {type(item).__name__}, not a dict")
    file = PackageFile(*(_get(item, key, kind, "files[].") for key, kind in _FILE_KEYS))
    if file.size < 0 or not _SHA256.match(file.sha256):
        refuse(f"its manifest declares file {file.name[:200]!r} with an impossible size or sha256")
    return file


_FILE_KEYS: tuple[tuple[str, type[Any]], ...] = (("name", str), ("size", int), ("sha256", str))


def _check_files(files: Sequence[PackageFile]) -> None:
    names = [file.name for file in files]
    for name in names:
        reason = check_name(name)
        if reason is not None:
            refuse(f"its manifest declares the file name {name[:200]!r}, which is not allowed: {reason}")
    if len(set(names)) != len(names):
        refuse("its manifest declares a file twice")
    if MANIFEST in names:
        refuse(f"its manifest declares {MANIFEST!r} itself")
    if GRAPH not in names:
        refuse(f"its manifest declares no {GRAPH!r}")


def _check_values(data: Any) -> None:
    """Refuse nesting that could exhaust somebody's stack, and text that cannot be sent on as UTF-8."""
    level = [data]
    for _ in range(_DEPTH):
        if not level:
            return
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.keys()
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and not value.isascii():
                try:
                    value.encode("utf-8")
                except UnicodeEncodeError as error:
                    refuse("its manifest holds half a character (a lone surrogate)", error)
        level = below
    refuse(f"its manifest is nested deeper than {_DEPTH} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("an object has the same key twice")
    return data


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is out of range")
    return value


def _bounded(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"the number {text[:40]} is out of range")
    return int(text)
