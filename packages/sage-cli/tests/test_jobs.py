"""`sage job …` against a JobManager that answers from a script: whole output, exit code, and what was asked."""

from __future__ import annotations

from typing import Any, get_args

from sage.cli.commands.job.list import State
from sage.core.client.models import JOB_STATES

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


def test_the_states_that_list_takes_are_those_of_the_model() -> None:
    """The literal in the annotation says the same as the model."""
    assert get_args(State) == JOB_STATES


def test_list_shows_one_row_a_job(sage: Any, jobmanager: Any) -> None:
    """Without a terminal the table is plain, aligned and whole."""
    first = jobmanager.job()
    second = jobmanager.job(
        number=12, uuid="ffff2c3d-0000-4000-8000-000000000012", name="word count", state="failed", started_at=None
    )
    jobmanager.on("GET", "jobs", {"items": [second, first], "next_cursor": None})
    result = sage("job", "list")
    assert result.err == ""
    assert result.out == (
        "NUMBER  NAME        STATE      BACKEND  CREATED (UTC)        DURATION  UUID\n"
        "    12  word count  failed     local    2026-01-02 03:04:05         -  ffff2c3d\n"
        "     3  numbers     completed  local    2026-01-02 03:04:05      2.5s  0a1b2c3d\n"
    )
    assert result.code == 0
    assert jobmanager.requests[0].token == "Bearer " + "f00d" * 16
