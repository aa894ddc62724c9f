"""The manifest of a package: what it says, what is refused, and who may run it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import pytest

from sage.core.client import package
from sage.core.client.package import (
    GRAPH,
    MANIFEST,
    Manifest,
    PackageJob,
    PackageLimits,
    check_versions,
    parse_manifest,
    read_manifest,
    unpack,
    verify,
)
from sage.core.errors import InvalidPackageError, VersionMismatchError

UUID = "6f1a2b3c-4d5e-4f60-8a7b-9c0d1e2f3a4b"
CONTENTS = {GRAPH: b"not looked at" * 50, "modules/shop/prices.py": b"RATE = 5\n", "files/empty": b""}


def manifest(**changes: Any) -> Manifest:
    base = Manifest(
        format=package.FORMAT,
        job=PackageJob(UUID, "numbers", "local", {"priority": 1}),
        python=f"{sys.version_info[0]}.{sys.version_info[1]}",
        implementation=sys.implementation.name,
        sage="0.1.0",
        cloudpickle=cloudpickle.__version__,
        graph={"name": "numbers", "operators": [], "edges": []},
        files=(),
    )
    return dataclasses.replace(base, **changes)


def valid_json() -> dict[str, Any]:
    file = {"name": GRAPH, "size": 3, "sha256": "0" * 64}
    data: dict[str, Any] = json.loads(manifest().encode())
    return {**data, "files": [file]}


# Writing and reading


def test_a_package_says_what_was_written(tmp_path: Path) -> None:
    """Manifest, declared files and content come back as they went in."""
    path = tmp_path / "job.sagepkg"
    digest = package.write(path, manifest(), CONTENTS)
    found = verify(path)
    assert found == read_manifest(path)
    assert dataclasses.replace(found, files=()) == manifest()
    assert [file.name for file in found.files] == sorted(CONTENTS)
    folder = tmp_path / "out"
    folder.mkdir()
    assert unpack(path, folder) == found
    for name, data in CONTENTS.items():
        assert (folder / name).read_bytes() == data
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert parse_manifest((folder / MANIFEST).read_bytes()) == found
    assert len(digest) == 64


def test_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    """The order in which content was collected and the time of day leave no trace."""
    one, two = tmp_path / "one", tmp_path / "two"
    backwards = dict(reversed(CONTENTS.items()))
    assert package.write(one, manifest(), CONTENTS) == package.write(two, manifest(), backwards)
    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_mode & 0o777 == 0o600


def test_zipfile_reads_what_we_write(tmp_path: Path) -> None:
    """A package is a plain zip file to everybody else, the manifest in front."""
    path = tmp_path / "job.sagepkg"
    package.write(path, manifest(), CONTENTS)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [MANIFEST, *sorted(CONTENTS)]
        assert {name: archive.read(name) for name in CONTENTS} == CONTENTS


def test_we_read_what_zipfile_writes(tmp_path: Path) -> None:
    """Anybody can make a package with the standard library."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    package.write(ours, manifest(), CONTENTS)
    with zipfile.ZipFile(ours) as source, zipfile.ZipFile(theirs, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert verify(theirs) == verify(ours)


def test_the_manifest_alone_is_read(tmp_path: Path) -> None:
    """Reading the manifest needs nothing behind it, so it works while the rest is still arriving."""
    path = tmp_path / "job.sagepkg"
    package.write(path, manifest(), CONTENTS)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(GRAPH.encode(), 40) + len(GRAPH)])
    assert read_manifest(path).job == manifest().job


def test_nothing_is_left_of_a_package_that_cannot_be_written(tmp_path: Path) -> None:
    """Readers' limits are applied when writing, and no half file stays."""
    path = tmp_path / "job.sagepkg"
    limits = (
        PackageLimits(max_bytes=200),
        PackageLimits(max_unpacked=100),
        PackageLimits(max_files=2),
        PackageLimits(max_manifest=10),
    )
    for limit in limits:
        with pytest.raises(InvalidPackageError, match="more than"):
            package.write(path, manifest(), CONTENTS, limit)
    assert list(tmp_path.iterdir()) == []


def test_content_that_shrinks_too_well_is_stored(tmp_path: Path) -> None:
    """A package with millions of zeros is no zip bomb: its writer does not make it look like one."""
    path = tmp_path / "job.sagepkg"
    package.write(path, manifest(), {GRAPH: bytes(3 * 1024 * 1024)})
    assert verify(path).files[0].size == 3 * 1024 * 1024


def test_reading_imports_the_standard_library_only() -> None:
    """The daemon reads packages without the means to open them, and cheaply."""
    program = (
        "import sys, sage.core.client.package;"
        "print([name for name in ('cloudpickle', 'pickle', 'zipfile', 'importlib.metadata') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Foreign files and wrong manifests


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "it does not begin like a zip file"),
        (b"print('hello')\n", "it does not begin like a zip file"),
        (b"PK\x05\x06" + bytes(18), "it does not begin like a zip file"),
        (b"PK\x03\x04", "it is cut off"),
    ],
)
def test_a_foreign_file_is_called_so(tmp_path: Path, content: bytes, message: str) -> None:
    """What is no package at all is not searched for one."""
    path = tmp_path / "file"
    path.write_bytes(content)
    for read in (read_manifest, verify):
        with pytest.raises(InvalidPackageError, match=message):
            read(path)


def test_a_zip_file_without_our_manifest_is_called_so(tmp_path: Path) -> None:
    """A wheel, say, is a zip file and no package."""
    path = tmp_path / "thing.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/__init__.py", "")
        archive.writestr(MANIFEST, "{}")
    for read in (read_manifest, verify):
        with pytest.raises(InvalidPackageError, match=r"no SAGE package: its first member is 'thing/__init__\.py'"):
            read(path)


def test_another_format_names_both_numbers() -> None:
    """Of a newer format nothing can be known, so nothing else is looked at."""
    with pytest.raises(InvalidPackageError, match="it has package format 2, this SAGE reads format 1") as caught:
        parse_manifest(b'{"format": 2, "everything": "different"}')
    assert caught.value.hint == "install the same version of SAGE on both sides"


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets, or with ... removes, what a path of keys leads to."""

    def apply(data: Any) -> None:
        *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        for key in parents:
            data = data[key]
        if value is ...:
            del data[last]
        else:
            data[last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", ..., "it has no 'format'"),
        ("format", True, r"it has package format \?"),
        ("format", "1", r"it has package format \?"),
        ("job", ..., "it?s manifest has no 'job'"),
        ("job", [], "'job' in its manifest is a list, not a dict"),
        ("job.uuid", UUID.upper(), "is not in its canonical form"),
        ("job.uuid", UUID.replace("-", ""), "is not in its canonical form"),
        ("job.uuid", "../../etc/passwd", "is not in its canonical form"),
        ("job.uuid", UUID + "\n", "is not in its canonical form"),
        ("job.name", "", "must be 1 to 200 printable characters"),
        ("job.name", "x" * 201, "must be 1 to 200 printable characters"),
        ("job.name", "two\nlines", "must be 1 to 200 printable characters"),
        ("job.name", "\x1b[31mred", "must be 1 to 200 printable characters"),
        ("job.name", 3, "'job.name' in its manifest is a int, not a str"),
        ("job.backend", "No Such", "must look like"),
        ("job.backend", "x" * 65, "must look like"),
        ("job.backend", "../x", "must look like"),
        ("job.backend", "", "must look like"),
        ("job.backend", ..., "has no 'job.backend'"),
        ("job.options", None, "is a NoneType, not a dict"),
        ("job.options.env_vars", ["A"], "env_vars must be a mapping"),
        ("job.options.env_vars", {"A B": "x"}, "'A B' is no name of an environment variable"),
        ("job.options.env_vars", {"SAGE_SHIM_FD": "x"}, "SAGE_SHIM_FD is SAGE's own"),
        ("job.options.env_vars", {"A": 1}, "variable A must be text, not int"),
        ("job.options.env_vars", {"A": "x\0y"}, "variable A must be text"),
        ("job.options.env_vars", {f"A{n}": "" for n in range(101)}, "there may be 100 environment variables"),
        ("job.options.env_vars", {"A": "x" * (1 << 16)}, "of 65536 characters together"),
        ("python", "3", "'python' in its manifest is not a version"),
        ("python", 3.11, "is a float, not a str"),
        ("implementation", "", "'implementation' in its manifest is not a version"),
        ("cloudpickle", "3 1", "'cloudpickle' in its manifest is not a version"),
        ("sage", ..., "has no 'sage'"),
        ("graph", [], "is a list, not a dict"),
        ("graph.operators", ..., "has no 'graph.operators'"),
        ("graph.edges", {}, "'graph.edges' in its manifest is a dict, not a list"),
        ("graph.name", "\ud800", "half a character"),
        ("files", {}, "is a dict, not a list"),
        ("files", [], "declares no 'graph.pkl'"),
        ("files.0", "graph.pkl", r"'files\[\]' in its manifest holds a str"),
        ("files.0.size", -1, "impossible size or sha256"),
        ("files.0.size", True, "is a bool, not a int"),
        ("files.0.size", 1.0, "is a float, not a int"),
        ("files.0.sha256", "0" * 63, "impossible size or sha256"),
        ("files.0.sha256", "G" * 64, "impossible size or sha256"),
        ("files.0.name", "/etc/passwd", "not allowed: it is absolute"),
        ("files.0.name", "modules/../x", r"not allowed: it holds '\.\.'"),
        ("files.0.name", "modules\\x", "not allowed: it may only hold"),
        ("files.0.name", "modules//x", "empty part"),
        ("files.0.name", "x" * 501, "too long"),
        ("files.0.name", MANIFEST, "declares 'manifest.json' itself"),
    ],
)
def test_a_doctored_manifest_is_refused(path: str, value: Any, message: str) -> None:
    """Every field that anybody uses is checked, and the message names it."""
    data = valid_json()
    change(path, value)(data)
    with pytest.raises(InvalidPackageError, match=message):
        parse_manifest(json.dumps(data).encode())


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not proper JSON"),
        (b"\xff\xfe", "not proper JSON"),
        (b"[1]", "no 'format'"),
        (b'{"format": 1, "format": 1}', "the same key twice"),
        (b'{"format": 1, "x": NaN}', "NaN is not JSON"),
        (b'{"format": 1, "x": 1e999}', "out of range"),
        (b'{"format": 1, "x": ' + b"9" * 30 + b"}", "out of range"),
        (b'{"format": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"format": 1, "x": [' + b"[]," * 200_000 + b"[]]}", "more than 300,000 values"),
        (b'{"format": 1, "x": [' + b"0," * 300_000 + b"0]}", "more than 300,000 values"),
        (b'{"format": 1, "x": ' + b"[" * 100 + b"]" * 100 + b"}", "nested deeper than 64 levels"),
    ],
)
def test_json_that_could_harm_a_reader_is_refused(raw: bytes, message: str) -> None:
    """What the manifest holds is shown and sent on, so it must be plain, finite and flat enough."""
    with pytest.raises(InvalidPackageError, match=message):
        parse_manifest(raw)


def test_unknown_fields_are_ignored() -> None:
    """Fields may be added without a new format."""
    data = {**valid_json(), "color": "green"}
    data["job"]["mood"] = "good"
    assert parse_manifest(json.dumps(data).encode()).job.name == "numbers"


def test_no_backend_means_the_jobmanagers_own() -> None:
    """A program may leave the backend to the JobManager's configuration."""
    data = valid_json()
    data["job"]["backend"] = None
    assert parse_manifest(json.dumps(data).encode()).job.backend is None


# Versions


def test_our_own_versions_are_accepted() -> None:
    """What this interpreter packed, it may open; so may another minor version of cloudpickle."""
    check_versions(manifest())
    check_versions(manifest(cloudpickle=cloudpickle.__version__.partition(".")[0] + ".999"))


@pytest.mark.parametrize(
    ("changes", "theirs", "ours", "remedy"),
    [
        ({"python": "2.7"}, "Python 2.7", "{python}", "run the program with Python {python}"),
        ({"implementation": "pypy"}, "implementation pypy", "{implementation}", "run both sides on {implementation}"),
        ({"cloudpickle": "99.1"}, "cloudpickle 99.1", "{cloudpickle}", 'pip install "cloudpickle==99.*"'),
        ({"format": 2}, "package format 2", "1", "install the same version of SAGE"),
    ],
)
def test_another_version_is_refused(changes: dict[str, Any], theirs: str, ours: str, remedy: str) -> None:
    """The error names both versions and what to do."""
    here = {
        "python": manifest().python,
        "implementation": sys.implementation.name,
        "cloudpickle": cloudpickle.__version__,
    }
    with pytest.raises(VersionMismatchError) as caught:
        check_versions(manifest(**changes), peer="JobManager on port 19001")
    error = caught.value
    assert f"{theirs} in the package, {ours.format(**here)} at the JobManager on port 19001" in error.message
    assert error.hint is not None
    assert remedy.format(**here) in error.hint
    assert error.exit_code == 9


def test_all_differences_are_told_at_once() -> None:
    """Nobody should have to install twice."""
    with pytest.raises(VersionMismatchError) as caught:
        check_versions(manifest(python="3.99", cloudpickle="99.0"))
    assert "Python 3.99" in caught.value.message
    assert "cloudpickle 99.0" in caught.value.message
    assert vars(caught.value)["theirs"] == {"Python": "3.99", "cloudpickle": "99.0"}
