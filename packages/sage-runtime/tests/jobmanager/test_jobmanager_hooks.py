"""Plugins that the daemon tells of its jobs."""

from __future__ import annotations

import itertools
import json
import os
import textwrap
from pathlib import Path
from typing import Any

WATCH = """
    import json, os
    from sage.core.plugins import hookimpl

    print("imported")

    def note(*what):
        with open(os.environ["NOTED"], "a") as file:
            file.write(json.dumps(what) + "\\n")

    @hookimpl
    def sage_job_state(job, old, new, reason):
        note(job.number, job.name, old, new)

    @hookimpl
    def sage_job_failure(job, failure):
        note(job.number, failure.kind, failure.message)
"""


def install(folder: Path, name: str, code: str) -> str:
    """A distribution with one plugin; returns a PYTHONPATH with it."""
    site = folder / "site"
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[sage.plugins]\n{name} = {name}_plugin\n")
    (site / f"{name}_plugin.py").write_text(textwrap.dedent(code))
    return os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])


def test_every_state_and_failure_is_told(make_daemon: Any, packages: Any, tmp_path: Path) -> None:
    """From submitted to the end, in order; the end of the daemon waits until plugins know."""
    noted = tmp_path / "noted"
    daemon = make_daemon(env={"PYTHONPATH": install(tmp_path, "watch", WATCH), "NOTED": str(noted)}).start()
    whole = daemon.wait(daemon.submitted(packages("quick"))["number"])
    broken = daemon.wait(daemon.submitted(packages("broken"))["number"])
    states = ["created", *daemon.history(whole["number"])]
    assert daemon.stop() == 0
    told = [json.loads(line) for line in noted.read_text().splitlines()]
    number = whole["number"]
    assert [item for item in told if item[0] == number] == [
        [number, "quick", old, new] for old, new in itertools.pairwise(states)
    ]
    number = broken["number"]
    assert [item for item in told if item[0] == number][-3:] == [
        [number, "broken", "running", "failing"],
        [number, "broken", "failing", "failed"],
        [number, "user_code", broken["failure"]["message"]],
    ]


def test_what_happens_while_the_daemon_is_away_is_told_when_it_is_back(
    make_daemon: Any, packages: Any, tmp_path: Path
) -> None:
    """A job that goes on without the JobManager, and ends without it."""
    noted = tmp_path / "noted"
    daemon = make_daemon(env={"PYTHONPATH": install(tmp_path, "watch", WATCH), "NOTED": str(noted)}).start()
    job = daemon.submitted(packages("held"))
    daemon.wait(job["number"], "running")
    daemon.kill()
    daemon.release(job["uuid"])
    daemon.start()
    daemon.wait(job["number"])
    assert daemon.stop() == 0
    told = [json.loads(line) for line in noted.read_text().splitlines()]
    assert told[-1] == [job["number"], "held", "running", "completed"]
    assert told.count(told[-1]) == 1


def test_bad_plugins_cost_a_line_in_the_session_log(make_daemon: Any, packages: Any, tmp_path: Path) -> None:
    """One cannot be imported, one raises, one never returns: jobs run, the daemon ends, the log names them."""
    state = "\n@hookimpl\ndef sage_job_state(job):\n    "
    head = "import threading\nfrom sage.core.plugins import hookimpl\n"
    install(tmp_path, "lacks", "import what_is_not_there")
    install(tmp_path, "raises", head + state + "raise ValueError(job.name)\n")
    path = install(tmp_path, "blocks", head + state + "threading.Event().wait()\n")
    daemon = make_daemon(env={"PYTHONPATH": path}).start()
    assert daemon.wait(daemon.submitted(packages("quick"))["number"])["state"] == "completed"
    assert daemon.stop() == 0
    log = daemon.session_log
    assert log.count("the plugin 'lacks' of lacks 1.0 is broken: importing it raised ModuleNotFoundError") == 1
    assert "the plugin 'raises' of raises 1.0 is broken: sage_job_state raised ValueError: quick" in log
    assert "the plugin 'blocks' of blocks 1.0 was not told " in log
