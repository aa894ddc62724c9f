"""What happens when a shim is killed, and what its successor makes of it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from sage.runtime.shim.client import wait_exit
from sage.runtime.shim.events import EventsFile
from sage.runtime.shim.processes import is_alive, send_signal
from sage.runtime.shim.start import ShimStartError, start_shim
from sage.runtime.shim.sweep import end_processes, find_processes

Make = Callable[..., Any]

LISTENS = """
    running()
    hear() is None or ended("cancelled")
"""


def test_the_job_process_sees_it(scripted: Make) -> None:
    """The end of the line tells the job process that its shim is gone."""
    job = scripted(LISTENS).start()
    job.wait_for("running")
    process = job.process()
    job.kill_shim()
    asyncio.run(asyncio.wait_for(wait_exit(process), 60))
    assert end_processes(str(job.folder)) == []


def test_what_does_not_see_it_is_ended(scripted: Make) -> None:
    """A job process that does not listen, and its wanderers, are found and ended."""
    job = scripted(
        """
        import subprocess
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        running()
        forever()
        """
    ).start()
    job.wait_for("running")
    job.kill_shim()
    assert len(find_processes(str(job.folder))) == 2
    assert end_processes(str(job.folder), grace=0.1) == []
    assert find_processes(str(job.folder)) == []


def test_the_next_shim_restarts_the_job(scripted: Make) -> None:
    """A shim that finds a job running without a shim says so and starts it again."""
    job = scripted(LISTENS).start()
    job.wait_for("running")
    job.kill_shim()
    end_processes(str(job.folder))
    job.give_order(epoch=2)
    job.start()
    job.cancel(30)
    assert job.wait_ended()["state"] == "cancelled"
    assert [(event["state"], event["epoch"]) for event in job.events()][2:] == [
        ("starting", 1),
        ("running", 1),
        ("restarting", 1),
        ("starting", 2),
        *([("running", 2)] if ("running", 2) in [(e["state"], e["epoch"]) for e in job.events()] else []),
        ("cancelling", 2),
        ("cancelled", 2),
    ]


@pytest.mark.parametrize(("state", "end"), [("cancelling", "cancelled"), ("failing", "failed")])
def test_the_next_shim_finishes_what_was_begun(scripted: Make, state: str, end: str) -> None:
    """A job that was about to end is not started again: its end is written."""
    job = scripted(LISTENS)
    with EventsFile(job.folder / "events.jsonl") as events:
        events.append("starting", epoch=1)
        events.append(state, reason="because", epoch=1, failure={"kind": "user_code", "message": "boom"})
    with pytest.raises(ShimStartError) as caught:
        start_shim(job.folder)
    assert caught.value.reason == "ended"
    last = job.events()[-1]
    assert last["state"] == end
    assert last["reason"].startswith("because; ")
    assert last["failure"]["message"] == "boom"


def test_a_torn_line_is_cut_off(scripted: Make) -> None:
    """What a dying writer left of a line is gone when the next one writes; numbers go on without a gap."""
    job = scripted("running(); ended('completed')")
    with (job.folder / "events.jsonl").open("ab") as file:
        file.write(b'{"seq":3,"state":"start')
    job.start()
    job.wait_ended()
    assert [(event["seq"], event["state"]) for event in job.events()] == [
        (1, "submitted"),
        (2, "queued"),
        (3, "starting"),
        (4, "running"),
        (5, "completed"),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_time(scripted: Make, seed: int) -> None:
    """However often and whenever shim or job process are killed, one shim at a time owns the job, its history stays
    whole, and in the end nothing of it runs."""
    chance = random.Random(seed)
    job = scripted(
        """
        running()
        for number in range(300):
            print(number, flush=True)
            say(event="metrics", metrics={"number": number})
        nudged()
        ended("completed")
        """
    )
    for epoch in range(1, 6):
        job.give_order(epoch=epoch)
        try:
            job.start()
        except ShimStartError as error:
            assert error.reason == "ended"
            break
        if chance.random() < 0.3:
            job.cancel(0)
        victim = chance.choice([job.shim, job.process()])
        # Not a wait for anything: the point is that the moment is arbitrary.
        time.sleep(chance.random() * 0.08)
        send_signal(victim, signal.SIGKILL)
        if victim is job.shim:
            asyncio.run(asyncio.wait_for(wait_exit(job.shim), 60))
            assert end_processes(str(job.folder), grace=chance.choice([0, 5])) == []
        else:
            assert job.wait_ended()["state"] in ("failed", "cancelled")
    else:
        job.kill_shim()
        end_processes(str(job.folder), grace=0)
    assert find_processes(str(job.folder)) == []


def test_the_disk_refuses_events(scripted: Make) -> None:
    """Events that cannot be written wait in memory; the job goes on, and they follow once there is room."""
    job = scripted("running(); hear(); ended('cancelled')").start()
    job.wait_for("running")
    size = (job.folder / "events.jsonl").stat().st_size
    hard = resource.prlimit(job.shim.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(job.shim.pid, resource.RLIMIT_FSIZE, (size, hard))
    job.cancel(30, "full")
    answer = job.ping()
    assert answer["pending"] >= 1
    process = job.process()
    asyncio.run(asyncio.wait_for(wait_exit(process), 60))
    assert job.states()[-1] == "running"
    assert is_alive(job.shim)
    resource.prlimit(job.shim.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert job.wait_ended()["reason"] == "full"
    assert job.states()[-3:] == ["running", "cancelling", "cancelled"]
    assert "wait for the disk" in (job.folder / "logs" / "shim.log").read_text()


def test_a_shim_with_unwritten_events_can_be_ended(scripted: Make) -> None:
    """SIGTERM ends also a shim whose last events no disk will have."""
    job = scripted("running(); hear(); ended('cancelled')").start()
    job.wait_for("running")
    size = (job.folder / "events.jsonl").stat().st_size
    hard = resource.prlimit(job.shim.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(job.shim.pid, resource.RLIMIT_FSIZE, (size, hard))
    job.cancel(30)
    while job.ping()["state"] != "cancelled":
        assert is_alive(job.shim)
    os.kill(job.shim.pid, signal.SIGTERM)
    assert job.wait_ended()["state"] == "running"


def test_the_disk_refuses_the_log(scripted: Make) -> None:
    """The job goes on while its log cannot be written; how much was lost is told when it can be again."""
    job = scripted(
        """
        running()
        nudged()
        print("x" * 99_999, flush=True)
        say(event="failing", failure={"kind": "user_code", "message": "boom"})
        nudged()
        print("after", flush=True)
        ended("failed")
        """,
    ).start()
    job.wait_for("running")
    hard = resource.prlimit(job.shim.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(job.shim.pid, resource.RLIMIT_FSIZE, (50_000, hard))
    job.nudge()
    job.wait_for("failing")
    resource.prlimit(job.shim.pid, resource.RLIMIT_FSIZE, (hard, hard))
    job.nudge()
    assert job.wait_ended()["state"] == "failed"
    before, note, after, rest = job.log().split("\n")
    assert (before, after, rest) == ("x" * 50_000, "after", "")
    assert "50000 bytes of output were lost" in note


@pytest.mark.parametrize("where", ["_message", "_write_shim_file"])
def test_a_bug_in_the_shim(scripted: Make, where: str) -> None:
    """Should the shim itself break, early or late, its job is ended, and that is said."""
    job = scripted("running(); forever()")
    program = f"""
import sys
from sage.runtime.shim.main import main
from sage.runtime.shim.supervisor import Supervisor
def broken(self, *arguments):
    raise RuntimeError("a planted bug")
Supervisor.{where} = broken
sys.exit(main(["--ready-fd", "1", *sys.argv[1:]]))
"""
    done = subprocess.run([sys.executable, "-c", program, str(job.folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 70
    answer = json.loads(done.stdout)
    assert answer["ok"] is (where == "_message")
    assert answer.get("code") in (None, "ended")
    assert "a planted bug" in done.stderr
    last = job.events()[-1]
    assert job.states()[-3:] == ["starting", "failing", "failed"]
    assert last["failure"]["kind"] == "internal" and "a planted bug" in last["failure"]["message"]
    assert end_processes(str(job.folder), grace=60) == []
    assert not job.socket.exists()


def test_the_daemon_is_not_needed(scripted: Make) -> None:
    """shim.json is enough to find shim and job process again, and to know that they are the ones."""
    job = scripted(LISTENS).start()
    facts = json.loads((job.folder / "shim.json").read_bytes())
    assert facts["pid"] == job.shim.pid
    assert facts["start_time"] == job.shim.start_time
    assert facts["socket"] == str(job.socket)
    assert is_alive(job.process())
    assert os.getsid(facts["job_pid"]) == facts["job_pid"]
    assert os.getsid(facts["pid"]) == facts["pid"]
