"""User code that takes its process away: only its own job ends, and what happened is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import User

PROGRAM = """
import ctypes
import json
import os
import sys

import leaves
from held import Held, Show
from sage.core.api import RemoteEnvironment
from sage.core.errors import JobFailedError


def exits(x):
    print("last words")
    os._exit(3)


def exits_well(x):
    os._exit(0)


def segfaults(x):
    ctypes.string_at(0)


def recurses(x):
    return recurses(x) + 1


def exhausts(x):
    sys.setrecursionlimit(10**9)
    nested = []
    for _ in range(2_000_000):
        nested = [nested]
    return repr(nested)


def quits(x):
    sys.exit(4)


def imports(x):
    return leaves.f(x)


def submit(f):
    with RemoteEnvironment(f.__name__) as env:
        env.from_batch([1]).map(f).print()
        return env.submit()


with RemoteEnvironment("bystander") as env:
    env.from_source(Held, f"{sys.path[0]}/release-{env.env_uuid}").sink(Show)
    print(json.dumps({"name": "bystander", "job": str(env.submit())}))
jobs = [submit(f) for f in (exits, exits_well, segfaults, recurses, exhausts, quits, imports)]
for job in jobs:
    try:
        job.wait()
    except JobFailedError as error:
        print(json.dumps({"name": job.name, "job": error.job, "text": str(error)}))
"""

LEAVES = """
import os

if "SAGE_SHIM_FD" in os.environ or "SAGE_JOB_FOLDER" in os.environ:
    raise SystemExit(0)


def f(x):
    return x
"""


@dataclass(frozen=True)
class Told:
    """What the program printed of its jobs."""

    user: User
    jobs: dict[str, dict[str, Any]]

    def show(self, name: str) -> Any:
        """The job as the command shows it."""
        return self.user.sage("job", "show", "--json", self.jobs[name]["job"]).data


@pytest.fixture(scope="module")
def told(module_user: User) -> Told:
    """One program that submits all of them beside an ordinary job."""
    module_user.write("held.py", module_user.held)
    module_user.write("leaves.py", LEAVES)
    module_user.write("hostile.py", PROGRAM)
    lines = [json.loads(line) for line in module_user.python("hostile.py").out.splitlines()]
    return Told(module_user, {line["name"]: line for line in lines})


@pytest.mark.parametrize(
    ("name", "kind", "status", "signal", "message"),
    [
        ("exits", "process", 3, None, "the job's process ended with exit status 3 before it told an outcome"),
        ("exits_well", "process", 0, None, "the job's process ended with exit status 0 before it told an outcome"),
        ("segfaults", "process", None, "SIGSEGV", "the job's process was killed by SIGSEGV (Segmentation fault)"),
        ("exhausts", "process", None, "SIGSEGV", "the job's process was killed by SIGSEGV (Segmentation fault)"),
        ("recurses", "user_code", None, None, "map 'recurses' failed: RecursionError: "),
        ("quits", "user_code", None, None, "map 'quits' failed: SystemExit: 4"),
        ("imports", "load", None, None, "the job's package cannot be opened: SystemExit: 0"),
    ],
)
def test_what_ends_a_process(
    told: Told, name: str, kind: str, status: int | None, signal: str | None, message: str
) -> None:
    """The job has failed, the program is told why, and the commands show it; the exit code of waiting is 1."""
    job = told.jobs[name]
    assert f"job '{name}' ({job['job']}) failed: {message}" in job["text"]
    waited = told.user.sage("job", "wait", "--json", job["job"], code=1).data
    failure = waited["failure"]
    assert (waited["state"], waited["running"]) == ("failed", False)
    assert (failure["kind"], failure["exit_status"], failure["signal"]) == (kind, status, signal)
    assert failure["message"].startswith(message)


def test_last_words_are_kept(told: Told) -> None:
    """What was printed before the process was gone is in the log, and the user's frames of a crash are shown."""
    assert "last words\n" in told.user.sage("job", "logs", told.jobs["exits"]["job"]).out
    assert "last words" in told.jobs["exits"]["text"]
    [line] = [n for n, line in enumerate(PROGRAM.splitlines(), 1) if line.strip() == "ctypes.string_at(0)"]
    place = f'hostile.py", line {line} in segfaults'
    assert place in told.jobs["segfaults"]["text"]
    assert place in told.user.sage("job", "show", told.jobs["segfaults"]["job"]).out
    assert "leaves.py" in told.jobs["imports"]["text"]
    assert "raise SystemExit(0)" in told.jobs["imports"]["text"]


def test_others_go_on(told: Told) -> None:
    """A job that ran beside all of them has lost nothing, and the JobManager takes the next one."""
    told.user.works()
    ref = told.jobs["bystander"]["job"]
    assert told.show("bystander")["state"] == "running"
    told.user.release(ref)
    assert told.user.sage("job", "logs", "-f", ref).out == "got 1\ngot 2\ngot 3\ngot released\nclosed\n"
