"""The journal of jobs, written by a hook."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from sage_plugins_example.journal import JOURNAL

PROGRAM = """
from sage.core.api import LocalEnvironment

env = LocalEnvironment("shop")
env.from_batch([1, 2, 3]).map(lambda n: 6 // (n - {zero})).print()
env.submit(autostop=True)
"""


def run(zero: int, journal: Path) -> list[str]:
    """The states that a journal holds after a job was run in a program of its own."""
    program = PROGRAM.format(zero=zero)
    environment = {JOURNAL: str(journal), "SAGE_HOME": str(journal.parent / "home")}
    subprocess.run([sys.executable, "-P", "-c", program], env=environment, capture_output=True, timeout=120)
    return [json.loads(line)["state"] for line in journal.read_text().splitlines()]


def test_each_state_is_written(tmp_path: Path) -> None:
    """Of a job that completes, and of one that fails, before the program ends."""
    assert run(0, tmp_path / "good.jsonl") == ["starting", "running", "completed"]
    assert run(2, tmp_path / "bad.jsonl") == ["starting", "running", "failing", "failed"]
