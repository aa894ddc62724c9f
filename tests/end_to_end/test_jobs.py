"""Jobs side by side and their lives: followed, listed, waited for, stopped, deleted, each with its exit code."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import User

ALL = "got 1\ngot 2\ngot 3\ngot released\nclosed\n"


def test_two_jobs_of_one_name(user: User) -> None:
    """They are two: each with its number, its log, its end; a further job runs to its end meanwhile."""
    first, second = user.submit_held("twins"), user.submit_held("twins")
    listed = user.sage("job", "list", "--name", "twins", "--json").data["items"]
    assert [job["uuid"] for job in listed] == [second, first]
    assert listed[0]["number"] > listed[1]["number"]
    followers = {uuid: user.start_sage("job", "logs", "-f", uuid) for uuid in (first, second)}
    for follower in followers.values():
        follower.until("got 3")
    user.works()
    user.release(second)
    done = followers[second].end(0)
    assert done.out == "got released\nclosed\n"
    assert user.sage("job", "status", first).out == "running\n"
    assert user.sage("job", "status", second).out == "completed\n"
    user.release(first)
    followers[first].end(0)
    assert user.sage("job", "logs", first).out == ALL


def test_following_and_waiting(user: User) -> None:
    """`logs -f` prints as it comes; `wait` gives up with 6 and the job goes on; `show -v` counts what has passed."""
    uuid = user.submit_held("followed")
    follower = user.start_sage("job", "logs", "-f", uuid)
    documents = user.start_sage("job", "logs", "-f", "--json", uuid)
    waiter = user.start_sage("job", "wait", "--json", uuid)
    assert [follower.line() for _ in range(3)] == ["got 1", "got 2", "got 3"]
    gave_up = user.sage("job", "wait", "--timeout", "0.1", "--json", uuid, code=6)
    assert gave_up.data["code"] == "timeout"
    assert "it goes on" in gave_up.data["message"]
    assert "sage job stop" in gave_up.data["hint"]
    user.release(uuid)
    assert follower.end(0).out == "got released\nclosed\n"
    assert waiter.end(0).data["state"] == "completed"
    *texts, last = documents.end(0).documents
    assert "".join(item["data"]["text"] for item in texts) == ALL
    assert (last["kind"], last["data"]["state"]) == ("Job", "completed")
    shown = user.sage("job", "show", "-v", "--json", uuid).data
    assert [(item["name"], item["records_in"], item["records_out"]) for item in shown["metrics"]["operators"]] == [
        ("Held", 0, 4),
        ("Show", 4, 0),
    ]
    assert (shown["running"], shown["tasks"] > 0, shown["services"]) == (False, True, 0)
    assert [item["state"] for item in shown["history"]] == ["submitted", "queued", "starting", "running", "completed"]
    words = user.sage("job", "show", "-v", uuid).out
    assert "Held" in words
    assert "running:      no" in words


def test_stopping_an_unbounded_job(user: User) -> None:
    """`job stop` cancels it: functions are closed; waiting and following end with 7; it stays listed."""
    user.write(
        "program.py",
        """
        from sage.core.api import *

        class Ticks(SourceFunction):
            def __init__(self):
                self.n = 0

            def execute(self):
                self.n += 1
                return self.n

        class Quiet(SinkFunction):
            def execute(self, x):
                if x == 1:
                    print("first")

            def close(self):
                print("closed in order")

        with RemoteEnvironment("endless") as env:
            env.from_source(Ticks).filter(lambda x: x % 1000 == 1).sink(Quiet)
            print(env.submit())
        """,
    )
    uuid = user.python("program.py").out.strip()
    follower = user.start_sage("job", "logs", "-f", uuid)
    follower.until("first")
    waiter = user.start_sage("job", "wait", uuid)
    stopped = user.sage("job", "stop", uuid)
    assert stopped.out.endswith("(endless): cancelling\n")
    assert "cannot be continued" in stopped.err
    followed = follower.end(7)
    assert followed.out == "closed in order\n"
    assert "(endless): cancelled" in followed.err
    assert "cancelled" in waiter.end(7).out
    assert user.sage("job", "show", "--json", uuid).data["state"] == "cancelled"
    assert uuid in {job["uuid"] for job in user.sage("job", "list", "--state", "cancelled", "--json").data["items"]}
    for command in (["job", "stop"], ["job", "continue"], ["job", "resume"]):
        refused = user.sage(*command, "--json", uuid, code=8)
        assert refused.data["code"] == "wrong_state"
        assert ("savepoint" if command != ["job", "stop"] else "is cancelled") in refused.data["message"]
    assert user.left_running(uuid) == []


def test_a_job_that_fails_cannot_be_continued(user: User) -> None:
    """`job continue` answers 8 and says that this version writes no savepoints."""
    user.write(
        "program.py",
        """
        from sage.core.api import *
        with RemoteEnvironment("fails") as env:
            env.from_batch([0]).map(lambda x: 1 // x).print()
            print(env.submit())
        """,
    )
    uuid = user.python("program.py").out.strip()
    user.sage("job", "wait", uuid, code=1)
    refused = user.sage("job", "continue", "--json", uuid, code=8)
    assert refused.data["code"] == "wrong_state"
    assert "savepoint" in refused.data["message"] + str(refused.data["hint"])
    assert user.sage("job", "status", uuid).out == "failed\n"


def test_deleting(user: User) -> None:
    """A running job is not deleted (8) unless forced, and nobody is deleted unasked (9); then it is gone (3)."""
    running, ended = user.submit_held("running"), user.submit_held("ended")
    user.release(ended)
    user.sage("job", "wait", ended)
    refused = user.sage("job", "delete", "--yes", "--json", running, code=8)
    assert refused.data["code"] == "wrong_state"
    assert "is running" in refused.data["message"]
    assert "with force" in refused.data["hint"]
    assert user.sage("job", "status", running).out == "running\n"
    unasked = user.sage("job", "delete", "--json", ended, code=9)
    assert unasked.data["code"] == "no_terminal"
    assert "--yes" in unasked.data["hint"]
    assert user.sage("job", "logs", ended).out == ALL

    follower = user.start_sage("job", "logs", "-f", running)
    follower.until("got 3")
    user.sage("job", "delete", "--force", running)
    follower.end(None)  # it ends, whatever it could still find out
    user.sage("job", "delete", "--yes", ended)
    for uuid in (running, ended):
        gone = user.sage("job", "show", "--json", uuid, code=3)
        assert gone.data["code"] == "not_found"
        assert not (user.home / "jobs" / uuid).exists()
        assert user.left_running(uuid) == []


def test_cleaning_up(user: User) -> None:
    """Of the jobs named, those that have ended are removed and listed; one that runs refuses; all others stay."""
    done, running, other = user.submit_held("done"), user.submit_held("going-on"), user.submit_held("other")
    for uuid in (done, other):
        user.release(uuid)
        user.sage("job", "wait", uuid)
    refused = user.sage("job", "cleanup", "--yes", "--json", done, running, code=8)
    assert refused.data["code"] == "wrong_state"
    assert user.sage("job", "cleanup", "--json", done, code=9).data["code"] == "no_terminal"
    removed = user.sage("job", "cleanup", "--yes", "--json", done).data["items"]
    assert [job["uuid"] for job in removed] == [done]
    assert user.sage("job", "show", done, code=3).out == ""
    assert user.sage("job", "status", other).out == "completed\n"
    old = user.sage("job", "cleanup", "--yes", "--json", "--older-than", "1d")
    assert old.data["items"] == []
    user.release(running)
    user.sage("job", "wait", running)


def test_names_that_lead_nowhere(user: User) -> None:
    """Unknown numbers, uuids and what is no name at all: exit code 3, and what a job is named by."""
    for ref in ("999999", "no-such-job", "00000000-0000-4000-8000-000000000000", "../../etc"):
        for command in (["show"], ["status"], ["logs"], ["logs", "-f"], ["wait"], ["stop"], ["delete", "--yes"]):
            if command != ["show"] and ref != "999999":
                continue
            done = user.sage("job", *command, "--json", ref, code=3)
            assert done.data["code"] == "not_found"
            assert ref in done.data["message"]
            assert done.data["hint"]


def test_an_ambiguous_prefix(user: User) -> None:
    """The candidates are named, exit code 3; a longer prefix leads to the job."""
    user.write(
        "program.py",
        """
        from sage.core.api import *
        for last in "ab":
            with RemoteEnvironment("prefix") as env:
                env.env_uuid = f"ffffeeee-0000-4000-8000-00000000000{last}"
                env.from_batch([1]).print()
                env.submit(autostop=True)
        """,
    )
    user.python("program.py")
    uuids = [f"ffffeeee-0000-4000-8000-00000000000{last}" for last in "ab"]
    for ref in ("ffff", "ffffeeee-0000"):
        done = user.sage("job", "show", "--json", ref, code=3)
        assert done.data["code"] == "ambiguous"
        text = f"{done.data['message']}\n{done.data['hint']}"
        assert all(uuid in text for uuid in uuids), text
    assert user.sage("job", "show", "--json", "fff", code=3).data["code"] == "not_found"
    assert user.sage("job", "show", "--json", uuids[1].upper()).data["uuid"] == uuids[1]
    user.sage("job", "delete", "--yes", uuids[0])
    assert user.sage("job", "show", "--json", "ffff").data["uuid"] == uuids[1]


def test_autostop_in_vain(user: User) -> None:
    """Past its time-out `submit` raises, names the job and leaves it running; it comes to its end."""
    user.write("held.py", user.held)
    user.write(
        "program.py",
        """
        import sys
        from held import Held, Show
        from sage.core.api import RemoteEnvironment
        from sage.core.errors import WaitTimeoutError
        with RemoteEnvironment("slow") as env:
            env.from_source(Held, f"{sys.path[0]}/release-{env.env_uuid}").sink(Show)
            try:
                env.submit(autostop=True, timeout=0.2)
            except WaitTimeoutError as error:
                print(error.job, error.exit_code, env.get_job_status()["ended_at"], env.env_uuid)
                raise
        """,
    )
    done = user.python("program.py", code=1)
    uuid, code, ended_at, same = done.out.split()
    assert (code, ended_at, same) == ("6", "None", uuid)
    assert done.last_error.startswith("sage.core.errors.WaitTimeoutError: job ")
    assert "(slow)" in done.last_error
    assert "after 0.2 s of waiting; it goes on" in done.last_error
    assert "hint: sage job wait " in done.last_error
    user.release(uuid)
    assert user.sage("job", "logs", "-f", uuid).out == ALL
    assert user.sage("job", "status", uuid).out == "completed\n"


def test_lists_for_programs(user: User) -> None:
    """JSON is whole and the same through a pipe; pages lead on; a reader that leaves early does no harm."""
    for _ in range(2):
        uuid = user.submit_held("listed")
        user.release(uuid)
        user.sage("job", "wait", uuid)
    first = user.sage("job", "list", "--name", "listed", "--limit", "1", "--json")
    document = json.loads(first.out)
    assert (document["sage"], document["kind"]) == (1, "JobList")
    cursor = document["next_cursor"]
    rest = user.sage("job", "list", "--name", "listed", "--limit", "1", "--cursor", cursor, "--json").data["items"]
    both = user.sage("job", "list", "--name", "listed", "--json").data["items"]
    assert [*document["data"]["items"], *rest] == both
    table = user.sage("job", "list", "--name", "listed")
    assert table.out.splitlines()[0].split() == [
        "NUMBER",
        "NAME",
        "STATE",
        "BACKEND",
        "CREATED",
        "(UTC)",
        "DURATION",
        "UUID",
    ]
    assert [line.split()[0] for line in table.out.splitlines()[1:]] == [str(job["number"]) for job in both]
    assert "\x1b" not in table.out

    piped = subprocess.run(
        f"'{user.command}' job list --json | head -c 1; '{user.command}' job logs {both[0]['uuid']} | head -n 1",
        shell=True,
        env=user.environment(),
        cwd=user.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (piped.stdout, piped.stderr) == ("{got 1\n", "")
