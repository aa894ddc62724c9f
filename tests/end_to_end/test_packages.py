"""Packages that are damaged, not ours, or made by another Python: refused before anything of them is opened."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sage.core.errors import ConflictError, InvalidPackageError

if TYPE_CHECKING:
    from conftest import User

PROGRAM = """
import helper
from sage.core.api import RemoteEnvironment

with RemoteEnvironment("packed") as env:
    env.from_batch([1, 2]).map(helper.double).print()
    env.submit()
"""

OPENED = """
import pathlib
pathlib.Path({mark!r}).touch()  # whoever imports this has opened the package

def double(x):
    return 2 * x
"""


@pytest.fixture(scope="module")
def captured(module_user: User) -> tuple[bytes, Path]:
    """A package of a program with a module beside it, as a program itself makes one, and the file of that module."""
    mark = module_user.folder / "opened"
    module_user.write("helper.py", OPENED.format(mark=str(mark)))
    module_user.write("program.py", PROGRAM)
    folder = module_user.folder / "captured"
    folder.mkdir()
    module_user.python("program.py", env={"SAGE_CAPTURE": str(folder)})
    [path] = folder.glob("*.sagepkg")
    return path.read_bytes(), mark


@pytest.fixture
def mark(captured: tuple[bytes, Path]) -> Path:
    """A file that is there once somebody has opened the package."""
    captured[1].unlink(missing_ok=True)
    return captured[1]


@pytest.fixture
def package(user: User, captured: tuple[bytes, Path]) -> Path:
    """The package of a job that was not submitted yet."""
    path = user.folder / "packed.sagepkg"
    path.write_bytes(doctored(captured[0], job={"uuid": str(uuid.uuid4())}))
    return path


def doctored(data: bytes, **changes: Any) -> bytes:
    """The package with other entries in its manifest, and all else in order."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as after:
        manifest = json.loads(before.read("manifest.json"))
        manifest["job"].update(changes.pop("job", {}))
        after.writestr("manifest.json", json.dumps({**manifest, **changes}))
        for name in before.namelist()[1:]:
            after.writestr(name, before.read(name))
    return out.getvalue()


def flipped(data: bytes) -> bytes:
    """One bit of the graph's bytes is another one."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        place = archive.getinfo("graph.pkl")
    start = place.header_offset + 30 + len(place.filename) + place.compress_size // 2
    return data[:start] + bytes([data[start] ^ 1]) + data[start + 1 :]


def exchanged(data: bytes) -> bytes:
    """A sound zip file whose module is not the one that the manifest declares."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w") as after:
        for name in before.namelist():
            text = before.read(name)
            after.writestr(name, text.replace(b"2 * x", b"3 * x") if name == "modules/helper.py" else text)
    return out.getvalue()


def wheel(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("sage/evil.py", "raise SystemExit")
        archive.writestr("sage-1.dist-info/METADATA", "Name: sage")
    return out.getvalue()


def test_environment_variables_travel_and_are_not_told(user: User) -> None:
    """Functions find them, sent by either way; their names are shown, what they hold is shown nowhere."""
    program = """
        import os
        from sage.core.api import RemoteEnvironment

        def look(x):
            return len(os.environ["API_KEY"]), os.environ["MODE"]

        with RemoteEnvironment("keys", env_vars={"API_KEY": "hush" * 5, "MODE": "dry"}) as env:
            env.from_batch([1]).map(look).print()
            job = env.submit()
        print(job)
    """
    user.write("program.py", program)
    jobs = [user.python("program.py").out.strip()]
    jobs.append(user.sage("job", "submit", "--json", "program.py").data["items"][0]["uuid"])
    for job in jobs:
        user.wait(job, {"completed"})
        assert user.sage("job", "logs", job).out == "(20, 'dry')\n"
        shown = user.sage("job", "show", "-v", "--json", job)
        assert shown.data["env_vars"] == ["API_KEY", "MODE"]
        text = shown.out + user.sage("job", "show", "-v", job).out
        assert "API_KEY, MODE" in text
        text += user.sage("jobmanager", "logs", "-n", "100000").out
        assert "hushhush" not in text
        assert (user.home / "jobs" / job).stat().st_mode & 0o077 == 0
    user.write("refused.py", program.replace('"MODE": "dry"', '"SAGE_HOME": "secret"'))
    refused = user.python("refused.py", code=1)
    assert "the environment variable SAGE_HOME is SAGE's own" in refused.last_error
    assert "secret" not in refused.last_error


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (flipped, "graph.pkl"),
        (exchanged, "helper.py"),
        (lambda data: data[: len(data) // 2], "cut off"),
        (lambda data: data[:-1], "cut off"),
        (lambda data: b"", "empty"),
        (lambda data: b"#!/bin/sh\nexit 1\n", "begin like a zip file"),
        (wheel, "manifest.json"),
        (lambda data: doctored(data, format=2), "format"),
    ],
    ids=["corrupt", "exchanged", "half", "last byte", "empty", "script", "wheel", "newer format"],
)
def test_a_package_that_is_none(
    user: User, package: Path, mark: Path, damage: Callable[[bytes], bytes], what: str
) -> None:
    """Client and command say what is wrong with it, exit code 9; it is not opened, and nothing of it is kept."""
    before = user.uuids()
    package.write_bytes(damage(package.read_bytes()))
    with user.client() as client, pytest.raises(InvalidPackageError) as raised:
        client.submit(package)
    done = user.sage("job", "submit", "--json", package, code=9)
    assert done.data["code"] == "invalid_package"
    assert done.data["message"] == raised.value.message
    assert done.data["message"].startswith(f"{package.name}: the package is ")
    assert what in done.data["message"]
    assert done.data["hint"]
    assert user.uuids() == before
    assert {path.name for path in user.job_folders()} == before
    assert not mark.exists()


def test_the_same_package_again(user: User, package: Path, mark: Path) -> None:
    """It is one job, however often it is sent; another content under its uuid is refused with 8, and the job stays."""
    first = user.sage("job", "submit", "--wait", package)
    assert "2\n4\n" in first.out
    assert mark.exists()
    again = user.sage("job", "submit", "--json", package).data["items"]
    assert [(job["state"], job["uuid"] in first.out or job["uuid"][:8] in first.out) for job in again] == [
        ("completed", True)
    ]
    package.write_bytes(doctored(package.read_bytes(), job={"name": "another"}))
    done = user.sage("job", "submit", "--json", package, code=8)
    assert done.data["code"] == ConflictError.code
    assert again[0]["uuid"] in done.data["message"]
    assert user.job(again[0]["uuid"]).name == "packed"


HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"python": "3.98"}, ["3.98", HERE]),
        ({"implementation": "pypy"}, ["pypy", "cpython"]),
        ({"cloudpickle": "99.0"}, ["99.0"]),
    ],
    ids=["python", "implementation", "cloudpickle"],
)
def test_other_versions(user: User, package: Path, mark: Path, changes: dict[str, Any], told: list[str]) -> None:
    """Both versions and a remedy are named, exit code 9; nothing was opened and nothing is kept."""
    before = user.uuids()
    package.write_bytes(doctored(package.read_bytes(), **changes))
    done = user.sage("job", "submit", "--json", package, code=9)
    assert done.data["code"] == "version"
    assert [part for part in told if part not in done.data["message"]] == [], done.data
    assert done.data["hint"]
    assert user.uuids() == before
    assert not mark.exists()


def other_python() -> Path | None:
    """An installed Python of another minor version that SAGE's client would run on."""
    roots = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    roots += sorted((Path.home() / ".pyenv" / "versions").glob("*/bin"))
    for minor in range(11, 20):
        for root in roots:
            path = root / f"python3.{minor}"
            if minor != sys.version_info.minor and path.exists():
                asked = subprocess.run([path, "-c", "import sys; print(sys.version_info[1])"], capture_output=True)
                if asked.stdout.strip() == str(minor).encode():
                    return path
    return None


def test_another_python(user: User) -> None:
    """A program of another Python is refused by the JobManager, with both versions and what to do."""
    python = other_python()
    if python is None:
        pytest.skip("no other Python from 3.11 on is installed")
    site = user.folder / "site-packages"  # what the client needs, and all of it is Python
    for name in ("cloudpickle", "pluggy", "sage.core"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        shutil.copytree(
            Path(spec.origin).parent, site.joinpath(*name.split(".")), ignore=shutil.ignore_patterns("__pycache__")
        )
    user.write(
        "program.py",
        'from sage.core.api import *\nwith RemoteEnvironment("other") as env:\n    '
        "env.from_batch([1]).map(lambda x: x).print()\n    env.submit()\n",
    )
    before = user.uuids()
    done = user.run(python, "program.py", code=1, env={"PYTHONPATH": str(site)})
    assert done.last_error.startswith("sage.core.errors.VersionMismatchError: "), done.err
    minor = python.name.removeprefix("python")
    assert f"Python {minor}" in done.last_error
    assert f"Python {HERE}" in done.last_error
    assert "hint: " in done.last_error
    assert user.uuids() == before
