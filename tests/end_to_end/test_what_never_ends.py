"""User code that never returns and services that never answer: both are given up in bounded time.

What is waited for here was begun with the first test of the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Begun


@pytest.mark.parametrize("name", ["sleeps", "keeps_the_lock"])
def test_code_that_never_returns(begun: Begun, name: str) -> None:
    """`job stop` ends it, with or without Python's lock in its hands; waiting ends with 7, its place is in the log."""
    user, ref = begun.user, begun.jobs[name]
    assert user.sage("job", "wait", "--json", ref, code=7).data["state"] == "cancelled"
    shown = user.sage("job", "show", "--json", ref).data
    assert (shown["state"], shown["failure"], shown["running"]) == ("cancelled", None, False)
    log = user.sage("job", "logs", "-f", ref, code=7).out
    [line] = [n for n, line in enumerate(begun.program.splitlines(), 1) if line.endswith(f"# {name}")]
    assert f"never.py:{line})" in log or f'never.py", line {line} in {name}' in log, log
    assert user.left_running(ref) == []


def test_a_service_that_never_answers(begun: Begun) -> None:
    """A program and a command that ask there are told how long they waited, and where to look; exit code 4."""
    parts = (f"127.0.0.1:{begun.port} did not answer GET /api/v1/", "within 10 s", "something else listens there")
    program, command = begun.asking.end(1), begun.listing.end(4)
    assert program.last_error.startswith("sage.core.errors.DaemonUnreachableError: ")
    assert command.data["code"] == "unreachable"
    for text in (program.last_error, f"{command.data['message']}\n{command.data['hint']}"):
        assert [part for part in parts if part not in text] == [], text
