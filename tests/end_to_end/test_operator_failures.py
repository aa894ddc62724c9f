"""An exception in each kind of operator of a job under a JobManager: told to the program and shown by the commands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import User

PROGRAM = """\
import json
import sys

from sage.core.api import *
from sage.core.errors import JobFailedError


class Broken(Exception):
    pass


def three(x):
    if x == 3:
        raise Broken(f"no {x}")  # in three
    return x


class Source(BatchFunction):
    def __init__(self):
        self.n = 0

    def execute(self):
        self.n += 1
        return three(self.n)  # in the source


class Ticks(SourceFunction):
    def __init__(self):
        self.n = 0

    def execute(self):
        self.n += 1
        return three(self.n)  # in the unbounded source


class Opened(MapFunction):
    def open(self, context):
        raise Broken("not open")  # in open

    def execute(self, x):
        return x


class Closed(MapFunction):
    def execute(self, x):
        return x

    def close(self):
        raise Broken("not closed")  # in close


class Sum(ReduceFunction):
    def execute(self, accumulated, x):
        return accumulated + three(x)  # in the reduce


class Sink(SinkFunction):
    def execute(self, x):
        three(x)  # in the sink


def numbers(env):
    return env.from_collection([1, 2, 3, 4])


PIPELINES = {
    "source": lambda env: env.from_batch(Source).print(),
    "ticks": lambda env: env.from_source(Ticks).print(),
    "collection": lambda env: env.from_batch(lambda: (three(x) for x in range(5))).print(),  # in a generator
    "map": lambda env: numbers(env).map(three, name="triple").print(),
    "filter": lambda env: numbers(env).filter(lambda x: three(x) > 0).print(),  # in the filter
    "flatmap": lambda env: numbers(env).flatmap(lambda x: [three(x)]).print(),  # in the flatmap
    "keyby": lambda env: numbers(env).keyby(lambda x: three(x)).reduce(max).print(),  # in the keyby
    "reduce": lambda env: numbers(env).keyby(lambda x: 0).reduce(Sum).print(),
    "sink": lambda env: numbers(env).sink(Sink),
    "open": lambda env: numbers(env).map(Opened).print(),
    "close": lambda env: numbers(env).map(Closed).print(),
}

jobs = {}
for name, build in PIPELINES.items():
    env = RemoteEnvironment(name)
    build(env)
    jobs[name] = env, env.submit()
for name, (env, job) in jobs.items():
    try:
        job.wait()
    except JobFailedError as error:
        told = {"text": str(error), "job": error.job, "code": error.exit_code, "failure": error.failure.to_json()}
        print(json.dumps({"name": name, "status": env.get_job_status()["status"], **told}))
    env.close()
"""

EXPECTED = {
    # operator, its uid, the record, lines of the program in the traceback
    "source": ("Source", "batch:Source", None, ["in the source", "in three"]),
    "ticks": ("Ticks", "source:Ticks", None, ["in the unbounded source", "in three"]),
    "collection": ("<lambda>", "collection:<lambda>", None, ["in a generator", "in three"]),
    "map": ("triple", "map:triple", "3", ["in three"]),
    "filter": ("<lambda>", "filter:<lambda>", "3", ["in the filter", "in three"]),
    "flatmap": ("<lambda>", "flatmap:<lambda>", "3", ["in the flatmap", "in three"]),
    "keyby": ("<lambda>", "keyby:<lambda>", "3", ["in the keyby", "in three"]),
    "reduce": ("Sum", "reduce:Sum", "3", ["in the reduce", "in three"]),
    "sink": ("Sink", "sink:Sink", "3", ["in the sink", "in three"]),
    "open": ("Opened", "map:Opened", None, ["in open"]),
    "close": ("Closed", "map:Closed", None, ["in close"]),
}


@dataclass(frozen=True)
class Told:
    """What the program printed of its failed jobs."""

    user: User
    jobs: dict[str, dict[str, Any]]
    listed: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def told(module_user: User) -> Told:
    """One program, with a job for each kind of operator, that waits for all of them."""
    module_user.write("failing.py", PROGRAM)
    lines = [json.loads(line) for line in module_user.python("failing.py").out.splitlines()]
    jobs = {line["name"]: line for line in lines}
    assert jobs.keys() == EXPECTED.keys()
    listed = module_user.sage("job", "list", "--state", "failed", "--limit", "500", "--json").data["items"]
    return Told(module_user, jobs, {job["uuid"]: job for job in listed})


@pytest.mark.parametrize("kind", EXPECTED)
def test_an_exception_in_an_operator(told: Told, kind: str) -> None:
    """Operator, its line, record and remote traceback are in the error, in `job show` and in JSON."""
    operator, uid, record, marks = EXPECTED[kind]
    job = told.jobs[kind]
    failure = job["failure"]
    assert (job["status"], job["code"]) == ("failed", 1)
    assert (failure["kind"], failure["operator"], failure["uid"], failure["record"]) == (
        "user_code",
        operator,
        uid,
        record,
    )
    assert failure["error_type"] == "__main__.Broken"
    [declared] = [n for n, line in enumerate(PROGRAM.splitlines(), 1) if line.startswith(f'    "{kind}": ')]
    assert failure["location"] == f"failing.py:{declared}"

    shown = told.user.sage("job", "show", job["job"])
    listed = told.listed[job["job"]]
    assert (listed["state"], listed["running"]) == ("failed", False)
    assert listed["failure"] == failure
    if kind == "map":
        assert told.user.sage("job", "show", "--json", job["job"]).data == listed
    for text in (job["text"], shown.out):
        assert failure["message"] in text
        assert uid in text
        assert failure["location"] in text
        for mark in marks:
            [line] = [line.strip() for line in PROGRAM.splitlines() if line.endswith(f"# {mark}")]
            assert line in text, f"{line!r} is not in\n{text}"
        assert "failing.py" in text
    assert failure["traceback"].rstrip() in job["text"]
    if record is not None:
        assert f"record: {record}" in job["text"]


def test_an_uncaught_failure(user: User) -> None:
    """The program ends with its traceback and 1; `sage run`, `job wait` and `logs -f` with 1, and `show` with 0."""
    user.write(
        "program.py",
        """
        from sage.core.api import RemoteEnvironment
        with RemoteEnvironment("uncaught") as env:
            env.from_batch([2, 1, 0]).map(lambda x: 4 // x).print()
            env.submit(autostop=True)
        """,
    )
    done = user.python("program.py", code=1)
    assert done.out == ""
    assert "\nsage.core.errors.JobFailedError: job 'uncaught' (" in done.err
    assert "env.from_batch([2, 1, 0]).map(lambda x: 4 // x).print()" in done.err
    assert done.err.rstrip().endswith("ZeroDivisionError: integer division or modulo by zero")
    ran = user.sage("run", "program.py", code=1)
    assert "\nsage.core.errors.JobFailedError: job 'uncaught' (" in ran.err
    [number] = user.sage("job", "list", "--json", "--name", "uncaught", "--limit", "1").data["items"]
    ref = number["number"]
    waited = user.sage("job", "wait", ref, code=1)
    assert "ZeroDivisionError" in waited.out
    followed = user.sage("job", "logs", "-f", ref, code=1)
    assert followed.out == "2\n4\n"
    assert f"job {ref} (uncaught): failed: map '<lambda>' failed: ZeroDivisionError" in followed.err
    assert user.sage("job", "show", ref).code == 0
    assert user.sage("job", "status", ref).out == "failed\n"
