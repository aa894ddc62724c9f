"""The whole road by the command: scripts, packages, a real JobManager, jobs, logs, exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PIPELINE = """
import sys, threading

from sage.core.api import BatchFunction, MapFunction, RemoteEnvironment, SinkFunction


class CountTo(BatchFunction):
    def __init__(self, limit):
        self.limit = limit
        self.count = 0

    def execute(self):
        self.count += 1
        return self.count if self.count <= self.limit else None


class Double(MapFunction):
    def execute(self, value):
        if MODE == "fail" and value == 2:
            raise ValueError("two is one too many \\x1b[2J")
        if MODE == "hang":
            print("hanging", flush=True)
            threading.Event().wait()
        return value * 2


class Print(SinkFunction):
    def execute(self, value):
        print("got", value, flush=True)


MODE, *rest = sys.argv[1:]
env = RemoteEnvironment(f"numbers-{MODE}")
env.from_batch(CountTo, 3).map(Double).sink(Print)
env.submit(autostop="autostop" in rest)
print("sent", MODE)
env.close()
"""


class Place:
    """The command beside a running JobManager, with the script at hand."""

    def __init__(self, sage: Any) -> None:
        self.sage = sage
        self.script = sage.folder / "numbers.py"
        self.script.write_text(PIPELINE)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.sage(*args, **kwargs)

    def submit(self, mode: str) -> dict[str, Any]:
        result = self("job", "submit", "--json", self.script, mode)
        assert (result.err, result.code) == (f"sent {mode}\n", 0)
        (job,) = result.json["data"]["items"]
        assert job["name"] == f"numbers-{mode}"
        return dict(job)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, make_sage: Any) -> Iterator[Place]:
    """One JobManager for all tests of this module."""
    sage = make_sage(tmp_path_factory.mktemp("real"))
    sage.env["SAGE_DAEMON__PORT"] = "0"
    started = sage("jobmanager", "start")
    assert started.code == 0, started.err
    yield Place(sage)
    assert sage("jobmanager", "stop").code == 0


def test_a_job_from_submit_to_cleanup(place: Place) -> None:
    """Submitted, waited for, listed, shown, read, deleted."""
    job = place.submit("well")
    ref = str(job["number"])
    ended = place("job", "wait", job["uuid"][:8], "--json", "--timeout", "60")
    assert (ended.code, ended.json["data"]["state"]) == (0, "completed")
    assert place("job", "logs", ref).out == "got 2\ngot 4\ngot 6\n"
    assert place("job", "logs", ref, "--offset", "6").out == "got 4\ngot 6\n"
    followed = place("job", "logs", "-f", ref)
    assert (followed.out, followed.code) == ("got 2\ngot 4\ngot 6\n", 0)
    assert followed.err == f"job {ref} (numbers-well): completed\n"
    assert place("job", "status", ref).out == "completed\n"
    listed = place("job", "list", "--name", "numbers-well", "--json").json["data"]["items"]
    assert [item["uuid"] for item in listed] == [job["uuid"]]

    shown = place("job", "show", "-v", ref, "--json").json["data"]
    records = {each["name"]: (each["records_in"], each["records_out"]) for each in shown["metrics"]["operators"]}
    assert records == {"CountTo": (0, 3), "Double": (3, 3), "Print": (3, 0)}
    assert (shown["running"], shown["tasks"], shown["services"]) == (False, 1, 0)
    assert [change["state"] for change in shown["history"]] == [
        "submitted", "queued", "starting", "running", "completed",
    ]  # fmt: skip

    refused = place("job", "continue", ref)
    assert (refused.out, refused.code) == ("", 8)
    assert "savepoint" in refused.err
    assert place("job", "stop", ref).code == 8
    assert place("job", "delete", ref, "--yes").err == f"job {ref} (numbers-well) is deleted\n"
    assert place("job", "show", ref).code == 3


def test_a_job_that_fails(place: Place) -> None:
    """The end of the wait is 1; show tells operator, record and traceback, cleaned."""
    result = place("job", "submit", "--wait", place.script, "fail")
    assert result.code == 1
    ref = result.out.splitlines()[1].split()[0]
    assert result.err.startswith(f"sent fail\njob {ref} (numbers-fail): failed: ")
    shown = place("job", "show", ref)
    assert shown.code == 0
    assert "\x1b" not in shown.out
    for text in ("operator:  Double", "record:    2", "two is one too many \\x1b[2J", "numbers.py", "ValueError"):
        assert text in shown.out
    assert place("job", "wait", ref).code == 1
    removed = place("job", "cleanup", "--yes", "--state", "failed", ref)
    assert removed.err == "removed 1 job\n"


def test_a_job_that_never_ends(place: Place) -> None:
    """It is not waited for for ever, not deleted as it runs, stopped by a command, and 7 tells it."""
    ref = str(place.submit("hang")["number"])
    assert place("job", "wait", ref, "--timeout", "10ms").code == 6
    assert place("job", "delete", ref, "--yes").code == 8
    stopped = place("job", "stop", ref)
    assert stopped.code == 0 and stopped.out.startswith(f"job {ref} (numbers-hang): cancel")
    assert place("job", "logs", "-f", ref).code == 7
    assert place("job", "status", ref).out == "cancelled\n"


def test_run_follows_a_job_of_the_script(place: Place) -> None:
    """Without autostop the script ends first, and the command follows; with it the job's output is shown afterwards."""
    result = place("run", place.script, "well")
    assert result.out == "sent well\ngot 2\ngot 4\ngot 6\n"
    assert result.code == 0
    waited = place("run", place.script, "well", "autostop")
    assert (waited.out, waited.code) == ("sent well\ngot 2\ngot 4\ngot 6\n", 0)
    assert waited.err.endswith(": completed\n")
    failed = place("run", place.script, "fail")
    assert failed.code == 1


def test_run_of_a_local_pipeline(place: Place) -> None:
    """A LocalEnvironment runs in the script's own process, as without the command."""
    script = Path(place.sage.folder, "local.py")
    text = PIPELINE.replace("RemoteEnvironment", "LocalEnvironment")
    script.write_text(text)
    result = place("run", script, "well", "autostop")
    assert (result.out, result.err, result.code) == ("got 2\ngot 4\ngot 6\nsent well\n", "", 0)


def test_a_forced_delete_of_a_running_job(place: Place) -> None:
    """--force cancels, waits and deletes."""
    ref = str(place.submit("hang")["number"])
    assert place("job", "delete", "--force", ref).code == 0
    assert place("job", "show", ref).code == 3


def test_pipelines_that_are_wrong(place: Place) -> None:
    """The script's own error is shown as Python shows it, and nothing is sent."""
    script = Path(place.sage.folder, "wrong.py")
    script.write_text(PIPELINE.replace(".sink(Print)", ""))
    before = place("job", "list", "--json").json["data"]["items"]
    result = place("job", "submit", script, "well")
    assert (result.out, result.code) == ("", 9)
    assert "GraphError" in result.err and "wrong.py" in result.err
    assert place("job", "list", "--json").json["data"]["items"] == before
