"""`sage job …` against a JobManager that answers from a script: whole output, exit code, and what was asked."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from sage.cli.commands.job.list import State
from sage.core.models import JOB_STATES

UUID = "0a1b2c3d-0000-4000-8000-000000000003"
FAILURE = {
    "kind": "user_code",
    "message": "ZeroDivisionError: division by zero",
    "operator": "Halve",
    "uid": "map:Halve",
    "subtask": 0,
    "location": "numbers.py:12",
    "record": "0",
    "error_type": "ZeroDivisionError",
    "traceback": 'Traceback (most recent call last):\n  File "numbers.py", line 5, in execute\nZeroDivisionError\n',
    "exit_status": None,
    "signal": None,
}
METRICS = {
    "at": "2026-01-02T03:04:07Z",
    "tasks": 3,
    "running_tasks": 0,
    "services": 1,
    "operators": [
        {
            "uid": "batch:CountTo",
            "name": "CountTo",
            "kind": "batch",
            "parallelism": 1,
            "records_in": 0,
            "records_out": 100,
            "rate_out": 2.25,
            "busy": 0.07,
            "backpressured": 0.9,
            "latency": {"count": 100, "seconds": 0.002, "p50": 2e-05, "p95": 2.3e-05, "p99": 0.00276},
        },
        {
            "uid": "sink:Print",
            "name": "Print",
            "kind": "sink",
            "parallelism": 2,
            "records_in": 100,
            "records_out": 0,
            "rate_in": 1234567.8,
            "busy": 1.0,
            "errors": 3,
            "retried": 2,
            "skipped": 1,
        },
    ],
    "blocked": ["execute of CountTo (numbers.py:3) for 12 s"],
    "edges": [
        {
            "source": "CountTo",
            "target": "Print",
            "exchange": "hash",
            "records": 100,
            "batches": 7,
            "fill": 0.625,
            "wait": {"count": 7, "seconds": 14.0, "p50": 1.95, "p95": 2.3, "p99": 187.0},
        }
    ],
}
HISTORY = [
    {"seq": 1, "time": "2026-01-02T03:04:05.006Z", "state": "submitted", "reason": None, "attempt": 1, "epoch": 0},
    {"seq": 2, "time": "2026-01-02T03:04:07.600Z", "state": "completed", "reason": "done", "attempt": 1, "epoch": 1},
]


def test_the_states_that_list_takes_are_those_of_the_model() -> None:
    """The literal in the annotation says the same as the model."""
    assert get_args(State) == JOB_STATES


def test_list_shows_one_row_a_job(sage: Any, jobmanager: Any) -> None:
    """Without a terminal the table is plain, aligned and whole, and the token is sent."""
    first = jobmanager.job()
    second = jobmanager.job(
        number=12, uuid="ffff2c3d-0000-4000-8000-000000000012", name="word count", state="failed", started_at=None
    )
    jobmanager.on("GET", "jobs", {"items": [second, first], "next_cursor": None})
    result = sage("job", "list")
    assert result.out == (
        "NUMBER  NAME        STATE      BACKEND  CREATED (UTC)        DURATION  UUID\n"
        "    12  word count  failed     local    2026-01-02 03:04:05         -  ffff2c3d\n"
        "     3  numbers     completed  local    2026-01-02 03:04:05      2.5s  0a1b2c3d\n"
    )
    assert (result.err, result.code) == ("", 0)
    assert jobmanager.requests[0].token == "Bearer " + "f00d" * 16


def test_list_passes_its_filters_on_and_tells_that_there_is_more(sage: Any, jobmanager: Any) -> None:
    """Filters are the JobManager's to apply; a further page is told on stderr, or beside the data."""
    jobmanager.on("GET", "jobs", {"items": [jobmanager.job()], "next_cursor": "3"})
    result = sage(
        "job", "list", "--state", "failed", "--name", "a b", "--owner", "ada", "--limit", "1", "--cursor", "9"
    )
    assert result.err == "there are more: --cursor 3\n"
    assert jobmanager.asked("GET") == ["jobs?state=failed&name=a+b&owner=ada&cursor=9&limit=1"]
    assert sage("job", "list", "--name", "\udcff").code == 0
    assert jobmanager.asked("GET")[-1].startswith("jobs?name=%ED%B3%BF")
    document = sage("job", "list", "--json").json
    assert document["next_cursor"] == "3"
    assert (document["sage"], document["kind"], document["data"]["items"]) == (1, "JobList", [jobmanager.job()])


def test_an_empty_list_says_so_to_people_only(sage: Any, jobmanager: Any) -> None:
    """stdout carries data, and there is none."""
    jobmanager.on("GET", "jobs", {"items": [], "next_cursor": None})
    result = sage("job", "list")
    assert (result.out, result.err, result.code) == ("", "no jobs\n", 0)


def test_show_tells_all_of_a_job(sage: Any, jobmanager: Any) -> None:
    """A failed job is shown with its failure, and the command still ends with 0."""
    jobmanager.job(state="failed", failure=FAILURE, reason=FAILURE["message"])
    result = sage("job", "show", "3")
    assert result.out == (
        "job:          3\n"
        "name:         numbers\n"
        f"uuid:         {UUID}\n"
        "state:        failed\n"
        "backend:      local\n"
        "owner:        admin\n"
        "attempt:      1\n"
        "restarts:     0\n"
        "created:      2026-01-02 03:04:05 UTC\n"
        "started:      2026-01-02 03:04:05 UTC\n"
        "ended:        2026-01-02 03:04:07 UTC\n"
        "duration:     2.5s\n"
        "running:      no\n"
        "tasks:        3\n"
        "services:     0\n"
        "records in:   100\n"
        "records out:  50\n"
        "\n"
        "failure:\n"
        "  kind:      user_code\n"
        "  message:   ZeroDivisionError: division by zero\n"
        "  operator:  Halve\n"
        "  uid:       map:Halve\n"
        "  subtask:   0\n"
        "  location:  numbers.py:12\n"
        "  record:    0\n"
        "  error:     ZeroDivisionError\n"
        "\n"
        "traceback:\n"
        "  Traceback (most recent call last):\n"
        '    File "numbers.py", line 5, in execute\n'
        "  ZeroDivisionError\n"
    )
    assert (result.err, result.code) == ("", 0)


def test_show_verbose_adds_operators_exchanges_and_history(sage: Any, jobmanager: Any) -> None:
    """Records per operator, and every move of the job."""
    jobmanager.job()
    jobmanager.on("GET", f"jobs/{UUID}/metrics", METRICS)
    jobmanager.on("GET", f"jobs/{UUID}/history", {"items": HISTORY})
    result = sage("job", "show", "-v", "3")
    assert result.out.partition("\n\n")[2] == (
        "operators, with records in and out:\n"
        "  OPERATOR  KIND   TASKS   IN  OUT  ERRORS  UID\n"
        "  CountTo   batch      1    0  100       0  batch:CountTo\n"
        "  Print     sink       2  100    0       3  sink:Print\n"
        "\n"
        "flow, with latency:\n"
        "  OPERATOR       IN/S  OUT/S  BUSY  WAITS   P50    P99\n"
        "  batch:CountTo     0    2.2    7%    90%  20us  2.8ms\n"
        "  sink:Print     1.2M      0  100%     0%     -      -\n"
        "\n"
        "exchanges, with waits in the buffer:\n"
        "  FROM     TO     EXCHANGE  RECORDS  BATCHES  FILL   P50   P99\n"
        "  CountTo  Print  hash          100        7   62%  1.9s  190s\n"
        "\n"
        "records whose function raised:\n"
        "  OPERATOR    RETRIED  SKIPPED  DEAD LETTERS\n"
        "  sink:Print        2        1             0\n"
        "\n"
        "calls that have not returned for more than a second:\n"
        "  execute of CountTo (numbers.py:3) for 12 s\n"
        "\n"
        "history:\n"
        "  TIME (UTC)               STATE      ATTEMPT  REASON\n"
        "  2026-01-02 03:04:05.006  submitted        1\n"
        "  2026-01-02 03:04:07.600  completed        1  done\n"
    )
    data = sage("job", "show", "3", "--verbose", "--json").json["data"]
    assert data.pop("metrics")["operators"][1]["records_in"] == 100
    assert data == {**jobmanager.job(), "history": HISTORY}


def test_show_graph_adds_what_was_declared(sage: Any, jobmanager: Any) -> None:
    """Operators with their lines, and the way records take between them; as it is, for programs."""
    jobmanager.job()
    graph = {
        "name": "words",
        "operators": [
            {"id": 0, "uid": "collection:lines", "parallelism": 1, "location": "words.py:3"},
            {"id": 1, "uid": "reduce:count", "parallelism": 2, "location": "words.py:4"},
            {"id": 2, "uid": "sink:print", "parallelism": 1, "location": "words.py:5"},
        ],
        "edges": [
            {"source": 0, "target": 1, "input": 0, "exchange": "hash", "tag": None},
            {"source": 1, "target": 2, "input": 0, "exchange": "forward", "tag": None},
            {"source": 0, "target": 2, "input": 0, "exchange": "broadcast", "tag": "late"},
            {"source": 1, "target": 2, "input": 0, "exchange": "forward", "tag": "sage.dead_letters"},
        ],
        "services": [],
    }
    jobmanager.on("GET", f"jobs/{UUID}/graph", graph)
    result = sage("job", "show", "--graph", "3")
    assert result.err == ""
    assert result.out.partition("\n\n")[2] == (
        "graph:\n"
        "  OPERATOR          TASKS  LINE        RECORDS FROM\n"
        "  collection:lines      1  words.py:3\n"
        "  reduce:count          2  words.py:4  collection:lines (hash)\n"
        "  sink:print            1  words.py:5  "
        "reduce:count, collection:lines (broadcast, side output late), reduce:count (dead letters)\n"
    )
    assert sage("job", "show", "3", "--graph", "--json").json["data"] == {**jobmanager.job(), "graph": graph}


def test_status_is_one_word(sage: Any, jobmanager: Any) -> None:
    """The state alone on stdout, why on stderr; a failed job does not fail the command."""
    jobmanager.job(state="restarting", reason="back-off until 03:05", mark="lost")
    result = sage("job", "status", "3")
    assert (result.out, result.err, result.code) == ("restarting\n", "lost\nback-off until 03:05\n", 0)
    jobmanager.job(state="failed")
    assert sage("job", "status", "3").code == 0


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        ((404, "not_found", "there is no job '7'"), 3, "error: there is no job '7'\n"),
        ((409, "ambiguous", "'abcd' begins several uuids"), 3, "error: 'abcd' begins several uuids\n"),
        ((429, "limit", "too many requests", "wait a bit"), 9, "error: too many requests\n  hint: wait a bit\n"),
    ],
)
def test_the_jobmanagers_errors_become_exit_codes(
    sage: Any, jobmanager: Any, answer: tuple[Any, ...], code: int, text: str
) -> None:
    """What the JobManager says is shown, and its code decides the exit code."""
    status, name, detail, *hint = answer
    body = {"status": status, "code": name, "detail": detail, "hint": hint[0] if hint else None}
    jobmanager.on("GET", "jobs/7abc", jobmanager.answer_of(body, status))
    result = sage("job", "show", "7abc")
    assert (result.out, result.err, result.code) == ("", text, code)
    document = sage("job", "show", "7abc", "--json")
    assert document.json == {
        "sage": 1,
        "kind": "Error",
        "data": {"code": name, "message": detail, "hint": body["hint"], "exit_code": code},
    }
    assert (document.err, document.code) == ("", code)


def test_a_wrong_token(sage: Any, jobmanager: Any) -> None:
    """A token that the JobManager does not take is exit code 5."""
    body = {"status": 401, "code": "not_allowed", "detail": "the token is wrong", "hint": None}
    jobmanager.on("GET", "jobs", jobmanager.answer_of(body, 401))
    result = sage("job", "list")
    assert (result.out, result.code) == ("", 5)
    assert result.err.startswith("error: the token is wrong\n  hint: ")


def test_nobody_listens(sage: Any) -> None:
    """A JobManager that does not run is exit code 4, and the hint tells how to start one."""
    result = sage("job", "list", env={"SAGE_DAEMON__PORT": "1"})
    assert result.code == 4
    assert result.err.startswith("error: no JobManager listens at 127.0.0.1:1\n  hint: start it: sage jobmanager start")


def test_another_service_on_the_port(sage: Any, jobmanager: Any) -> None:
    """A web server that is no JobManager is told as such."""
    jobmanager.on("GET", "jobs", jobmanager.answer_of("<html>", 200, "text/html"))
    result = sage("job", "list")
    assert result.code == 4
    assert "but not as a SAGE JobManager does" in result.err


def test_a_hostile_job_cannot_speak_to_the_terminal(sage: Any, jobmanager: Any) -> None:
    """Names and failures from jobs appear with their control characters spelled out."""
    name = "\x1b]0;owned\x07\x1b[31mred\x1b[0m\nsecond\u202e"
    info = jobmanager.job(name=name, state="failed", failure={**FAILURE, "message": name, "traceback": name})
    jobmanager.on("GET", "jobs", {"items": [info], "next_cursor": None})
    for result in (sage("job", "list"), sage("job", "show", "3"), sage("job", "list", "--json")):
        assert "\x1b" not in result.out and "\u202e" not in result.out and "\x07" not in result.out
    assert r"\x1b]0;owned\x07\x1b[31mred\x1b[0m\nsecond\u202e" in sage("job", "list").out
    assert sage("job", "list", "--json").json["data"]["items"][0]["name"] == name


def test_logs_are_raw_where_no_terminal_reads_them(sage: Any, jobmanager: Any) -> None:
    """What the job wrote comes out byte for byte, piece after piece."""
    jobmanager.job()
    pieces = [
        {"text": "\x1b[2Jone\n", "offset": 0, "next_offset": 8, "end": False, "truncated": False},
        {"text": "zwei ü\n", "offset": 8, "next_offset": 16, "end": True, "truncated": False},
    ]
    jobmanager.on("GET", f"jobs/{UUID}/logs", *pieces)
    result = sage("job", "logs", "3")
    assert (result.out, result.err, result.code) == ("\x1b[2Jone\nzwei ü\n", "", 0)
    assert jobmanager.asked("GET")[-1] == f"jobs/{UUID}/logs?stream=job&offset=8&limit=262144"


def test_logs_say_what_is_no_longer_kept(sage: Any, jobmanager: Any) -> None:
    """A log that lost its beginning is shown from where it is kept; for machines that is a field."""
    jobmanager.job()
    piece = {"text": "late\n", "offset": 100, "next_offset": 105, "end": True, "truncated": True}
    jobmanager.on("GET", f"jobs/{UUID}/logs", piece)
    result = sage("job", "logs", "3")
    assert (result.out, result.err) == ("late\n", "the oldest part of the log is no longer kept\n")
    assert sage("job", "logs", "3", "--json").json == {"sage": 1, "kind": "Log", "data": piece}


@pytest.mark.parametrize(("state", "code"), [("completed", 0), ("failed", 1), ("stopped", 7), ("cancelled", 7)])
def test_followed_logs_tell_the_end_by_their_exit_code(sage: Any, jobmanager: Any, state: str, code: int) -> None:
    """`logs -f` prints until the job has ended, and ends as it did."""
    info = jobmanager.job(state=state, name="num\x1bbers")
    jobmanager.log(info, "one\n", "two\n")
    result = sage("job", "logs", "-f", "3")
    assert (result.out, result.err, result.code) == ("one\ntwo\n", f"job 3 (num\\x1bbers): {state}\n", code)
    followed = sage("job", "logs", "--follow", "3", "--json")
    log = {"sage": 1, "kind": "Log"}
    assert followed.lines == [
        {**log, "data": {"job": 3, "uuid": UUID, "text": "one\n"}},
        {**log, "data": {"job": 3, "uuid": UUID, "text": "two\n"}},
        {"sage": 1, "kind": "Job", "data": info},
    ]
    assert followed.code == code


@pytest.mark.parametrize(("state", "code"), [("completed", 0), ("failed", 1), ("stopped", 7), ("cancelled", 7)])
def test_wait_tells_the_end_by_its_exit_code(sage: Any, jobmanager: Any, state: str, code: int) -> None:
    """`wait` shows the job as it ended."""
    info = jobmanager.job(state=state)
    result = sage("job", "wait", "3", "--json")
    assert (result.json, result.code) == ({"sage": 1, "kind": "Job", "data": info}, code)


def test_wait_times_out(sage: Any, jobmanager: Any) -> None:
    """A wait that takes too long ends with 6, and the job goes on."""
    jobmanager.job(state="running", ended_at=None, running=True)
    result = sage("job", "wait", "3", "--timeout", "1ms")
    assert (result.out, result.code) == ("", 6)
    assert result.err.startswith("error: ")


def test_a_wrong_duration_is_a_mistake_in_the_command_line(sage: Any) -> None:
    """Durations are told by an example."""
    result = sage("job", "wait", "3", "--timeout", "soon")
    assert result.code == 2
    assert result.err.startswith("error: Invalid value for '--timeout': needs a duration such as")


@pytest.mark.parametrize("name", ["stop", "pause"])
def test_stop_does_not_ask_and_says_that_it_cancels(sage: Any, jobmanager: Any, name: str) -> None:
    """For now stop is cancel, and the user is told."""
    jobmanager.on("POST", "jobs/3/stop", jobmanager.answer_of(jobmanager.job(state="cancelling"), 202))
    result = sage("job", name, "3")
    assert (result.out, result.code) == ("job 3 (numbers): cancelling\n", 0)
    assert result.err == "the job is cancelled: this version writes no savepoint, so it cannot be continued\n"


@pytest.mark.parametrize("name", ["continue", "resume"])
def test_continue_shows_why_it_is_refused(sage: Any, jobmanager: Any, name: str) -> None:
    """The JobManager's reason is shown, exit code 8."""
    body = {"status": 409, "code": "wrong_state", "detail": "continue needs a savepoint", "hint": "submit it anew"}
    jobmanager.on("POST", "jobs/3/continue", jobmanager.answer_of(body, 409))
    result = sage("job", name, "3")
    assert (result.out, result.code) == ("", 8)
    assert result.err == "error: continue needs a savepoint\n  hint: submit it anew\n"


def test_delete_refuses_without_terminal_and_without_yes(sage: Any, jobmanager: Any) -> None:
    """Nobody can be asked, so nothing is done: exit code 9."""
    jobmanager.job()
    result = sage("job", "delete", "3")
    assert (result.out, result.code) == ("", 9)
    assert result.err == (
        "error: cannot ask without a terminal: Delete job 3 (numbers, completed) with its logs? [y/N]\n"
        "  hint: --yes answers the question\n"
    )
    assert jobmanager.asked("DELETE") == []


@pytest.mark.parametrize(("option", "query"), [("--yes", ""), ("-y", ""), ("--force", "?force=true")])
def test_delete(sage: Any, jobmanager: Any, option: str, query: str) -> None:
    """--yes answers the question; --force does too, and takes a job that has not ended."""
    info = jobmanager.job()
    jobmanager.on("DELETE", f"jobs/{UUID}", jobmanager.answer_of(None, 204))
    result = sage("job", "delete", "3", option)
    assert (result.out, result.err, result.code) == ("", "job 3 (numbers) is deleted\n", 0)
    assert jobmanager.asked("DELETE") == [f"jobs/{UUID}{query}"]
    assert sage("job", "delete", "3", option, "--json").json == {"sage": 1, "kind": "Job", "data": info}


def test_cleanup(sage: Any, jobmanager: Any) -> None:
    """The usual states unless others are named; what was removed is listed."""
    jobmanager.on("POST", "cleanup", {"items": [jobmanager.job()]})
    result = sage("job", "cleanup")
    assert result.code == 9
    assert "Remove all completed, failed and cancelled jobs with their logs?" in result.err
    result = sage("job", "cleanup", "--yes")
    assert result.err == "removed 1 job\n"
    assert result.out.splitlines()[1].split()[:3] == ["3", "numbers", "completed"]
    assert jobmanager.requests[-1].json == {"states": ["cancelled", "completed", "failed"]}
    sage("job", "cleanup", "-y", "--state", "stopped", "--older-than", "2h", "3", "4")
    assert jobmanager.requests[-1].json == {"states": ["stopped"], "older_than": 7200.0, "jobs": ["3", "4"]}


def test_cleanup_takes_ended_states_only(sage: Any) -> None:
    """A running job is nothing to clean up."""
    result = sage("job", "cleanup", "--yes", "--state", "running")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "error: 'running' is no state of an ended job\n  hint: --state takes cancelled, completed, failed, stopped\n"
    )


def test_yaml(sage: Any, jobmanager: Any) -> None:
    """--output yaml carries the same document."""
    import yaml

    info = jobmanager.job()
    assert yaml.safe_load(sage("job", "show", "3", "--output", "yaml").out) == {"sage": 1, "kind": "Job", "data": info}
    jobmanager.log(info, "one\n")
    documents = list(yaml.safe_load_all(sage("job", "logs", "-f", "3", "--output", "yaml").out))
    assert [document["kind"] for document in documents] == ["Log", "Job"]
    assert json.dumps(documents[1]["data"]) == json.dumps(info)
