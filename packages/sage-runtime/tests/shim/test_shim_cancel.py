"""Cancelling: asked, terminated, killed; once, twice, early, late."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from sage.runtime.shim.client import ShimUnreachableError
from sage.runtime.shim.processes import is_alive
from sage.runtime.shim.sweep import find_processes

Make = Callable[..., Any]

NEVER = 3000.0
"""A grace that no test lives to see the end of."""


def test_a_job_that_stops_when_asked(scripted: Make) -> None:
    """The job is told the grace, says that it has stopped, and is cancelled for the reason given."""
    job = scripted("running(); print(hear(), flush=True); ended('cancelled')").start()
    job.cancel(NEVER, "enough")
    last = job.wait_ended()
    assert job.states()[-2:] == ["cancelling", "cancelled"]
    assert [event["reason"] for event in job.events()[-2:]] == ["enough", "enough"]
    assert f"'grace': {NEVER * 0.8}" in job.log()
    assert "failure" not in last


def test_a_job_that_does_not_listen_is_terminated(scripted: Make) -> None:
    """After the grace comes SIGTERM."""
    job = scripted("running(); forever()").start()
    job.wait_for("running")
    job.cancel(0.2)
    last = job.wait_ended()
    assert last["state"] == "cancelled"
    assert "did not end within 0.2 s and was terminated" in last["reason"]


def test_a_job_that_ignores_termination_is_killed(scripted: Make) -> None:
    """After the grace once more comes SIGKILL, for children and wanderers too."""
    job = scripted(
        """
        import subprocess
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
        command = [sys.executable, "-I", "-S", "-c", stubborn]
        for new in (False, True):
            child = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=new)
            child.stdout.readline()
        running()
        forever()
        """
    ).start()
    job.wait_for("running")
    assert len(find_processes(str(job.folder))) == 3
    job.cancel(0.2)
    last = job.wait_ended()
    assert last["state"] == "cancelled"
    assert "was killed" in last["reason"]
    assert find_processes(str(job.folder)) == []


def test_cancel_twice(scripted: Make) -> None:
    """A second cancel is no second event; the earlier deadline counts."""
    job = scripted("running(); forever()").start()
    job.cancel(NEVER, "first")
    job.cancel(0.1, "second")
    job_ended = job.wait_ended()
    assert job.states().count("cancelling") == 1
    assert job_ended["reason"].startswith("first")
    assert "within 0.1 s" in job_ended["reason"]


def test_a_later_deadline_does_not_count(scripted: Make) -> None:
    """Asking again with more patience does not take back what was asked first."""
    job = scripted("running(); forever()").start()
    job.cancel(0.3)
    job.cancel(NEVER)
    assert "within 0.3 s" in job.wait_ended()["reason"]


def test_cancel_without_grace(scripted: Make) -> None:
    """With no grace the job process is killed at once."""
    job = scripted("signal.signal(signal.SIGTERM, signal.SIG_IGN); running(); forever()").start()
    job.wait_for("running")
    job.cancel(0)
    assert job.wait_ended()["state"] == "cancelled"


def test_cancel_while_starting(scripted: Make) -> None:
    """A job that does not run yet is cancelled all the same, and never runs."""
    job = scripted("hear(); running(); ended('cancelled')").start()
    job.cancel(NEVER)
    assert job.wait_ended()["state"] == "cancelled"
    assert job.states() == ["submitted", "queued", "starting", "cancelling", "cancelled"]


def test_cancel_when_the_work_is_done(scripted: Make) -> None:
    """What the job has told it keeps; cancel then only hastens the end of its process."""
    job = scripted("running(); say(event='metrics', metrics={}); ended('completed'); forever()", grace=NEVER).start()
    job.wait_for("running")
    while not (job.folder / "metrics.json").exists():
        assert is_alive(job.process())
    job.ping()
    job.cancel(0.1)
    last = job.wait_ended()
    # The metrics are written before the outcome is read, so either may come first; both ends are lawful.
    assert last["state"] in ("completed", "cancelled")
    assert job.states()[-2] == ("cancelling" if last["state"] == "cancelled" else "running")


def test_an_error_while_cancelling(scripted: Make) -> None:
    """Who asked for the end gets it; the error is told along."""
    job = scripted("running(); hear(); ended('failed', {'kind': 'user_code', 'message': 'close() raised'})").start()
    job.cancel(NEVER)
    last = job.wait_ended()
    assert job.states()[-2:] == ["cancelling", "cancelled"]
    assert "close() raised" in last["reason"]


def test_finished_while_cancelling(scripted: Make) -> None:
    """A job that finds itself done after it was told to cancel is cancelled, as its events have said."""
    job = scripted("running(); hear(); ended('completed')").start()
    job.cancel(NEVER)
    assert "done all its work" in job.wait_ended()["reason"]
    assert job.states()[-2:] == ["cancelling", "cancelled"]


def test_exit_while_cancelling(scripted: Make) -> None:
    """A process that just leaves when told to cancel has done what was asked."""
    job = scripted("running(); hear(); os._exit(7)").start()
    job.cancel(NEVER)
    assert job.wait_ended()["state"] == "cancelled"


def test_cancel_while_failing(scripted: Make) -> None:
    """A failure is not turned into a cancel; its end is only hastened."""
    job = scripted(
        "running(); say(event='failing', failure={'kind': 'user_code', 'message': 'boom'}); forever()"
    ).start()
    job.wait_for("failing")
    job.cancel(0.1)
    last = job.wait_ended()
    assert job.states()[-2:] == ["failing", "failed"]
    assert last["failure"]["message"] == "boom"


def test_a_job_that_cancels_itself(scripted: Make) -> None:
    """An engine may end its job as cancelled unasked."""
    job = scripted("running(); ended('cancelled')").start()
    job.wait_ended()
    assert job.states()[-2:] == ["cancelling", "cancelled"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_shim_that_is_told_to_end(scripted: Make, number: int) -> None:
    """It cancels its job with the job's grace, and leaves."""
    job = scripted("running(); hear(); ended('cancelled')").start()
    job.wait_for("running")
    os.kill(job.shim.pid, number)
    last = job.wait_ended()
    assert last["state"] == "cancelled"
    assert signal.Signals(number).name in last["reason"]


def test_a_shim_that_is_told_twice(scripted: Make) -> None:
    """The second time it does not wait any longer."""
    job = scripted("running(); print(hear(), flush=True); forever()", grace=NEVER).start()
    job.wait_for("running")
    os.kill(job.shim.pid, signal.SIGTERM)
    job.wait_for("cancelling")
    os.kill(job.shim.pid, signal.SIGTERM)
    assert job.wait_ended()["state"] == "cancelled"


@pytest.mark.parametrize("grace", [-1, "soon", None, True, 1e9])
def test_a_grace_that_is_none(scripted: Make, grace: Any) -> None:
    """A cancel that makes no sense is refused and changes nothing."""
    job = scripted("running(); hear(); ended('cancelled')").start()
    with pytest.raises(ShimUnreachableError, match="grace"):
        job.cancel(grace)
    assert job.ping()["state"] in ("starting", "running")
