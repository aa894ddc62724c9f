"""The examples, run as a user runs them: from a terminal, against a JobManager of their own."""

from __future__ import annotations

import collections
import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HELLO = ROOT / "examples" / "tutorials" / "core-api" / "hello_remote_batch.py"
WORD_COUNT = ROOT / "examples" / "word_count" / "word_count.py"
SAGE = Path(sys.executable).with_name("sage")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command with a SAGE_HOME, a port and a working folder of this test's own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SAGE_")}
    environment |= {"SAGE_HOME": str(tmp_path / "home"), "SAGE_DAEMON__PORT": str(free_port()), "COLUMNS": "120"}

    def run(*command: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        parts = [str(part) for part in command]
        done = subprocess.run(
            parts, env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == code, f"{parts} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def jobmanager(run: Run) -> Iterator[None]:
    """A JobManager that the test's commands and programs find by their configuration."""
    run(SAGE, "jobmanager", "start")
    yield
    run(SAGE, "jobmanager", "stop")


@pytest.fixture(scope="module")
def expected() -> str:
    """The counts of all words in the standard library, made by `collections.Counter` alone."""
    counter: collections.Counter[str] = collections.Counter()
    library = Path(sysconfig.get_path("stdlib"))
    for path in library.rglob("*.py"):
        if not {"site-packages", "dist-packages"} & set(path.relative_to(library).parts):
            counter.update(re.findall(r"\w+", path.read_text(encoding="utf-8", errors="replace").lower()))
    pairs = sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))
    return "".join(f"{word}\t{count}\n" for word, count in pairs)


@pytest.mark.usefixtures("jobmanager")
def test_hello_remote_batch(run: Run) -> None:
    """The tutorial's program ends `completed`; its numbers, doubled, are in the job's log in order."""
    assert "status: completed" in run(sys.executable, HELLO, "--limit", "5").stdout
    log = run(SAGE, "job", "logs", "1").stdout
    assert re.findall(r"hello, (\d+)", log) == ["2", "4", "6", "8", "10"]


def test_hello_takes_host_and_port_from_the_command_line(run: Run) -> None:
    """Given a port where nobody listens, the program says so instead of using the configured one."""
    port = str(free_port())
    done = run(sys.executable, HELLO, "--host", "127.0.0.1", "--port", port, code=1)
    assert port in done.stderr and "DaemonUnreachableError" in done.stderr


@pytest.mark.usefixtures("jobmanager")
def test_word_count_is_the_same_everywhere(run: Run, tmp_path: Path, expected: str) -> None:
    """Locally and on a JobManager the same file comes out, byte for byte, and it is what Counter counts."""
    local, remote = tmp_path / "local.tsv", tmp_path / "remote.tsv"
    assert "status: completed" in run(sys.executable, WORD_COUNT, "--output", local).stdout
    assert "status: completed" in run(sys.executable, WORD_COUNT, "--remote", "--output", remote).stdout
    assert local.read_bytes() == expected.encode()
    assert remote.read_bytes() == expected.encode()
    top_word, top_count = expected.splitlines()[0].split("\t")
    assert f"{int(top_count):,}  {top_word}" in run(SAGE, "job", "logs", "1").stdout


def test_the_demonstration_succeeds_and_leaves_nothing(tmp_path: Path) -> None:
    """It exits 0, has shown both jobs as completed, and its folder and its JobManager are gone."""
    done = demonstrate(tmp_path, "")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("completed") >= 2
    assert list(tmp_path.glob("sage-demo-*")) == []


def test_a_failing_demonstration_still_stops_its_jobmanager(tmp_path: Path) -> None:
    """When a step fails it exits 1, names the step and the folder it kept, and no JobManager is left running."""
    done = demonstrate(tmp_path, "demo.HELLO = 'examples/missing.py'")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "missing.py" in done.stderr
    (folder,) = tmp_path.glob("sage-demo-*")
    assert str(folder) in done.stderr
    assert not (folder / "home" / "daemon.json").exists()
    port = json.loads(re.search(r"daemon\.port (\d+)", done.stdout).group(1))  # type: ignore[union-attr]
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def demonstrate(folder: Path, change: str) -> subprocess.CompletedProcess[str]:
    """Run the demonstration with its temporary folder in `folder`, after a change to its module."""
    program = f"import sys, demo\n{change}\nsys.argv[1:] = []\nsys.exit(demo.main())"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SAGE_")}
    environment |= {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT / "examples"), "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
