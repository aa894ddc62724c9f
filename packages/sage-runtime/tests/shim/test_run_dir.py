"""The folder for sockets: private, short, and refused where it is not ours."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sage.core.errors import ConfigError
from sage.runtime.run_dir import job_socket, run_dir


@pytest.fixture
def runtime(short_folder: Path) -> dict[str, str]:
    short_folder.chmod(0o700)
    return {"XDG_RUNTIME_DIR": str(short_folder)}


def test_made_private(runtime: dict[str, str], tmp_path: Path) -> None:
    """It is made for this user alone, in the runtime folder, again and again the same."""
    folder = run_dir(tmp_path, env=runtime)
    assert folder.parent == Path(runtime["XDG_RUNTIME_DIR"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert run_dir(tmp_path, env=runtime) == folder


def test_one_per_home(runtime: dict[str, str], tmp_path: Path) -> None:
    """Two homes never meet; two ways to one home do."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "home")
    assert run_dir(link, env=runtime) == run_dir(tmp_path / "home", env=runtime)
    assert run_dir(tmp_path / "other", env=runtime) != run_dir(tmp_path / "home", env=runtime)


@pytest.fixture
def in_tmp(tmp_path: Path) -> Iterator[Path]:
    folder = run_dir(tmp_path, env={})
    yield folder
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def test_without_a_runtime_folder(in_tmp: Path, tmp_path: Path) -> None:
    """It lies in /tmp where there is no usable runtime folder, named after the user."""
    assert in_tmp.parent == Path("/tmp")
    assert in_tmp.name.startswith(f"sage-{os.getuid()}-")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    for unusable in ("/nowhere", str(shared), ""):
        assert run_dir(tmp_path, env={"XDG_RUNTIME_DIR": unusable}) == in_tmp


def test_open_to_others_is_closed(in_tmp: Path, tmp_path: Path) -> None:
    """A folder of ours that others could enter is closed."""
    in_tmp.chmod(0o755)
    run_dir(tmp_path, env={})
    assert stat.S_IMODE(in_tmp.stat().st_mode) == 0o700


def test_a_link_is_refused(in_tmp: Path, tmp_path: Path) -> None:
    """A link in its place is refused, also one that leads to a folder of ours."""
    in_tmp.rmdir()
    in_tmp.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="is a link"):
        run_dir(tmp_path, env={})


def test_a_file_is_refused(in_tmp: Path, tmp_path: Path) -> None:
    """So is a file."""
    in_tmp.rmdir()
    in_tmp.write_text("")
    with pytest.raises(ConfigError, match="not a folder"):
        run_dir(tmp_path, env={})


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder that belongs to somebody else")
def test_somebody_elses_is_refused(in_tmp: Path, tmp_path: Path) -> None:
    """So is a folder of another user."""
    os.chown(in_tmp, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to user id 12345"):
        run_dir(tmp_path, env={})


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be made is an error that says where and what to do."""

    def refuse(self: Path, mode: int = 0o777) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ConfigError, match="XDG_RUNTIME_DIR"):
        run_dir(tmp_path, env={})


def test_socket_paths(tmp_path: Path) -> None:
    """A job's socket bears the beginning of its uuid; a path that no socket can have is refused."""
    assert job_socket(Path("/run/x"), "0123456789abcdef").name == "0123456789ab.sock"
    with pytest.raises(ConfigError, match="too long"):
        job_socket(Path("/" + "x" * 100), "0123456789abcdef")
