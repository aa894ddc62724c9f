"""`sage run` and `sage job submit` with scripts that play the API's part: report, capture, output, exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

UUIDS = [f"{n}{n}{n}{n}2c3d-0000-4000-8000-00000000000{n}" for n in range(1, 4)]

RUN = """
import json, os, sys
print("script", sys.argv[1:], __name__, flush=True)
with open(os.environ["SAGE_RUN_REPORT"], "a") as report:
    for uuid in {uuids!r}:
        report.write(json.dumps({{"uuid": uuid, "host": "127.0.0.1", "port": {port}, "seen": {seen}}}) + "\\n")
sys.exit({status})
"""
SUBMIT = """
import os, pathlib, sys
print("script", sys.argv[1:])
for number, uuid in enumerate({uuids!r}, 1):
    pathlib.Path(os.environ["SAGE_CAPTURE"], f"{{number:03d}}-{{uuid}}.sagepkg").write_text(uuid)
sys.exit({status})
"""
INFO = {
    "sage": "0.1.0",
    "api": 1,
    "python": "3.11",
    "implementation": "cpython",
    "cloudpickle": "3",
    "pid": 1,
    "started_at": "2026-01-02T03:04:05Z",
    "session_log": "/log",
    "backends": ["local"],
}


def script(sage: Any, text: str, name: str = "pipeline.py", **facts: Any) -> str:
    (sage.folder / name).write_text(text.format(**{"status": 0, "uuids": [], "port": 0, "seen": False, **facts}))
    return name


def known(jobmanager: Any, number: int, state: str, *texts: str, started: str = "running") -> dict[str, Any]:
    """A job that is asked for once as it runs, and afterwards as it ended."""
    facts = {"number": number, "uuid": UUIDS[number - 1], "name": f"job-{number}"}
    running = jobmanager.job(**facts, state=started)
    ended: dict[str, Any] = jobmanager.job(**facts, state=state)
    jobmanager.on("GET", f"jobs/{facts['uuid']}", running, ended)
    jobmanager.log(ended, *texts)
    return ended


def test_run_is_python_when_nothing_is_submitted(sage: Any) -> None:
    """Arguments, options among them, standard streams and the exit status are the script's own."""
    name = script(
        sage, "import sys\nprint(sys.argv, __name__, sys.stdin.read())\nprint('oh', file=sys.stderr)\nsys.exit(5)\n"
    )
    result = sage("run", name, "--json", "-v", "x y", "--", "--output=z", input="typed")
    assert result.out == "['pipeline.py', '--json', '-v', 'x y', '--', '--output=z'] __main__ typed\n"
    assert (result.err, result.code) == ("oh\n", 5)


def test_run_finds_modules_beside_the_script_only(sage: Any) -> None:
    """sys.path is what `python SCRIPT` makes of it."""
    (sage.folder / "inner").mkdir()
    (sage.folder / "inner" / "beside.py").write_text("NAME = 'beside'\n")
    (sage.folder / "inner" / "main.py").write_text("import beside, sys\nprint(beside.NAME, sys.argv[0])\n")
    assert sage("run", "inner/main.py").out == "beside inner/main.py\n"


@pytest.mark.parametrize("command", [("run",), ("job", "submit")])
def test_a_script_that_is_not_there(sage: Any, command: tuple[str, ...]) -> None:
    """A mistake in the command line, told before anything else."""
    result = sage(*command, "none.py")
    assert (result.out, result.code) == ("", 2)
    assert result.err == "error: there is no file none.py\n"


@pytest.mark.parametrize(
    ("states", "code"), [(["completed"], 0), (["failed"], 1), (["stopped"], 7), (["cancelled", "failed"], 1)]
)
def test_run_follows_what_goes_on(sage: Any, jobmanager: Any, states: list[str], code: int) -> None:
    """Jobs that have not ended are followed; how they end decides."""
    ended = [known(jobmanager, number, state, f"from {number}\n") for number, state in enumerate(states, 1)]
    uuids = [info["uuid"] for info in ended]
    result = sage("run", script(sage, RUN, uuids=uuids, port=jobmanager.port), "a")
    first, *logs = result.out.splitlines()
    assert first == "script ['a'] __main__"
    prefix = "job {} | " if len(ended) > 1 else ""
    assert sorted(logs) == [prefix.format(info["number"]) + f"from {info['number']}" for info in ended]
    for info in ended:
        assert f"job {info['number']} (job-{info['number']}): {info['state']}\n" in result.err
    assert result.code == code


def test_run_shows_what_has_ended_before_the_script(sage: Any, jobmanager: Any) -> None:
    """How quick a job is does not decide whether its output is seen."""
    info = known(jobmanager, 1, "completed", "from 1\n", started="completed")
    result = sage("run", script(sage, RUN, uuids=[info["uuid"]], port=jobmanager.port))
    assert (result.out, result.code) == ("script [] __main__\nfrom 1\n", 0)


def test_run_does_not_follow_what_the_script_has_read_but_counts_it(sage: Any, jobmanager: Any) -> None:
    """A script that has read its job's log has shown it; that the job failed is still told by the exit code."""
    info = jobmanager.job(state="failed", uuid=UUIDS[0])
    result = sage("run", script(sage, RUN, uuids=[info["uuid"], UUIDS[1]], port=jobmanager.port, seen=True))
    assert (result.out, result.code) == ("script [] __main__\n", 1)
    assert not [path for path in jobmanager.asked("GET") if "logs" in path]


def test_run_for_machines_keeps_stdout_for_the_result(sage: Any, jobmanager: Any) -> None:
    """With --json the script's output goes to stderr; documents, one a line, to stdout."""
    info = known(jobmanager, 1, "completed", "one\n")
    result = sage("run", "--json", script(sage, RUN, uuids=[info["uuid"]], port=jobmanager.port))
    assert result.err == "script [] __main__\n"
    assert [line["kind"] for line in result.lines] == ["Log", "Job", "Run"]
    assert result.lines[-1]["data"] == {"exit_status": 0, "jobs": [info]}
    assert result.code == 0


def test_a_failed_script_is_not_followed(sage: Any, jobmanager: Any) -> None:
    """Its status is the command's; its jobs go on, and where to find them is said."""
    info = known(jobmanager, 1, "completed", "one\n")
    result = sage("run", script(sage, RUN, uuids=[info["uuid"]], port=jobmanager.port, status=4))
    assert (result.out, result.code) == ("script [] __main__\n", 4)
    assert result.err == "the script ended with status 4; what it submitted is in: sage job list\n"
    assert jobmanager.asked("GET") == []


def test_a_script_that_is_killed(sage: Any) -> None:
    """Its status is told as a shell would."""
    name = script(sage, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert sage("run", name).code == 128 + signal.SIGKILL


def test_signals_are_the_scripts(sage: Any) -> None:
    """SIGTERM is passed on; Ctrl-C, which the terminal sends to both, is the script's to handle."""
    name = script(
        sage,
        "import signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})\n"
        "print('ready', flush=True)\n"
        "print(signal.sigwait({{signal.SIGTERM}}).name)\n"
        "sys.exit(3)\n",
    )
    command = [str(Path(sys.executable).with_name("sage")), "run", name]
    process = subprocess.Popen(command, env=sage.environment(), cwd=sage.folder, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "SIGTERM\n"
        assert process.wait(60) == 3


def submitting(jobmanager: Any, *jobs: dict[str, Any]) -> None:
    jobmanager.on("GET", "info", INFO)
    jobmanager.on("POST", "jobs", *(jobmanager.answer_of(info, 201) for info in jobs))


def test_submit_sends_every_package_in_order(sage: Any, jobmanager: Any) -> None:
    """One row a job; what the script prints goes to stderr, since stdout is for data."""
    jobs = [jobmanager.job(number=n, uuid=UUIDS[n - 1], state="submitted", started_at=None) for n in (1, 2)]
    submitting(jobmanager, *jobs)
    result = sage("job", "submit", script(sage, SUBMIT, uuids=UUIDS[:2]), "--limit", "3")
    assert result.out == (
        "NUMBER  NAME     STATE      BACKEND  CREATED (UTC)        DURATION  UUID\n"
        "     1  numbers  submitted  local    2026-01-02 03:04:05         -  11112c3d\n"
        "     2  numbers  submitted  local    2026-01-02 03:04:05         -  22222c3d\n"
    )
    assert (result.err, result.code) == ("script ['--limit', '3']\n", 0)
    assert [request.body.decode() for request in jobmanager.requests if request.method == "POST"] == UUIDS[:2]
    submitting(jobmanager, *jobs)
    assert sage("job", "submit", "--json", "pipeline.py").json["data"]["items"] == jobs


@pytest.mark.parametrize(("state", "code"), [("completed", 0), ("failed", 1), ("cancelled", 7)])
def test_submit_waits_when_it_is_told_to(sage: Any, jobmanager: Any, state: str, code: int) -> None:
    """--wait follows the jobs and ends as they did."""
    info = known(jobmanager, 1, state, "one\n")
    submitting(jobmanager, {**info, "state": "submitted"})
    result = sage("job", "submit", "--wait", script(sage, SUBMIT, uuids=UUIDS[:1]))
    assert result.out.splitlines()[1].split()[:3] == ["1", "job-1", "submitted"]
    assert result.out.splitlines()[2:] == ["one"]
    assert result.err == f"script []\njob 1 (job-1): {state}\n"
    assert result.code == code


def test_a_package_is_sent_as_it_is(sage: Any, jobmanager: Any) -> None:
    """What was captured before can be sent without the script."""
    submitting(jobmanager, jobmanager.job())
    (sage.folder / "one.sagepkg").write_text("package")
    assert sage("job", "submit", "one.sagepkg").code == 0
    assert jobmanager.requests[-1].body == b"package"
    assert sage("job", "submit", "one.sagepkg", "x").code == 2
    (sage.folder / "folder.sagepkg").mkdir()
    result = sage("job", "submit", "folder.sagepkg")
    assert result.code == 2
    assert "folder.sagepkg cannot be read: Is a directory" in result.err


def test_nothing_is_sent_if_the_script_fails(sage: Any, jobmanager: Any) -> None:
    """A script that did not reach its end may not have said all it wanted: exit code 9."""
    submitting(jobmanager, jobmanager.job())
    result = sage("job", "submit", script(sage, SUBMIT, uuids=UUIDS[:1], status=3))
    assert (result.out, result.code) == ("", 9)
    assert result.err == (
        "script []\n"
        "error: pipeline.py ended with status 3; nothing was sent to the JobManager\n"
        "  hint: the script must reach its end without an error; what it printed is above\n"
    )
    assert jobmanager.asked("POST") == []
    result = sage("job", "submit", script(sage, SUBMIT, uuids=UUIDS[:1], status=3), "--wait")
    assert result.err.endswith(". --wait went to the script: options of sage job submit stand before it\n")


def test_a_script_that_submits_nothing(sage: Any, jobmanager: Any) -> None:
    """Most likely submit() was forgotten: exit code 9."""
    result = sage("job", "submit", script(sage, SUBMIT))
    assert (result.out, result.code) == ("", 9)
    assert "error: pipeline.py submitted nothing\n" in result.err


def test_a_refused_package_is_the_jobmanagers_error(sage: Any, jobmanager: Any) -> None:
    """If the first is refused, its error is the command's."""
    refusal = {"status": 422, "code": "version", "detail": "Python 3.12 is not 3.11", "hint": None}
    jobmanager.on("GET", "info", INFO)
    jobmanager.on("POST", "jobs", jobmanager.answer_of(refusal, 422))
    result = sage("job", "submit", script(sage, SUBMIT, uuids=UUIDS[:2]))
    assert (result.out, result.code) == ("", 9)
    assert result.err == "script []\nerror: Python 3.12 is not 3.11\n"


def test_partly_sent_is_ten(sage: Any, jobmanager: Any) -> None:
    """If a later one is refused, what was taken is told: exit code 10."""
    info = jobmanager.job(number=1, uuid=UUIDS[0])
    refusal = {"status": 413, "code": "limit", "detail": "too large", "hint": "send less"}
    jobmanager.on("GET", "info", INFO)
    jobmanager.on("POST", "jobs", jobmanager.answer_of(info, 201), jobmanager.answer_of(refusal, 413))
    result = sage("job", "submit", "--json", script(sage, SUBMIT, uuids=UUIDS[:2]))
    assert result.code == 10
    assert result.json["data"] == {
        "code": "limit",
        "message": "the JobManager took 1 of 2 jobs (1 (numbers)); number 2: too large",
        "hint": "send less",
        "exit_code": 10,
        "jobs": [info],
    }
