"""The submission package: what a client sends to a JobManager, and how a receiver reads it without opening it.

A package is a zip file whose first member is ``manifest.json``; every other member is declared there with its size
and sha256. The manifest says what a JobManager has to know: the job, the versions the code was packed with, and the
public graph. Code and records are in ``graph.pkl`` and below ``modules/``; nothing here ever loads them. The whole
format is described in the contracts, "Submission package, version 1".

This module needs only the standard library. What packs and opens a graph is `sage.core.client.code`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from sage.core.client._archive import Archive, Member, check_name, write_archive
from sage.core.client._versions import version_of
from sage.core.errors import InvalidPackageError, VersionMismatchError

__all__ = [
    "FORMAT",
    "GRAPH",
    "MANIFEST",
    "MEDIA_TYPE",
    "Manifest",
    "PackageFile",
    "PackageJob",
    "PackageLimits",
    "check_versions",
    "parse_manifest",
    "read_manifest",
    "unpack",
    "verify",
    "write",
]

FORMAT = 1
"""The version of the format that this SAGE writes, and the only one it reads."""

MEDIA_TYPE = "application/vnd.sage.package"
"""The media type under which a package travels."""

MANIFEST = "manifest.json"
"""The name of the first member."""

GRAPH = "graph.pkl"
"""The name of the member that holds the pickled graph."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_BACKEND = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
_PYTHON = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}\Z")
_VERSION = re.compile(r"[A-Za-z0-9_.!+-]{1,64}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_NAME_LENGTH = 200
_DEPTH = 64


@dataclass(frozen=True)
class PackageLimits:
    """How large a package may be. Sizes are bytes.

    Attributes:
        max_bytes: the zip file itself.
        max_unpacked: all members together, unpacked.
        max_files: number of members.
        max_manifest: the manifest, unpacked.
        max_ratio: unpacked over packed size of one member; up to ``free_ratio`` unpacked bytes any ratio is fair.
        free_ratio: see ``max_ratio``.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_unpacked: int = 256 * 1024 * 1024
    max_files: int = 10_000
    max_manifest: int = 4 * 1024 * 1024
    max_ratio: int = 200
    free_ratio: int = 1024 * 1024

    def ratio_is_fair(self, packed: int, size: int) -> bool:
        """Whether ``packed`` bytes may claim to unpack to ``size``."""
        return size <= self.free_ratio or size <= packed * self.max_ratio


_LIMITS = PackageLimits()


@dataclass(frozen=True)
class PackageJob:
    """The job a package asks for.

    Attributes:
        uuid: in its canonical form, lower case with dashes.
        name: what people read, 1 to 200 printable characters.
        backend: name of the backend, ``[a-z0-9][a-z0-9_.-]{0,63}``; None for the JobManager's own choice.
        options: plain JSON values for the JobManager.
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
        return None


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


def read_manifest(path: Path, limits: PackageLimits = _LIMITS) -> Manifest:
    """Read the manifest of the package at ``path`` and nothing else of it.

    Raises:
        InvalidPackageError: this is no package, its manifest is wrong, or it is of another format.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        archive = Archive(file, limits)
        return _manifest(archive, archive.first(), limits)[0]


def verify(path: Path, limits: PackageLimits = _LIMITS) -> Manifest:
    """Read the package at ``path`` to its last byte and prove that it holds exactly what its manifest declares.

    Raises:
        InvalidPackageError: see `read_manifest`; or a size, a hash or the archive itself is wrong.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return _walk(file, None, limits)


def unpack(path: Path, folder: Path, limits: PackageLimits = _LIMITS) -> Manifest:
    """`verify` the package at ``path`` while writing its members below the existing, empty ``folder``.

    Files are private (0600). What was written before an error was found is left to the caller, who should unpack
    into a folder of its own and throw that away.
    """
    with path.open("rb") as file:
        return _walk(file, folder, limits)


def write(path: Path, manifest: Manifest, contents: Mapping[str, bytes], limits: PackageLimits = _LIMITS) -> str:
    """Write a package and return the sha256 of the file. Equal arguments give equal bytes.

    Args:
        path: where to; it appears there at once and whole, readable by its owner only.
        manifest: its ``files`` are ignored and follow from ``contents``.
        contents: name to bytes; must hold ``graph.pkl``.
        limits: what a reader will accept.

    Raises:
        InvalidPackageError: a reader would refuse it; nothing is left behind.
        OSError: the file cannot be written.
    """
    files = tuple(
        PackageFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in sorted(contents.items())
    )
    head = Manifest(**{**manifest.__dict__, "files": files}).encode()
    parse_manifest(head)
    members = [(MANIFEST, head), *((file.name, contents[file.name]) for file in files)]
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # Opened by descriptor, so that the file is private from its first moment on.
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w+b") as file:
            digest = write_archive(file, members, limits)
            # Sizes and counts only; what was just written needs no second hashing.
            archive = Archive(file, limits)
            for _ in archive.members():
                pass
            if len(head) > limits.max_manifest:
                _refuse(f"its manifest has {len(head):,} bytes, more than the {limits.max_manifest:,} allowed")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return digest


def check_versions(manifest: Manifest, *, peer: str = "JobManager") -> None:
    """Refuse a package that this interpreter cannot open safely.

    Byte code of another Python crashes or computes something else instead of raising, so versions are compared before
    anything is opened.

    Args:
        manifest: of the package.
        peer: what this side is called in the message.

    Raises:
        VersionMismatchError: names both versions of everything that differs, and what to do.
    """
    ours = {
        "package format": str(FORMAT),
        "Python implementation": sys.implementation.name,
        "Python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "cloudpickle": version_of("cloudpickle") or "none",
    }
    theirs = {
        "package format": str(manifest.format),
        "Python implementation": manifest.implementation,
        "Python": manifest.python,
        "cloudpickle": manifest.cloudpickle,
    }
    remedies = {
        "package format": "install the same version of SAGE on both sides",
        "Python implementation": f"run both sides on {ours['Python implementation']}",
        "Python": f"run the program with Python {ours['Python']}, or the {peer} with Python {theirs['Python']}",
        "cloudpickle": f"install cloudpickle {_major(theirs['cloudpickle'])}.x on both sides: "
        f'pip install "cloudpickle=={_major(theirs["cloudpickle"])}.*"',
    }
    differ = [what for what in ours if ours[what] != theirs[what]]
    if "cloudpickle" in differ and _major(ours["cloudpickle"]) == _major(theirs["cloudpickle"]):
        differ.remove("cloudpickle")
    if not differ:
        return
    if "package format" in differ:
        differ = ["package format"]  # of another format, nothing else is known for sure
    told = "; ".join(f"{what} {theirs[what]} in the package, {ours[what]} at the {peer}" for what in differ)
    raise VersionMismatchError(
        f"the {peer} cannot run this package: {told}",
        hint="; ".join(remedies[what] for what in differ),
        theirs={what: theirs[what] for what in differ},
        ours={what: ours[what] for what in differ},
    )


def _major(version: str) -> str:
    return version.partition(".")[0]


def _refuse(what: str, cause: BaseException | None = None, hint: str | None = None) -> NoReturn:
    raise InvalidPackageError(f"the package is not valid: {what}", hint=hint) from cause


def _manifest(archive: Archive, member: Member, limits: PackageLimits) -> tuple[Manifest, bytes]:
    if member.name != MANIFEST:
        _refuse(f"it is a zip file but no SAGE package: its first member is {member.name!r}, not {MANIFEST!r}")
    if member.size > limits.max_manifest:
        _refuse(f"its manifest has {member.size:,} bytes, more than the {limits.max_manifest:,} allowed")
    raw = b"".join(archive.content(member))
    return parse_manifest(raw), raw


def _walk(file: BinaryIO, folder: Path | None, limits: PackageLimits) -> Manifest:
    archive = Archive(file, limits)
    manifest: Manifest | None = None
    missing: dict[str, PackageFile] = {}
    for member in archive.members():
        if manifest is None:
            manifest, raw = _manifest(archive, member, limits)
            missing = {item.name: item for item in manifest.files}
            if folder is not None:
                _save(folder, MANIFEST, iter([raw]))
            continue
        declared = missing.pop(member.name, None)
        if declared is None:
            _refuse(f"member {member.name!r} is not declared in its manifest")
        if declared.size != member.size:
            _refuse(f"member {member.name!r} has {member.size:,} bytes; its manifest declares {declared.size:,}")
        digest = hashlib.sha256()
        content = _hashed(archive.content(member), digest)
        if folder is None:
            for _ in content:
                pass
        else:
            _save(folder, member.name, content)
        if digest.hexdigest() != declared.sha256:
            _refuse(f"member {member.name!r} does not have the sha256 its manifest declares")
    if manifest is None:
        _refuse("it has no members")
    if missing:
        _refuse(f"member {next(iter(missing))!r} is declared in its manifest and missing")
    return manifest


def _hashed(chunks: Iterator[bytes], digest: Any) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _save(folder: Path, name: str, chunks: Iterator[bytes]) -> None:
    # Names were checked: relative, without '..', no two the same; the folder was empty, so no link can be met.
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for chunk in chunks:
            file.write(chunk)


def parse_manifest(raw: bytes) -> Manifest:
    """The manifest in ``raw``; everything a receiver will use or show is checked here, once.

    Raises:
        InvalidPackageError: it is not proper JSON, of another format, or a value in it is wrong.
    """
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
        _refuse(f"its manifest is not proper JSON: {reason}", error)
    if not isinstance(data, dict) or "format" not in data:
        _refuse("its manifest is not that of a SAGE package: it has no 'format'")
    number = data["format"]
    if type(number) is not int or number != FORMAT:
        _refuse(
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
        _refuse(problem)
    _get(data["graph"], "operators", list, "graph.")
    _get(data["graph"], "edges", list, "graph.")
    _check_files(manifest.files)
    return manifest


def _get(data: Mapping[str, Any], key: str, kind: type[Any], where: str) -> Any:
    if key not in data:
        _refuse(f"its manifest has no '{where}{key}'")
    value = data[key]
    if type(value) is not kind:
        _refuse(f"'{where}{key}' in its manifest is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _match(data: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value: str = _get(data, key, str, "")
    if not pattern.match(value):
        _refuse(f"'{key}' in its manifest is not a version: {value[:80]!r}")
    return value


def _file(item: Any) -> PackageFile:
    if type(item) is not dict:
        _refuse(f"'files[]' in its manifest holds a {type(item).__name__}, not a dict")
    file = PackageFile(*(_get(item, key, kind, "files[].") for key, kind in _FILE_KEYS))
    if file.size < 0 or not _SHA256.match(file.sha256):
        _refuse(f"its manifest declares file {file.name[:200]!r} with an impossible size or sha256")
    return file


_FILE_KEYS: tuple[tuple[str, type[Any]], ...] = (("name", str), ("size", int), ("sha256", str))


def _check_files(files: Sequence[PackageFile]) -> None:
    names = [file.name for file in files]
    for name in names:
        reason = check_name(name)
        if reason is not None:
            _refuse(f"its manifest declares the file name {name[:200]!r}, which is not allowed: {reason}")
    if len(set(names)) != len(names):
        _refuse("its manifest declares a file twice")
    if MANIFEST in names:
        _refuse(f"its manifest declares {MANIFEST!r} itself")
    if GRAPH not in names:
        _refuse(f"its manifest declares no {GRAPH!r}")


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
                    _refuse("its manifest holds half a character (a lone surrogate)", error)
        level = below
    _refuse(f"its manifest is nested deeper than {_DEPTH} levels")


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
