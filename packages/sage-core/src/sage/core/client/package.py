"""The submission package: what a client sends to a JobManager, and how a receiver reads it without opening it.

A package is a zip file whose first member is ``manifest.json``; every other member is declared there with its size
and sha256. The manifest says what a JobManager has to know: the job, the versions the code was packed with, and the
public graph. Code and records are in ``graph.pkl`` and below ``modules/``; nothing here ever loads them.

This module needs only the standard library. What packs and opens a graph is `sage.core.client.code`; what the manifest
says is `sage.core.client._manifest`, what the zip file may look like `sage.core.client._archive`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sage.core.client._archive import Archive, Member, PackageLimits, refuse, write_archive
from sage.core.client._manifest import FORMAT, GRAPH, MANIFEST, Manifest, PackageFile, PackageJob, parse_manifest
from sage.core.errors import VersionMismatchError
from sage.core.versions import version_of

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

MEDIA_TYPE = "application/vnd.sage.package"
"""The media type under which a package travels."""

_LIMITS = PackageLimits()


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
    head = dataclasses.replace(manifest, files=files).encode()
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
                refuse(f"its manifest has {len(head):,} bytes, more than the {limits.max_manifest:,} allowed")
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


def _manifest(archive: Archive, member: Member, limits: PackageLimits) -> tuple[Manifest, bytes]:
    if member.name != MANIFEST:
        refuse(f"it is a zip file but no SAGE package: its first member is {member.name!r}, not {MANIFEST!r}")
    if member.size > limits.max_manifest:
        refuse(f"its manifest has {member.size:,} bytes, more than the {limits.max_manifest:,} allowed")
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
            refuse(f"member {member.name!r} is not declared in its manifest")
        if declared.size != member.size:
            refuse(f"member {member.name!r} has {member.size:,} bytes; its manifest declares {declared.size:,}")
        digest = hashlib.sha256()
        content = _hashed(archive.content(member), digest)
        if folder is None:
            for _ in content:
                pass
        else:
            _save(folder, member.name, content)
        if digest.hexdigest() != declared.sha256:
            refuse(f"member {member.name!r} does not have the sha256 its manifest declares")
    if manifest is None:
        refuse("it has no members")
    if missing:
        refuse(f"member {next(iter(missing))!r} is declared in its manifest and missing")
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
