"""The set-up of a checkout: what `dev.py` refuses, and that it sets up once."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def dev() -> ModuleType:
    """`dev.py` as a module."""
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_sets_up_once(tmp_path: Path) -> None:
    """The first run makes `.venv`, the second installs nothing."""
    shutil.copy(ROOT / "dev.py", tmp_path)
    (tmp_path / "noxfile.py").write_text(
        "import nox\n@nox.session(venv_backend='none')\ndef tests(session):\n    print('ran', *session.posargs)\n"
    )

    def run() -> str:
        command = [sys.executable, str(tmp_path / "dev.py"), "tests", "--", "-x", "--", "y"]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("NOX")}
        done = subprocess.run(command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0 and "ran -x -- y" in done.stdout, done.stdout
        return done.stdout

    assert "making .venv" in run()
    assert "making .venv" not in run()


def test_an_unknown_session_is_refused_with_the_list(dev: ModuleType) -> None:
    """A slip in the session's name, or none at all, is answered by what there is."""
    with pytest.raises(dev.SetupError, match="there is no session test") as refused:
        dev.main(["test"])
    assert all(session in refused.value.args[1] for session in ["demo", "tests", "lint", "docs", "bench", "build"])
    with pytest.raises(dev.SetupError, match="which session"):
        dev.main([])


def test_an_old_interpreter_is_refused(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter before 3.11 is refused, with the name of a newer one if there is one."""
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/python3.12" if name == "python3.12" else None)
    with pytest.raises(dev.SetupError, match=r"3\.11 or newer is needed") as refused:
        dev.check_interpreter()
    assert "/bin/python3.12 dev.py" in refused.value.args[1]


def test_a_python_without_venv_is_refused(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system splits venv from Python, the message names the package that has it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(dev.SetupError, match="without venv or pip") as refused:
        dev.check_interpreter()
    assert f"python3.{sys.version_info.minor}-venv" in refused.value.args[1]


def test_the_sessions_of_both_files_are_the_same(dev: ModuleType) -> None:
    """`dev.py` offers exactly the sessions that the noxfile has."""
    text = (ROOT / "noxfile.py").read_text()
    assert [name for name in dev.SESSIONS if f"def {name}(session" not in text] == []
    assert text.count("@nox.session") == len(dev.SESSIONS)
