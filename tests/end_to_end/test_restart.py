"""The JobManager is restarted or killed under running jobs: they go on, whoever follows them misses nothing."""

from __future__ import annotations

import json
import os
import select
import signal
from typing import TYPE_CHECKING, Any

import pytest

from sage.runtime.shim.processes import ProcessIdentity, is_alive

if TYPE_CHECKING:
    from conftest import LIMIT, User
else:
    LIMIT = 120.0

WAITING = """
import sys
from held import Held, Show
from sage.core.api import RemoteEnvironment
with RemoteEnvironment("waited-for") as env:
    env.from_source(Held, f"{sys.path[0]}/release-{env.env_uuid}").sink(Show)
    job = env.submit()
    print(job, flush=True)
    print(job.wait()["status"])
"""

WAITER = """
import sys
from sage.cli.main import main
from sage.core.client import JobManagerClient

def wait(*given, **more):  # tells that the command has found its job, and only waits from here on
    print("waits", flush=True)
    return client_wait(*given, **more)

client_wait, JobManagerClient.wait = JobManagerClient.wait, wait
sys.exit(main(["job", "wait", "--json", sys.argv[1]]))
"""

ALL = "got 1\ngot 2\ngot 3\ngot released\nclosed\n"


def shim_of(user: User, uuid: str) -> dict[str, Any]:
    """What the job's shim wrote of itself and of its job process."""
    found: dict[str, Any] = json.loads((user.home / "jobs" / uuid / "shim.json").read_text())
    return found


def await_end(identity: ProcessIdentity) -> None:
    """Wait until a process that is nobody's child here has ended."""
    descriptor = os.pidfd_open(identity.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert not is_alive(identity) or poll.poll(LIMIT * 1000)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_jobs_go_on(stranger: User, how: str) -> None:
    """Under a restart and a SIGKILL: the same processes, whole logs and histories, and followers that hold on."""
    user = stranger
    user.sage("jobmanager", "start")
    user.write("held.py", user.held)
    user.write("waiting.py", WAITING)
    followed, left_alone = user.submit_held("followed"), user.submit_held("left-alone")
    program = user.start_python("waiting.py")
    waited_for = program.line()
    jobs = [followed, left_alone, waited_for]
    followers = [user.start_sage("job", "logs", "-f", uuid) for uuid in jobs]
    user.write("waiter.py", WAITER)
    waiter = user.start_python("waiter.py", followed)
    waiter.until("waits")
    for follower in followers:
        follower.until("got 3")
    shims = {uuid: shim_of(user, uuid) for uuid in jobs}
    numbers = {uuid: user.job(uuid).number for uuid in jobs}
    first = user.daemon

    if how == "restart":
        user.sage("jobmanager", "restart")
    else:
        os.kill(first.pid, signal.SIGKILL)
        await_end(first)
        down = user.sage("jobmanager", "status", "--json", code=4)
        assert down.data["status"] == "down"
        assert user.sage("job", "list", "--json", code=4).data["code"] == "unreachable"
        user.release(left_alone)  # it ends while nobody looks
        await_end(ProcessIdentity.from_json(shims[left_alone]))
        user.sage("jobmanager", "start")
    assert user.daemon != first
    assert not is_alive(first)

    listed = {job["uuid"]: job for job in user.sage("job", "list", "--json").data["items"]}
    assert {uuid: job["number"] for uuid, job in listed.items()} == numbers
    for uuid in jobs:
        ended = how == "kill" and uuid == left_alone
        assert (listed[uuid]["state"], listed[uuid]["mark"]) == ("completed" if ended else "running", None)
        assert shim_of(user, uuid) == shims[uuid]
        user.release(uuid)
    for follower in followers:
        assert follower.end(0).out == "got released\nclosed\n"
    assert waiter.end(0).data["state"] == "completed"
    assert program.end(0).out == "completed\n"
    for uuid in jobs:
        assert user.sage("job", "logs", uuid).out == ALL
        shown = user.sage("job", "show", "-v", "--json", uuid).data
        assert (shown["state"], shown["attempt"], shown["restarts"], shown["records_in"]) == ("completed", 1, 0, 4)
        assert [(item["seq"], item["state"], item["epoch"]) for item in shown["history"]] == [
            (1, "submitted", 0),
            (2, "queued", 0),
            (3, "starting", 1),
            (4, "running", 1),
            (5, "completed", 1),
        ]
    user.works()
    assert user.job(max(numbers.values()) + 1).state == "completed"
    user.sage("jobmanager", "stop")


def test_a_job_outlives_a_stopped_jobmanager(stranger: User) -> None:
    """`jobmanager stop` leaves it running; it is told to stop by the next one, which finds it as it was."""
    user = stranger
    user.sage("jobmanager", "start")
    uuid = user.submit_held("orphan")
    follower = user.start_sage("job", "logs", "-f", uuid)
    follower.until("got 3")
    follower.close()
    job = ProcessIdentity.from_json(shim_of(user, uuid))
    stopped = user.sage("jobmanager", "stop")
    assert stopped.err.endswith("has ended; its job goes on\n")
    assert is_alive(job)
    user.sage("jobmanager", "start")
    assert user.sage("job", "stop", uuid).out.endswith("(orphan): cancelling\n")
    assert user.sage("job", "logs", "-f", uuid, code=7).out == "got 1\ngot 2\ngot 3\nclosed\n"
    assert user.sage("job", "status", uuid).out == "cancelled\n"
    await_end_if_alive(job)
    assert user.left_running(uuid) == []
    user.sage("jobmanager", "stop")


def await_end_if_alive(identity: ProcessIdentity) -> None:
    """The same for a process that may be gone already."""
    if is_alive(identity):
        await_end(identity)
