"""Plugins that are told what happens to jobs: in order, beside the job, and never at its cost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import LIMIT, Install

import sage.core
from sage.core.api import LocalEnvironment
from sage.core.errors import JobFailedError
from sage.core.models import CheckpointInfo, JobInfo
from sage.core.plugins import job_hooks
from sage.core.plugins.job_hooks import JobHooks, installed_job_hooks, job_hooks_of_this_program

WATCH = """
    import threading
    from sage.core.plugins import hookimpl

    told, changed = [], threading.Condition()

    def note(*what):
        with changed:
            told.append(what)
            changed.notify_all()

    @hookimpl
    def sage_job_state(job, old, new, reason):
        note(job.name, old, new, reason)

    @hookimpl
    def sage_job_failure(job, failure):
        note(job.name, failure.message)

    @hookimpl
    def sage_job_checkpoint(job, checkpoint):
        note(job.name, checkpoint.n)
"""
JOB = JobInfo(1, "uuid", "orders", "running")


@pytest.fixture(autouse=True)
def no_hooks_are_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test has hooks of its own, which are closed at its end as at that of a program."""
    monkeypatch.setattr(job_hooks, "_own", None)
    yield
    job_hooks._close_own()


def plugin(install: Install, module: str, code: str = WATCH) -> None:
    install(f"sage-t-{module.replace('_', '-')}", module, code, group="sage.plugins")


def told(module: str, count: int) -> list[Any]:
    """What a plugin was told, once that is so much."""
    watch = import_module(module)
    with watch.changed:
        assert watch.changed.wait_for(lambda: len(watch.told) >= count, LIMIT)
        return list(watch.told)


def run(name: str = "orders", fail: bool = False, backend: str = "local") -> None:
    env = LocalEnvironment(name, backend=backend)
    env.from_batch([1, 0]).map(lambda value: 1 // value if fail else value).sink(ignore)
    env.submit(autostop=True)


def ignore(value: int) -> None:
    """Takes a record."""


def hooks() -> JobHooks:
    found = installed_job_hooks()
    assert found is not None
    return found


@pytest.mark.parametrize("backend", ["local", "inline"])
def test_a_job_in_this_program_is_told_from_its_start_to_its_end(install: Install, backend: str) -> None:
    """Every state in order, each with the one before."""
    plugin(install, "j_life")
    run(backend=backend)
    assert told("j_life", 3) == [
        ("orders", "created", "starting", None),
        ("orders", "starting", "running", None),
        ("orders", "running", "completed", None),
    ]


def test_a_failure_is_told_after_the_state(install: Install) -> None:
    """With what failed, and why."""
    plugin(install, "j_fails")
    with pytest.raises(JobFailedError):
        run(fail=True)
    found = told("j_fails", 5)
    assert [entry[1:3] for entry in found[2:4]] == [("running", "failing"), ("failing", "failed")]
    assert "division" in found[4][1]


def test_the_job_is_given_as_it_was(install: Install) -> None:
    """The records are counted at its end."""
    code = WATCH.replace("note(job.name, old, new, reason)", "note(job)")
    plugin(install, "j_info", code)
    run()
    jobs = [job for (job,) in told("j_info", 3)]
    assert [job.state for job in jobs] == ["starting", "running", "completed"]
    assert (jobs[-1].records_in, jobs[-1].records_out, jobs[-1].tasks) == (2, 2, 1)
    assert jobs[-1].ended_at is not None


def test_a_checkpoint_is_told(install: Install) -> None:
    """By whoever takes one."""
    plugin(install, "j_point")
    own = hooks()
    own.checkpoint(JOB, CheckpointInfo(7, "checkpoint", 0, "2026-01-01T00:00:00Z"))
    assert told("j_point", 1) == [("orders", 7)]
    own.close()


def test_without_such_hooks_nobody_is_told(install: Install) -> None:
    """Neither where nothing is installed, nor where plugins have other hooks only."""
    assert installed_job_hooks() is None
    assert job_hooks_of_this_program() is None
    code = "from sage.core.plugins import hookimpl\n@hookimpl\ndef sage_graph_check(): return []\n"
    plugin(install, "j_none", code)
    assert job_hooks_of_this_program() is None


def test_a_hook_that_raises_is_logged_and_the_others_are_told(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the plugin; the job completes."""
    plugin(install, "j_raises", WATCH.replace("note(job.name, old, new, reason)", "raise SystemExit(3)"))
    plugin(install, "j_told")
    run()
    assert len(told("j_told", 3)) == 3
    job_hooks._close_own()
    said = [record.getMessage() for record in caplog.records if record.name == "sage.plugins"]
    assert len(said) == 3
    assert "the plugin 'j_raises' of sage-t-j-raises 1.2 is broken: sage_job_state raised SystemExit: 3" in said[0]


def test_a_hook_that_blocks_holds_up_nobody(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs end, other plugins are told, the log names the one that blocks, and the program's end does not wait."""
    blocking = WATCH.replace("told, changed", "release = threading.Event()\n    told, changed")
    plugin(install, "j_blocks", blocking.replace("note(job.name, old, new, reason)", "release.wait(60)"))
    plugin(install, "j_free")
    monkeypatch.setattr(job_hooks, "LIMIT", 0.05)
    logged = threading.Event()

    def error(message: str, *args: object) -> None:
        if "j_blocks" in message % args:  # where all is slow, another may be late as well
            logged.set()

    monkeypatch.setattr(job_hooks._log, "error", error)
    run()
    run()
    assert len(told("j_free", 6)) == 6
    assert logged.wait(LIMIT)
    own = job_hooks._own
    assert own is not None
    own[1].close(0.05)
    sys.modules["j_blocks"].release.set()


def test_of_a_plugin_that_does_not_keep_up_the_oldest_events_are_dropped(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So memory is bounded; the log says how many."""
    monkeypatch.setattr(job_hooks, "CAPACITY", 3)
    began, release = threading.Event(), threading.Event()
    taken: list[int] = []

    def take(number: int) -> None:
        began.set()
        assert release.wait(LIMIT)
        taken.append(number)

    queue = job_hooks._Queue("sage-hook-slow", take, "the plugin 'slow'")
    queue.put(0)
    assert began.wait(LIMIT)
    for number in range(1, 9):
        queue.put(number)
    release.set()
    queue.close(time.monotonic() + LIMIT)
    assert taken == [0, 6, 7, 8]
    assert "the plugin 'slow' does not keep up: the oldest 5 events were dropped" in caplog.text
    queue.put(9)
    assert taken == [0, 6, 7, 8]


def test_a_simulated_job_tells_nobody(install: Install) -> None:
    """It is a test's, and may be replayed a thousand times."""
    from sage.core.testing import simulate

    plugin(install, "j_simulated")
    env = LocalEnvironment()
    env.from_batch([1]).sink(ignore)
    simulate(env, seed=1)
    assert "j_simulated" not in sys.modules


SCRIPT = """
from sage.core.api import LocalEnvironment
env = LocalEnvironment("short")
env.from_batch([1]).sink(print)
env.submit(autostop=True)
"""


def script(tmp_path: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program with one plugin, run to its end."""
    site = tmp_path / "site"
    info = site / "acme-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sage.plugins]\nacme = acme_watch\n")
    (site / "acme_watch.py").write_text(textwrap.dedent(code))
    return program(tmp_path, SCRIPT, site, **variables)


def program(tmp_path: Path, code: str, site: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program that sees sage-core, what that needs, and what lies in a folder, but nothing else that is installed."""
    (site / "sage").mkdir(parents=True)
    (site / "sage" / "core").symlink_to(Path(next(iter(sage.core.__path__))))
    for name in ("pluggy", "cloudpickle", "yaml"):
        (site / name).symlink_to(Path(next(iter(import_module(name).__path__))))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SAGE_", "COV"))}
    env = {**clean, "PYTHONPATH": str(site), "SAGE_HOME": str(tmp_path / "home"), **variables}
    command = [sys.executable, "-S", "-c", code]
    return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)


def test_the_programs_end_waits_for_what_plugins_are_to_be_told(tmp_path: Path) -> None:
    """A short program does not end before its plugins know of it; what they print goes to stderr."""
    code = "print('imported')\n" + textwrap.dedent(WATCH).replace("note(job.name, old, new, reason)", "print(new)")
    done = script(tmp_path, code)
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert done.stderr.split() == ["imported", "starting", "running", "completed"]


def test_a_trace_tells_what_is_loaded_when(tmp_path: Path) -> None:
    """On stderr, one line a step, with the time it took."""
    done = script(tmp_path, WATCH, SAGE_TRACE_PLUGINS="1")
    assert (done.returncode, done.stdout) == (0, "1\n")
    lines = done.stderr.splitlines()
    assert all(re.fullmatch(r"sage plugins: .* in [\d.]+ ms, [\d:.]+", line) for line in lines)
    assert any("loaded sage.plugins: acme = acme_watch of acme 1.0 in " in line for line in lines)
    assert sum("called sage_job_state of acme" in line for line in lines) == 3


def test_a_program_without_plugins_loads_no_part_of_them(tmp_path: Path) -> None:
    """Where no distribution has such hooks, `submit` imports neither their modules nor importlib.metadata."""
    code = SCRIPT + (
        "import sys\n"
        "print(sorted({'importlib.metadata', 'sage.core.plugins.graph_hooks', 'sage.core.plugins.job_hooks'}"
        " & set(sys.modules)))\n"
    )
    done = program(tmp_path, code, tmp_path / "site")
    assert (done.stdout, done.stderr) == ("1\n[]\n", "")
