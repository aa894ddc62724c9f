"""One program, here and under a JobManager: the same bytes come out, and what lies beside it travels along."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import User

PROGRAM = '''
import argparse
import asyncio
import pathlib
import sys

import helper
from shop import SCALE
from shop.prices import Rounded
from sage.core.api import *

OFFSET = 7
HERE = pathlib.Path(__file__).resolve()


class Numbers(BatchFunction):
    def __init__(self, limit):
        self.n, self.limit = 0, limit

    def execute(self):
        self.n += 1
        return self.n if self.n <= self.limit else None


class Write(SinkFunction):
    """Lines of a file, in the order of the key, as the last value of each key comes."""

    def __init__(self, path):
        self.path = path

    def open(self, context):
        self.lines = []

    def execute(self, value):
        self.lines.append(value)

    def close(self):
        pathlib.Path(self.path).write_text("".join(f"{key}\\t{value!r}\\n" for key, value in sorted(self.lines)))


def of_this_file(x):
    return x + OFFSET


async def later(x):
    await asyncio.sleep(0.001 * (x % 2))
    return x


def add(a, b):
    return a[0], a[1] + b[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--where", choices=["local", "inline", "remote"])
    parser.add_argument("output", type=pathlib.Path)
    given = parser.parse_args()
    remote = given.where == "remote"
    env = RemoteEnvironment("same") if remote else LocalEnvironment("same", backend=given.where)
    with env:
        numbers = env.from_batch(Numbers, 500).map(of_this_file).map_async(later, concurrency=8, ordered=False)
        words = env.from_collection(["Ä", "b", "c"] * 20).map(lambda word: len(word.encode()))
        both = numbers.map(helper.scaled).filter(lambda x: x % 3 > 0).union(words)
        both.flatmap(lambda x: [(x % 11, x), (x % 7, 1)]).map(Rounded, SCALE, parallelism=2).keyby(
            lambda pair: pair[0]
        ).reduce(add, final=True, parallelism=3).sink(Write, str(given.output.resolve()))
        env.submit(autostop=True)
        print(env.get_job_status()["status"])


if __name__ == "__main__":
    main()
'''


def write_program(user: User) -> None:
    """A program with a module and a package beside it, one of them imported only in a function, and a data file."""
    user.write("src/program.py", PROGRAM)
    user.write(
        "src/helper.py",
        """
        import functools

        def scaled(x):
            from shop.units import UNIT  # only when it runs
            return x * UNIT * factor()

        @functools.cache
        def factor():
            return 3
        """,
    )
    user.write("src/shop/__init__.py", "SCALE = 2\n")
    user.write("src/shop/units.py", "UNIT = 5\n")
    user.write(
        "src/shop/prices.py",
        """
        import pathlib

        from sage.core.api import MapFunction
        from . import SCALE

        class Rounded(MapFunction):
            def __init__(self, scale):
                self.scale = scale
                assert scale == SCALE

            def open(self, context):
                self.currency = pathlib.Path(__file__).with_name("currency.txt").read_text().strip()

            def execute(self, pair):
                key, value = pair
                return f"{self.currency}{key}", value // self.scale
        """,
    )
    user.write("src/shop/currency.txt", "kr\n")


def expected() -> str:
    """What a plain loop over the same records makes."""
    sums: dict[str, int] = {}
    scaled = [(n + 7) * 15 for n in range(1, 501)]
    records = [x for x in scaled if x % 3 > 0] + [len(word.encode()) for word in ["Ä", "b", "c"] * 20]
    for x in records:
        for key, value in ((x % 11, x), (x % 7, 1)):
            sums[f"kr{key}"] = sums.get(f"kr{key}", 0) + value // 2
    return "".join(f"{key}\t{value!r}\n" for key, value in sorted(sums.items()))


def test_one_switch(user: User) -> None:
    """On both local backends and remotely, from its own and from another folder, by every way of starting it."""
    write_program(user)
    elsewhere = user.folder / "elsewhere"
    elsewhere.mkdir()
    program = user.folder / "src" / "program.py"
    outputs = {}
    for where in ("local", "inline", "remote"):
        output = user.folder / f"{where}.tsv"
        done = user.python("program.py", "--where", where, output, cwd=program.parent)
        assert (done.out, done.err) == ("completed\n", "")
        outputs[where] = output.read_bytes()
    output = elsewhere / "cwd.tsv"
    assert user.python(program, "--where", "remote", "cwd.tsv", cwd=elsewhere).out == "completed\n"
    outputs["another folder"] = output.read_bytes()
    assert user.sage("run", program, "--where", "remote", "run.tsv").out == "completed\n"
    outputs["sage run"] = (user.folder / "run.tsv").read_bytes()
    sent = user.sage("job", "submit", "--wait", "--json", program, "--where", "remote", "submit.tsv").documents
    assert sent[-1]["data"]["state"] == "completed"
    outputs["sage job submit"] = (user.folder / "submit.tsv").read_bytes()
    assert outputs == dict.fromkeys(outputs, expected().encode())
    assert not list(user.folder.rglob("*.sagepkg"))


def test_local_pipelines_are_sent_by_job_submit(user: User) -> None:
    """A program that says LocalEnvironment runs under the JobManager unchanged when the command sends it."""
    write_program(user)
    local = user.sage("job", "submit", "--wait", "--json", "src/program.py", "--where", "local", "out.tsv").documents
    assert local[-1]["data"]["state"] == "completed"
    assert (user.folder / "out.tsv").read_bytes() == expected().encode()


def test_a_status_has_the_same_keys_everywhere(user: User) -> None:
    """Counts and times are told in the same words; what a policy left out is counted under a JobManager, too."""
    user.write(
        "program.py",
        """
        import json
        from sage.core.api import *
        for env in (LocalEnvironment("here"), LocalEnvironment("here", "inline"), RemoteEnvironment("there")):
            with env:
                env.from_batch(["1", "x", "3"]).map(int, on_error=skip()).print()
                last = env.submit().wait()
                assert env.get_job_status() == last
                print(json.dumps(last))
        """,
    )
    statuses = [json.loads(line) for line in user.python("program.py").out.splitlines() if line.startswith("{")]
    assert [set(status) for status in statuses] == [set(statuses[0])] * 3
    same = ("status", "state", "running", "tasks", "records_in", "records_out", "skipped", "dead_lettered", "blocked")
    assert [[status[name] for name in same] for status in statuses] == [
        ["completed", "completed", False, 1, 3, 2, 1, 0, []]
    ] * 3
    for status in statuses:
        for name in ("created_at", "started_at", "ended_at"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", status[name])


@pytest.mark.parametrize("where", ["local", "remote"])
def test_output_of_user_code(user: User, where: str) -> None:
    """What user code prints, logs and writes to stderr is in the job's log in order; locally it is the program's."""
    user.write(
        "program.py",
        """
        import sys
        from sage.core.api import *

        class Talk(SinkFunction):
            def execute(self, x):
                print("printed", x)
                print("erred", x, file=sys.stderr)
                self.logger.warning("logged %s", x)
                sys.stdout.write("no end of line ")

            def close(self):
                print("ö ∞ 🐟")

        with (RemoteEnvironment if sys.argv[1] == "remote" else LocalEnvironment)("talk") as env:
            env.from_batch([1, 2]).sink(Talk)
            job = env.submit(autostop=True)
            print(job, file=sys.stderr)
        """,
    )
    done = user.python("program.py", where)
    if where == "local":
        assert done.out == "printed 1\nno end of line printed 2\nno end of line ö ∞ 🐟\n"
        assert "erred 1\n" in done.err
        assert "logged 1" in done.err
        return
    assert done.out == ""
    lines = user.sage("job", "logs", done.err.strip()).out.splitlines()
    assert [line for line in lines if "logged" not in line] == [
        "printed 1",
        "erred 1",
        "no end of line printed 2",
        "erred 2",
        "no end of line ö ∞ 🐟",
    ]
    assert [line.rpartition("logged ")[2] for line in lines if "logged" in line] == ["1", "2"]
