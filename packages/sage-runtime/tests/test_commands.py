"""What the commands jobmanager, deploy and cluster do without a command line; sage-cli's tests try them whole."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import sage.runtime.commands
from sage.core.config import load
from sage.runtime.commands import daemon, session_log
from sage.runtime.commands.daemon import DaemonControlError
from sage.runtime.shim.processes import identify

FACTS = {"host": "127.0.0.1", "port": 5, "started_at": "2026-01-02T03:04:05Z", "session_log": "/log"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGE_HOME", str(tmp_path))
    return tmp_path


def test_every_command_has_a_help_of_its_own() -> None:
    """Helps are listed beside the module, so that `sage --help` need not import it."""
    helps = json.loads(Path(next(iter(sage.runtime.commands.__path__)), "sage_commands.json").read_text())
    ours = [item for item in entry_points(group="sage.commands") if item.value.startswith("sage.runtime.")]
    assert set(helps) == {item.name for item in ours} == {"jobmanager", "deploy", "cluster"}
    for item in ours:
        assert item.load().app.info.help == helps[item.name]


def test_a_jobmanager_is_known_by_more_than_its_pid(home: Path) -> None:
    """A daemon.json of another boot, of another start time or of no process names none that runs."""
    me = identify(os.getpid())
    assert me is not None
    file = home / "daemon.json"
    assert daemon.running() is None
    for change in ({"boot_id": "another"}, {"start_time": me.start_time + 1}, {"pid": 2**22 + 1}):
        file.write_text(json.dumps({**me.to_json(), **FACTS, **change}))
        assert daemon.running() is None
    file.write_text(json.dumps({**me.to_json(), **FACTS}))
    found = daemon.running()
    assert found is not None
    assert (found.status.status, found.status.pid, found.status.port) == ("up", os.getpid(), 5)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x"}'])
def test_a_daemon_file_that_says_nothing(home: Path, text: str) -> None:
    """It is an error that names the file: a JobManager may run, and nobody may guess."""
    (home / "daemon.json").write_text(text)
    with pytest.raises(DaemonControlError, match=r"daemon\.json does not say which JobManager runs here"):
        daemon.running()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", socket.gethostname()])
def test_this_host_by_its_names(home: Path, host: str) -> None:
    """Loopback and the host's own name are this host."""
    config = load(overrides={"daemon.host": host})
    daemon.require_this_host(config, "nothing can be done")


@pytest.mark.parametrize("act", [lambda config: daemon.stop(config, timeout=1), daemon.start, daemon.run_foreground])
def test_another_host(home: Path, act: Callable[[object], object]) -> None:
    """Acting on processes of another host is refused with its name."""
    config = load(overrides={"daemon.host": "sage.invalid"})
    with pytest.raises(DaemonControlError, match=r"to be on sage\.invalid, which is not this host") as caught:
        act(config)
    assert (caught.value.code, caught.value.exit_code) == ("other_host", 9)


@pytest.mark.parametrize(
    ("text", "count", "shown"),
    [("", 3, ""), ("a\nb\nc\n", 2, "b\nc\n"), ("a\nb\nc", 2, "b\nc"), ("a\nb\n", 5, "a\nb\n"), ("\n\n\n", 2, "\n\n")],
)
def test_the_last_lines(tmp_path: Path, text: str, count: int, shown: str) -> None:
    """Whole lines from the end, whether the last one has ended or not, and where they are."""
    path = tmp_path / "log"
    path.write_text(text)
    chunk = session_log.last_lines(path, count)
    assert (chunk.text, chunk.offset, chunk.next_offset) == (shown, len(text) - len(shown), len(text))


def test_following_goes_on_with_what_the_name_means(tmp_path: Path) -> None:
    """What is added, and the next file from its beginning."""
    path = tmp_path / "latest.log"
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text("a\nb\n")
    second.write_text("c\n")
    path.symlink_to(first)
    following = session_log.follow(path, 1)
    assert next(following).text == "b\n"
    with first.open("a") as file:
        file.write("more\n")
    assert next(following).text == "more\n"
    path.unlink()
    path.symlink_to(second)
    chunk = next(following)
    assert (chunk.text, chunk.offset) == ("c\n", 0)
