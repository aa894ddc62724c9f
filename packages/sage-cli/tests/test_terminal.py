"""On a terminal: questions and their answers, colours, and logs that cannot speak to it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

UUID = "0a1b2c3d-0000-4000-8000-000000000003"
LIMIT = 60.0
# A session of its own with the terminal as its controlling one, so that Ctrl-C becomes a signal.
TAKE_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def on_terminal(
    sage: Any,
    *args: str,
    answer: bytes | None = None,
    asked: bytes = b"[y/N]: ",
    env: dict[str, str] | None = None,
) -> tuple[str, int]:
    """Run the command with a terminal for everything; send `answer` once it has `asked`.

    Returns:
        what the terminal was sent, and the exit code.
    """
    ours, theirs = pty.openpty()
    command = [sys.executable, "-I", "-c", TAKE_TERMINAL, str(Path(sys.executable).with_name("sage")), *args]
    variables = {**sage.environment(env), "TERM": "xterm"}
    process = subprocess.Popen(command, env=variables, cwd=sage.folder, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown, deadline = b"", time.monotonic() + LIMIT
    try:
        while select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
            try:
                data = os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            shown += data
            if answer is not None and shown.replace(b"\r\n", b"\n").endswith(asked):
                os.write(ours, answer)
                answer = None
        code = process.wait(LIMIT)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return shown.decode().replace("\r\n", "\n"), code


@pytest.mark.parametrize("answer", [b"y\n", b"YES\n"])
def test_yes_deletes(sage: Any, jobmanager: Any, answer: bytes) -> None:
    """The question names the job, and yes is the answer that counts."""
    jobmanager.job()
    jobmanager.on("DELETE", f"jobs/{UUID}", jobmanager.answer_of(None, 204))
    shown, code = on_terminal(sage, "job", "delete", "3", answer=answer)
    assert shown.startswith("Delete job 3 (numbers, completed) with its logs? [y/N]: ")
    assert shown.endswith("job 3 (numbers) is deleted\n")
    assert code == 0
    assert jobmanager.asked("DELETE") == [f"jobs/{UUID}"]


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"yess\n", b"\x04", b"\x03"])
def test_anything_else_leaves_the_job_alone(sage: Any, jobmanager: Any, answer: bytes) -> None:
    """No, an empty line, the end of input and Ctrl-C: exit code 130, nothing was asked of the JobManager."""
    jobmanager.job()
    shown, code = on_terminal(sage, "job", "delete", "3", answer=answer)
    assert code == 130
    assert shown.splitlines()[-1] in {"error: nothing was done", "error: interrupted"}
    assert jobmanager.asked("DELETE") == []


def test_a_question_shows_no_escape_of_the_job(sage: Any, jobmanager: Any) -> None:
    """The name in a question is a job's own, and cleaned."""
    jobmanager.job(name="\x1b[8mhidden")
    shown, _ = on_terminal(sage, "job", "delete", "3", answer=b"n\n")
    assert shown.startswith("Delete job 3 (\\x1b[8mhidden, completed)")


def test_states_have_colours_unless_they_are_unwanted(sage: Any, jobmanager: Any) -> None:
    """Colours on a terminal; none with NO_COLOR or output.colors: never."""
    jobmanager.on("GET", "jobs", {"items": [jobmanager.job(name="\x1b[2J[red]")], "next_cursor": None})
    shown, code = on_terminal(sage, "job", "list")
    assert code == 0
    assert "\x1b[1;32mcompleted" in shown and "\\x1b[2J[red]" in shown
    for env in ({"NO_COLOR": "1"}, {"SAGE_OUTPUT__COLORS": "never"}):
        shown, _ = on_terminal(sage, "job", "list", env=env)
        assert "\x1b[1;32m" not in shown and "\x1b[32m" not in shown
    assert "\x1b[1;32mcompleted" in sage("job", "list", env={"SAGE_OUTPUT__COLORS": "always"}).out


def test_logs_keep_their_colours_and_nothing_else(sage: Any, jobmanager: Any) -> None:
    """What retitles, clears or hides is shown instead of obeyed; colours pass and are reset."""
    info = jobmanager.job()
    jobmanager.log(info, "\x1b[31mred", "\x1b]0;title\x07\x1b[2J\n")
    for args in (("job", "logs", "3"), ("job", "logs", "-f", "3")):
        shown, code = on_terminal(sage, *args)
        assert shown.startswith("\x1b[31mred\\x1b]0;title\\x07\\x1b[2J\n\x1b[0m")
        assert code == 0


def test_json_on_a_terminal_is_json(sage: Any, jobmanager: Any) -> None:
    """A format that was asked for is the same everywhere."""
    jobmanager.job()
    shown, _ = on_terminal(sage, "job", "show", "3", "--json")
    assert shown == sage("job", "show", "3", "--json").out


def test_ctrl_c_ends_the_following_and_not_the_job(sage: Any, jobmanager: Any) -> None:
    """What was waited for goes on, and how to come back to it is said: exit code 130."""
    jobmanager.job(state="running", ended_at=None)
    jobmanager.hold(f"jobs/{UUID}/logs/follow", "one\n")
    shown, code = on_terminal(sage, "job", "logs", "-f", "3", answer=b"\x03", asked=b"one\n")
    assert code == 130
    assert shown == "one\n^C\njob 3 (numbers) goes on: sage job logs -f 3\nerror: interrupted\n"
