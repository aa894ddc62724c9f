"""The client's token is taken only from a file that is its user's alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sage.core.config import Config, read_token, token_path
from sage.core.config.schema import Daemon
from sage.core.errors import NotAllowedError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGE_HOME", str(tmp_path))
    return tmp_path


def put(path: Path, text: str | bytes = "s3cret-s3cret-s3cret\n", mode: int = 0o600) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def test_the_token_of_sage_home_is_taken(home: Path) -> None:
    """Without `daemon.token_file`, it is `token` in SAGE_HOME; white space around it is not part of it."""
    put(home / "token")
    assert read_token(Config()) == "s3cret-s3cret-s3cret"


def test_a_configured_file_comes_first(home: Path) -> None:
    """`daemon.token_file` moves it."""
    put(home / "token", "one")
    other = put(home / "other", "two")
    config = Config(daemon=Daemon(token_file=other))
    assert token_path(config) == other
    assert read_token(config) == "two"


def test_no_file_is_no_token(home: Path) -> None:
    """A JobManager that was never started has made none."""
    assert read_token(Config()) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o610])
def test_a_file_open_to_others_is_refused(home: Path, mode: int) -> None:
    """The error says what to do, and the token is in none of it."""
    path = put(home / "token", mode=mode)
    with pytest.raises(NotAllowedError, match=f"mode {mode:04o}") as caught:
        read_token(Config())
    assert caught.value.hint is not None
    assert f"chmod 600 {path}" in caught.value.hint
    assert "s3cret" not in str(caught.value)
    assert caught.value.exit_code == 5


def test_a_file_of_another_user_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that somebody else laid there is not sent."""
    put(home / "token")
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(NotAllowedError, match="belongs to another user"):
        read_token(Config())


@pytest.mark.parametrize("content", ["", "\n", "two words", "tab\there", "é", b"\xff\xfe", "x" * 5000, "a\nb"])
def test_a_file_without_a_token_is_refused(home: Path, content: str | bytes) -> None:
    """What could not stand in a header is no token."""
    put(home / "token", content)
    with pytest.raises(NotAllowedError, match="holds no token"):
        read_token(Config())


def test_what_is_no_file_is_refused(home: Path) -> None:
    """A folder or a pipe in its place is told at once; a pipe does not block."""
    (home / "token").mkdir()
    with pytest.raises(NotAllowedError, match="no regular file"):
        read_token(Config())
    (home / "token").rmdir()
    os.mkfifo(home / "token", 0o600)
    with pytest.raises(NotAllowedError, match="no regular file"):
        read_token(Config())


def test_a_file_that_cannot_be_opened_is_refused(home: Path) -> None:
    """There is no falling back to "no token"."""
    (home / "token").symlink_to(home / "token")
    with pytest.raises(NotAllowedError, match="cannot be read"):
        read_token(Config())
