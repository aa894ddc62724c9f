"""Packages made to break or fool a reader: every one is refused, and says why."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import stat
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sage.core.client.package import GRAPH, MANIFEST, PackageLimits, read_manifest, unpack, verify
from sage.core.errors import InvalidPackageError

BASE = {
    "format": 1,
    "job": {"uuid": "6f1a2b3c-4d5e-4f60-8a7b-9c0d1e2f3a4b", "name": "n", "backend": "local", "options": {}},
    "python": "3.11",
    "implementation": "cpython",
    "sage": "0.1.0",
    "cloudpickle": "3.1.2",
    "graph": {"name": "n", "operators": [], "edges": []},
}


@dataclasses.dataclass
class Entry:
    """One member, with every field of its two headers open to lies."""

    name: str | bytes
    data: bytes = b"x"
    method: int = 0
    local: dict[str, int] = dataclasses.field(default_factory=dict)
    central: dict[str, int] = dataclasses.field(default_factory=dict)
    mode: int = (stat.S_IFREG | 0o600) << 16
    extra: bytes = b""
    comment: bytes = b""
    packed: bytes | None = None
    before: bytes = b""
    listed: bool = True


def archive(*entries: Entry, comment: bytes = b"", **end: int) -> bytes:
    """A zip file of these members, true but for what they ask to be otherwise."""
    out = io.BytesIO()
    directory = []
    for entry in entries:
        out.write(entry.before)
        name = entry.name if isinstance(entry.name, bytes) else entry.name.encode()
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = entry.packed
        if body is None:
            body = deflate.compress(entry.data) + deflate.flush() if entry.method == 8 else entry.data
        true = {"flags": 0, "method": entry.method, "crc": zlib.crc32(entry.data), "packed": len(body)}
        true |= {"size": len(entry.data), "header": out.tell(), "disk": 0}
        head = {**true, **entry.local}
        tail = {**head, **entry.central}
        out.write(
            struct.pack(
                "<4s5H3I2H",
                b"PK\x03\x04",
                20,
                head["flags"],
                head["method"],
                0,
                0x21,
                head["crc"],
                head["packed"],
                head["size"],
                len(name),
                len(entry.extra),
            )
        )
        out.write(name + entry.extra + body)
        shape = (tail["flags"], tail["method"], 0, 0x21, tail["crc"], tail["packed"], tail["size"], len(name), 0)
        row = struct.pack(
            "<4s6H3I5H2I",
            b"PK\x01\x02",
            0x314,
            20,
            *shape,
            len(entry.comment),
            tail["disk"],
            0,
            entry.mode,
            tail["header"],
        )
        if entry.listed:
            directory.append(row + name + entry.comment)
    values = {"disk": 0, "first": 0, "here": len(directory), "count": len(directory)}
    values |= {"size": sum(map(len, directory)), "offset": out.tell(), **end}
    out.write(b"".join(directory))
    out.write(struct.pack("<4s4H2IH", b"PK\x05\x06", *values.values(), len(comment)) + comment)
    return out.getvalue()


def head(*entries: Entry, **declared: Any) -> Entry:
    """The manifest that declares ``entries`` truly, but for ``declared``."""
    files = []
    for entry in entries:
        name = entry.name if isinstance(entry.name, str) else entry.name.decode("latin-1")
        true = {"name": name, "size": len(entry.data), "sha256": hashlib.sha256(entry.data).hexdigest()}
        files.append({**true, **(declared if entry is entries[-1] else {})})
    return Entry(MANIFEST, json.dumps({**BASE, "files": files}).encode())


def refused(tmp_path: Path, data: bytes, message: str, limits: PackageLimits | None = None) -> None:
    path = tmp_path / "package"
    path.write_bytes(data)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(InvalidPackageError, match=message):
        verify(path, limits or PackageLimits())
    with pytest.raises(InvalidPackageError, match=message):
        unpack(path, folder, limits or PackageLimits())
    outside = {item.name for item in tmp_path.iterdir()} - {"package", "out"}
    assert not outside
    assert not [item for item in folder.rglob("*") if item.is_symlink()]


GOOD = Entry(GRAPH, b"graph" * 100, 8)


def test_the_builder_of_these_tests_builds_packages(tmp_path: Path) -> None:
    """Without a lie, what these tests build is accepted."""
    path = tmp_path / "package"
    other = Entry("modules/a/b.py", b"", 0)
    path.write_bytes(archive(head(GOOD, other), GOOD, other))
    assert [file.name for file in verify(path).files] == [GRAPH, "modules/a/b.py"]
    assert zipfile.ZipFile(path).testzip() is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../evil", "holds '..'"),
        ("modules/../../evil", "holds '..'"),
        ("/etc/evil", "it is absolute"),
        ("C:\\evil", "may only hold"),
        ("modules/a b", "may only hold"),
        ("modules/\n", "may only hold"),
        ("modules/x\0.py", "may only hold"),
        ("modules/größe.py", "may only hold"),
        ("modules/", "a folder or has an empty part"),
        ("modules//x", "a folder or has an empty part"),
        ("./x", "a folder or has an empty part"),
        ("modules/.", "a folder or has an empty part"),
        ("", "may only hold"),
        ("a/" * 300 + "a", "too long"),
        ("a" * 201, "too long"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str, message: str) -> None:
    """A name is a plain path below the folder, in every file system."""
    evil = Entry(name)
    refused(tmp_path, archive(head(GOOD), GOOD, evil), f"not allowed: .*{message}")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["modules/a.py", "modules/a.py"], "two members named 'modules/a.py'"),
        (["modules/a.py", "modules/A.py"], "differs only in case"),
        (["modules/a/x.py", "modules/A/y.py"], "differs in case"),
        (["modules/a", "modules/a/x.py"], "in a folder that is also a file"),
        (["modules/a/x.py", "modules/a"], "is also a folder"),
        (["modules/a/x.py", "modules/A"], "differs only in case"),
        ([GRAPH], "two members named 'graph.pkl'"),
    ],
)
def test_names_that_clash_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    """Two readers must not see two different files under one name."""
    entries = [Entry(name) for name in names]
    declared = [] if names == [GRAPH] else list({entry.name: entry for entry in entries}.values())
    refused(tmp_path, archive(head(GOOD, *declared), GOOD, *entries), message)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ((stat.S_IFLNK | 0o777) << 16, "is a symbolic link"),
        ((stat.S_IFDIR | 0o755) << 16, "is not a plain file"),
        ((stat.S_IFCHR | 0o600) << 16, "is not a plain file"),
        ((stat.S_IFIFO | 0o600) << 16, "is not a plain file"),
        ((stat.S_IFREG | 0o4755) << 16, "set-user-id"),
        ((stat.S_IFREG | 0o2755) << 16, "set-group-id"),
        (0x10, "is not a plain file"),
    ],
)
def test_members_that_are_no_plain_files_are_refused(tmp_path: Path, mode: int, message: str) -> None:
    """Links, folders, devices and bits that give rights have no business in a package."""
    link = Entry("modules/link", b"/etc/passwd", mode=mode)
    refused(tmp_path, archive(head(GOOD, link), GOOD, link), message)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry("modules/x", local={"flags": 1}), "is encrypted"),
        (Entry("modules/x", local={"flags": 8}), "does not declare its size in front"),
        (Entry("modules/x", local={"flags": 0x40}), "unknown flags"),
        (Entry("modules/x", local={"method": 12}), "compression method 12"),
        (Entry("modules/x", local={"size": 0xFFFFFFFF}), "zip64"),
        (Entry("modules/x", local={"packed": 0xFFFFFFFF}), "zip64"),
        (Entry("modules/x", extra=struct.pack("<HHQQ", 1, 16, 1, 1)), "has extra fields"),
        (Entry("modules/x", local={"size": 2}), "declares two different sizes"),
        (Entry("modules/x", local={"packed": 10_000}), "cut off|two different sizes"),
        (Entry("modules/x", local={"crc": 1}), "check sum is wrong"),
        (Entry("modules/x", b"y" * 99, 8, local={"size": 98}), "its manifest declares 99|more than the 98"),
        (Entry("modules/x", b"y" * 99, 8, packed=b"\xff" * 20), "is damaged"),
        (Entry("modules/x", b"y" * 99, 8, packed=zlib.compress(b"y" * 99)[2:-4] + b"more"), "data behind its end"),
        (Entry("modules/x", b"y" * 99, 8, packed=zlib.compress(b"y" * 99)[2:-6]), "stops early|unpacks to"),
        (Entry("modules/x", central={"crc": 1}), "contradicts the header"),
        (Entry("modules/x", central={"size": 7}), "contradicts the header"),
        (Entry("modules/x", central={"header": 0}), "contradicts the header"),
        (Entry("modules/x", central={"method": 8}), "contradicts the header"),
        (Entry("modules/x", central={"flags": 1}), "contradicts the header"),
        (Entry("modules/x", central={"disk": 1}), "contradicts the header"),
        (Entry("modules/x", comment=b"hello"), "a comment at member"),
        (Entry("modules/x", before=b"hidden"), "data between its members"),
        (Entry("modules/x", listed=False), "does not list member"),
    ],
)
def test_headers_that_lie_are_refused(tmp_path: Path, entry: Entry, message: str) -> None:
    """What a header claims is checked against the content, and both headers against each other."""
    refused(tmp_path, archive(head(GOOD, entry), GOOD, entry), message)


def test_data_around_the_archive_is_refused(tmp_path: Path) -> None:
    """Nothing in front, nothing behind, no comment, no second directory."""
    good = archive(head(GOOD), GOOD)
    zip64 = struct.pack("<4sQ", b"PK\x06\x06", 44) + bytes(44)
    position = good.rindex(b"PK\x05\x06")
    for number, (data, message) in enumerate(
        [
            (b"MZ" + good, "does not begin like a zip file"),
            (good + b"\0", "data behind its end"),
            (good + good, "data behind its end"),
            (archive(head(GOOD), GOOD, comment=b"PK\x05\x06"), "data behind its end"),
            (good[:position] + zip64 + good[position:], "zip64"),
            (archive(head(GOOD), GOOD, count=3), "end record contradicts"),
            (archive(head(GOOD), GOOD, offset=0), "end record contradicts"),
            (archive(head(GOOD), GOOD, disk=1), "end record contradicts"),
            (good[:position] + b"PK\x01\x02" + good[position + 4 :], "lists members that are not there|cut off"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        refused(folder, data, message)


def test_members_and_manifest_must_agree(tmp_path: Path) -> None:
    """No member without a declaration, no declaration without a member, and every hash holds."""
    extra = Entry("modules/x.py")
    for number, (data, message) in enumerate(
        [
            (archive(head(GOOD), GOOD, extra), "'modules/x.py' is not declared"),
            (archive(head(GOOD, extra), GOOD), "'modules/x.py' is declared in its manifest and missing"),
            (archive(head(GOOD, extra, size=7), GOOD, extra), "its manifest declares 7"),
            (archive(head(GOOD, extra, sha256="0" * 64), GOOD, extra), "does not have the sha256"),
            (archive(head(GOOD)), "'graph.pkl' is declared in its manifest and missing"),
            (archive(), "does not begin like a zip file"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        refused(folder, data, message)


def test_an_honest_zip_bomb_is_refused(tmp_path: Path) -> None:
    """A member that declares what nobody sends packed so well is not unpacked at all."""
    bomb = Entry("modules/bomb", bytes(20 * 1024 * 1024), 8)
    refused(tmp_path, archive(head(GOOD, bomb), GOOD, bomb), "looks like a zip bomb")


def test_a_lying_zip_bomb_is_stopped(tmp_path: Path) -> None:
    """A member that unpacks to more than it declares is stopped there, in little memory."""
    inside = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(inside.compress(bytes(1024 * 1024)) for _ in range(300)) + inside.flush()
    bomb = Entry("modules/bomb", bytes(1000), 8, packed=packed)
    data = archive(head(GOOD, bomb), GOOD, bomb)
    tracemalloc.start()
    refused(tmp_path, data, "unpacks to more than the 1,000 bytes it declares")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
    assert not (tmp_path / "out/modules/bomb").exists() or (tmp_path / "out/modules/bomb").stat().st_size <= 1000


def test_bounds_hold(tmp_path: Path) -> None:
    """Bytes, members, unpacked bytes and the manifest each have their bound."""
    many = [Entry(f"modules/m{number}.py") for number in range(20)]
    data = archive(head(GOOD, *many), GOOD, *many)
    for number, (limits, message) in enumerate(
        [
            (PackageLimits(max_bytes=len(data) - 1), "more than the [0-9,]+ allowed"),
            (PackageLimits(max_files=21), "more than 21 members"),
            (PackageLimits(max_unpacked=600), "more than the 600"),
            (PackageLimits(max_manifest=100), "its manifest has"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        refused(folder, data, message, limits)
    (tmp_path / "package").write_bytes(data)
    verify(tmp_path / "package", PackageLimits(max_bytes=len(data), max_files=22))


def test_a_deflated_member_of_any_length_is_read(tmp_path: Path) -> None:
    """Output that zlib holds back at the end of its input is fetched."""
    path = tmp_path / "package"
    for size in (0, 1, 65_535, 65_536, 65_537, 131_072, 200_000, 1_000_000):
        entry = Entry(GRAPH, bytes(size), 8)
        path.write_bytes(archive(head(entry), entry))
        assert verify(path).files[0].size == size


@settings(max_examples=200)
@given(data=st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: b"PK\x03\x04" + rest))
def test_random_bytes_are_no_package(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the bytes, the answer is InvalidPackageError."""
    path = tmp_path_factory.getbasetemp() / "random"
    path.write_bytes(data)
    for read in (read_manifest, verify):
        with pytest.raises(InvalidPackageError):
            read(path)


PROGRAM = Entry("modules/pkg/mod.py", b"def f(x):\n    return x + 1\n" * 10, 8)
VALID = archive(head(GOOD, PROGRAM), GOOD, PROGRAM)
EXPECTED = {GRAPH: GOOD.data, "modules/pkg/mod.py": PROGRAM.data}


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edit=st.data())
def test_a_damaged_package_is_refused_or_intact(edit: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After any edit, either InvalidPackageError is raised or every declared byte is what it was."""
    data = bytearray(VALID)
    for _ in range(edit.draw(st.integers(1, 3))):
        position = edit.draw(st.integers(0, len(data)))
        kind = edit.draw(st.sampled_from(["cut", "flip", "insert", "remove", "copy"]))
        if kind == "cut":
            del data[position:]
        elif kind == "flip" and position < len(data):
            data[position] ^= 1 << edit.draw(st.integers(0, 7))
        elif kind == "insert":
            data[position:position] = edit.draw(st.binary(min_size=1, max_size=8))
        elif kind == "remove":
            del data[position : position + edit.draw(st.integers(1, 50))]
        elif kind == "copy":
            source = edit.draw(st.integers(0, len(data)))
            data[position:position] = data[source : source + 60]
    folder = tmp_path_factory.mktemp("edited")
    path = folder / "package"
    path.write_bytes(data)
    out = folder / "out"
    out.mkdir()
    try:
        found = unpack(path, out)
    except InvalidPackageError:
        with pytest.raises(InvalidPackageError):
            verify(path)
        return
    assert verify(path) == found == read_manifest(path)
    for file in found.files:
        assert hashlib.sha256((out / file.name).read_bytes()).hexdigest() == file.sha256
        if file.name in EXPECTED:
            assert (out / file.name).read_bytes() == EXPECTED[file.name]
