"""Programs that describe something that cannot run: told at `submit()` with the program's line, and nothing is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import User

CLASSES = """\
import json, sys, threading
from sage.core.api import *
from sage.core.errors import AlreadySubmittedError, SageError

class Count(BatchFunction):
    def __init__(self, limit):
        self.n, self.limit = 0, limit
    def execute(self):
        self.n += 1
        return self.n if self.n <= self.limit else None

class Double(MapFunction):
    def execute(self, x):
        return 2 * x

class Keep(FilterFunction):
    def __init__(self, lowest, *, highest=9):
        self.lowest = lowest
    def execute(self, x):
        return x >= self.lowest

class Locked(MapFunction):
    def __init__(self, inner=None):
        self.inner = inner or Inner()
    def execute(self, x):
        return x

class Inner:
    def __init__(self):
        self.lock = threading.Lock()

class NoExecute(MapFunction):
    def run(self, x):
        return x
"""

HEAD = (
    CLASSES
    + """
remote = sys.argv[1] == "remote"
env = RemoteEnvironment("refused") if remote else LocalEnvironment("refused", backend=sys.argv[1])
numbers = env.from_batch(Count, 3)
"""
)
"""The beginning of a program that runs here or there, as its argument says."""

LINE = HEAD.count("\n") + 1
"""The line of the program that comes next."""

TAIL = """
with env:
    env.submit(autostop=True)
print("submitted")
"""

BOTH_HEAD = (
    CLASSES
    + """
def build(env):
    numbers = env.from_batch(Count, 3)
"""
)
"""The beginning of a program that tries both."""

BOTH_LINE = BOTH_HEAD.count("\n") + 1

BOTH_TAIL = """
    return env

for kind in (LocalEnvironment, RemoteEnvironment):
    with build(kind("refused")) as env:
        try:
            env.submit(autostop=True)
        except SageError as error:
            print(json.dumps([type(error).__name__, str(error), error.exit_code, len(error.problems)]))
"""

REFUSES = "its constructor does not take these arguments"

CASES = {
    "no sink": (
        "numbers.map(Double)",
        2,
        [
            f"program.py:{BOTH_LINE}: map 'Double': its records go nowhere",
            "the pipeline has no sink",
            "hint: end it with .sink(",
        ],
    ),
    "nothing at all": (
        "env = type(env)('refused')",
        1,
        ["the pipeline is empty: it has no source and no sink", "hint: begin with env.from_batch("],
    ),
    "unconnected stream": (
        "numbers.print(); numbers.map(Double, name='forgotten')",
        1,
        [f"program.py:{BOTH_LINE}: map 'forgotten': its records go nowhere", "hint: end it with .sink("],
    ),
    "unconnected source": (
        "numbers.print(); env.from_collection([1])",
        1,
        [f"program.py:{BOTH_LINE}: collection 'list': its records go nowhere", "hint: end it with .sink("],
    ),
    "wrong kind": (
        "numbers.map(Keep, 1).print()",
        1,
        [
            f"program.py:{BOTH_LINE}: map 'Keep': is a filter function, but this is a map operator",
            "MapFunction, or call .filter(",
        ],
    ),
    "wrong kind of source": (
        "env.from_source(Count, 3).print(); numbers.print()",
        1,
        [
            f"program.py:{BOTH_LINE}: source 'Count': is a batch function, but this is a source",
            "or call env.from_batch(",
        ],
    ),
    "no function": (
        "numbers.map(7).print()",
        1,
        [f"program.py:{BOTH_LINE}: map 'int': expects a function class, an instance of one, or a callable, not int"],
    ),
    "no execute": (
        "numbers.map(NoExecute).print()",
        1,
        [f"program.py:{BOTH_LINE}: map 'NoExecute': does not define execute"],
    ),
    "too few constructor arguments": (
        "numbers.filter(Keep).print()",
        1,
        [f"program.py:{BOTH_LINE}: filter 'Keep': {REFUSES}: missing a required argument: 'lowest'"],
    ),
    "too many constructor arguments": (
        "numbers.filter(Keep, 1, 2).print()",
        1,
        [f"program.py:{BOTH_LINE}: filter 'Keep': {REFUSES}: too many positional arguments"],
    ),
    "unknown constructor argument": (
        "numbers.filter(Keep, lowest=1, hihgest=2).print()",
        1,
        [f"program.py:{BOTH_LINE}: filter 'Keep': {REFUSES}: got an unexpected keyword argument 'hihgest'"],
    ),
    "wrong source arguments": (
        "env.from_batch(Count).print(); numbers.print()",
        1,
        [f"program.py:{BOTH_LINE}: batch 'Count': {REFUSES}: missing a required argument: 'limit'"],
    ),
    "a callable of another form": (
        "numbers.map(lambda x, y: x).print()",
        1,
        [f"program.py:{BOTH_LINE}: map '<lambda>': it cannot be called with 1 argument, as map does"],
    ),
    "unpicklable attribute of an instance": (
        "numbers.map(Locked()).print()",
        1,
        [f"program.py:{BOTH_LINE}: ", "Locked.self.inner.lock", "hint: make it in open()"],
    ),
    "unpicklable constructor argument": (
        "numbers.map(Locked, {'deep': [Inner()]}).print()",
        1,
        [f"program.py:{BOTH_LINE}: ", "args[0]['deep'][0].lock", "hint: "],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_pipeline_that_cannot_run(user: User, case: str) -> None:
    """Whether it should run here or under a JobManager: what is wrong, on which line, and what to do."""
    line, problems, parts = CASES[case]
    user.write("program.py", f"{BOTH_HEAD}    {line}{BOTH_TAIL}")
    before = user.uuids()
    told = [json.loads(line) for line in user.python("program.py").out.splitlines()]
    assert [(name, code, count) for name, _, code, count in told] == [("GraphError", 9, problems)] * 2
    for _, text, _, _ in told:
        assert [part for part in parts if part not in text] == [], text
    assert user.uuids() == before


def test_all_problems_come_in_one_error(user: User) -> None:
    """Each with its own line, numbered in the order of declaration; the command that sends pipelines ends with 9."""
    lines = [
        "odd = numbers.filter(lambda x, y: True)",
        "odd.map(Keep, 1).print()",
        "numbers.map(Double, 7).print()",
        "numbers.map(Double, parallelism=0).print()",
        "numbers.map(Double)",
    ]
    user.write("program.py", HEAD + "\n".join(lines) + TAIL)
    expected = [
        f"1. program.py:{LINE}: filter '<lambda>': it cannot be called with 1 argument",
        f"2. program.py:{LINE + 1}: map 'Keep': is a filter function",
        f"3. program.py:{LINE + 2}: map 'Double': its constructor does not take these arguments",
        f"4. program.py:{LINE + 3}: map 'Double': parallelism must be a whole number from 1",
        f"5. program.py:{LINE + 4}: map 'Double': its records go nowhere",
    ]
    before = user.uuids()
    sent = user.sage("job", "submit", "--json", "program.py", "remote", code=9)
    assert sent.data["code"] == "script_failed"
    assert "nothing was sent" in sent.data["message"]
    for done in (sent, user.sage("run", "program.py", "remote", code=1), user.python("program.py", "inline", code=1)):
        assert "GraphError: the pipeline has 5 problems:" in done.err
        assert [part for part in expected if part not in done.err] == [], done.err
    assert user.uuids() == before


def test_what_only_travelling_needs(user: User) -> None:
    """A lambda over a lock runs here; for a JobManager it is refused, with the variable's name."""
    user.write("program.py", HEAD + "lock = threading.Lock()\nnumbers.map(lambda x: lock and x).print()" + TAIL)
    assert user.python("program.py", "local").out == "1\n2\n3\nsubmitted\n"
    done = user.python("program.py", "remote", code=1)
    assert done.last_error.startswith("sage.core.errors.GraphError: the pipeline has a problem:")
    for part in (f"program.py:{LINE + 1}: map '<lambda>': ", "global variable 'lock'", "cannot pickle", "hint: "):
        assert part in done.last_error


def test_an_unknown_backend(user: User) -> None:
    """It is named with those that are installed: by this program, by the JobManager, and as an exit code."""
    user.write("program.py", HEAD.replace('"refused")', '"refused", backend="flink")') + "numbers.print()" + TAIL)
    before = user.uuids()
    here = user.python("program.py", "flink", code=1)
    there = user.python("program.py", "remote", code=1)
    for done in (here, there):
        assert done.out == ""
        assert done.last_error.startswith("sage.core.errors.UnknownBackendError: ")
        assert "'flink'" in done.last_error
        assert "inline" in done.last_error
        assert "local" in done.last_error
    sent = user.sage("job", "submit", "--json", "program.py", "remote", code=9)
    assert sent.data["code"] == "unknown_backend"
    assert "flink" in sent.data["message"]
    assert user.uuids() == before


@pytest.mark.parametrize("where", ["local", "remote"])
def test_a_second_submit(user: User, where: str) -> None:
    """It is refused and names the job there is, which goes on to its end."""
    user.write(
        "program.py",
        HEAD
        + """
numbers.print()
job = env.submit()
try:
    env.submit()
except AlreadySubmittedError as error:
    print(error.job == str(job) == env.env_uuid, error.exit_code, file=sys.stderr)
    print(error, file=sys.stderr)
print(job.wait()["status"], file=sys.stderr)
env.close()
""",
    )
    done = user.python("program.py", where)
    first, text, hint, end = done.err.splitlines()
    assert first == "True 8"
    assert text.startswith("'refused' was submitted before, as job ")
    assert "make a new environment" in hint
    assert end == "completed"
    if where == "remote":
        assert user.job(text.rpartition(" ")[2]).state == "completed"
