"""The commands, as a user runs them: `sage` in a child, against a JobManager of the tests' own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sage.core.testing import ThrowAwayJobManager

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = Path(sys.executable).with_name("sage")


@pytest.fixture
def sage(jobmanager: ThrowAwayJobManager, tmp_path: Path) -> Run:
    """Runs `sage` in a folder of the test's own, against the JobManager of the tests."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SAGE_")}
    environment = {**clean, **jobmanager.variables, "COLUMNS": "100"}

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *args],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def job(jobmanager: ThrowAwayJobManager) -> str:
    """The uuid of a job that has ended."""
    env = jobmanager.environment("shop")
    env.from_batch([1, 2, 3]).print()
    env.submit(autostop=True)
    return env.env_uuid


def test_a_greeting(sage: Run) -> None:
    """People see a table, machines a document; help knows the command."""
    assert "Hello, ada!" in sage("hello", "world", "ada").stdout
    assert json.loads(sage("hello", "world", "--json").stdout) == {
        "sage": 1,
        "kind": "Greeting",
        "data": {"whom": "world", "text": "Hello, world!"},
    }
    assert "hello       Greet the world, or the jobs that run." in sage("--help").stdout


def test_an_export(sage: Run, job: str, tmp_path: Path) -> None:
    """It holds what is known of the job; a file that is there needs a yes; no job runs any more to be greeted."""
    done = sage("job", "export", job, "--json")
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)["data"]
    document = json.loads((tmp_path / written["path"]).read_text())
    assert (document["job"]["state"], document["log"]) == ("completed", "1\n2\n3\n")
    assert document["history"][0]["state"] == "submitted"
    assert document["failures"] == []
    assert sage("job", "export", job).returncode == 9
    assert sage("job", "export", job, "--yes").returncode == 0
    assert sage("job", "export", job, "--to", "nowhere/job.json").returncode == 9
    assert sage("job", "export", "nobody").returncode == 3
    greeted = sage("hello", "jobs")
    assert (greeted.returncode, greeted.stderr) == (0, "no job is running\n")
