"""Files here and under a JobManager: the same records, policies and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import User

PROGRAM = """
import sys

from sage.core.api import LocalEnvironment, RemoteEnvironment, dead_letter, skip
from sage.core.errors import JobFailedError

where, out = sys.argv[1:]
env = RemoteEnvironment("files") if where == "remote" else LocalEnvironment("files", backend=where)
with env:
    lines = env.from_jsonl("in/*.jsonl", parallelism=3, on_error=dead_letter(f"{out}.letters"))
    lines.map(lambda record: {"id": record["id"]}, parallelism=3).to_csv(f"{out}.csv", parallelism=3)
    rows = env.from_csv("in/table.csv", on_error=skip())
    rows.to_jsonl(f"{out}.jsonl")
    try:
        env.submit(autostop=True)
    except JobFailedError as error:
        print(error.failure.message)
    print(env.get_job_status()["status"])
"""


def test_files_are_the_same_everywhere(user: User) -> None:
    """Relative paths are those of the program, also in the job's process."""
    folder = user.write("src/program.py", PROGRAM).parent
    (folder / "in").mkdir()
    for name in "ab":
        (folder / "in" / f"{name}.jsonl").write_text("".join(f'{{"id": "{name}{n}"}}\n' for n in range(300)) + "oops\n")
    (folder / "in" / "table.csv").write_text('a,b\n1,"2\n3"\nx\n4,5\n')
    found = {}
    for where in ("inline", "local", "remote"):
        done = user.python("program.py", where, where, cwd=folder)
        assert (done.out, done.err) == ("completed\n", "")
        parts = [(folder / f"{where}-00{part}-of-003.csv").read_text().split() for part in range(3)]
        assert all(part[0] == "id" for part in parts)
        letters = (folder / f"{where}.letters").read_text()
        assert "a.jsonl, line 301: not JSON" in letters
        assert "b.jsonl, line 301: not JSON" in letters
        found[where] = (sorted(id for part in parts for id in part[1:]), (folder / f"{where}.jsonl").read_text())
    expected = sorted(f"{name}{n}" for name in "ab" for n in range(300))
    rows = '{"a":"1","b":"2\\n3"}\n{"a":"4","b":"5"}\n'
    assert found == dict.fromkeys(found, (expected, rows))
    assert not list(folder.glob(".*.tmp"))


def test_a_job_that_fails_leaves_no_files(user: User) -> None:
    """With file and line of what was wrong, and nothing of the sinks that had gone well; dead letters are no result."""
    program = PROGRAM.replace("on_error=skip()", "on_error=None")
    folder = user.write("src/program.py", program).parent
    (folder / "in").mkdir()
    (folder / "in" / "a.jsonl").write_text('{"id": 1}\n')
    (folder / "in" / "table.csv").write_text("a,b\n1,2\nx\n")
    done = user.python("program.py", "remote", "out", cwd=folder)
    assert f"{folder / 'in' / 'table.csv'}, line 3: 1 value for 2 columns" in done.out
    assert done.out.endswith("failed\n")
    assert sorted(path.name for path in folder.iterdir()) == ["in", "out.letters", "program.py"]
    assert (folder / "out.letters").read_text() == ""
