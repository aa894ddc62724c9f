"""The life of jobs through the REST interface: list, show, wait, cancel, queue, delete, clean up."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest

WHOLE_LIFE = ["submitted", "queued", "starting", "running", "completed"]


@pytest.fixture(scope="module")
def shelf(make_module_daemon: Callable[..., Any]) -> Any:
    """A daemon that starts no jobs."""
    return make_module_daemon("daemon: {max_running_jobs: 0}").start()


class TestLife:
    """Jobs that run."""

    def test_a_job_completes(self, daemon: Any, packages: Any) -> None:
        """From submitted to completed, with its times, tasks and records."""
        job = daemon.wait(daemon.submitted(packages("quick"))["number"])
        assert job["state"] == "completed"
        assert job["created_at"] <= job["started_at"] <= job["ended_at"]
        assert (job["records_in"], job["records_out"]) == (3, 3)
        assert job["tasks"] >= 1
        assert (job["running"], job["failure"], job["mark"]) == (False, None, None)
        assert daemon.history(job["number"]) == WHOLE_LIFE

    def test_what_it_printed_and_counted_is_told(self, daemon: Any, packages: Any) -> None:
        """Log, metrics and graph of a job."""
        number = daemon.wait(daemon.submitted(packages("quick"))["number"])["number"]
        log = daemon.api("GET", f"jobs/{number}/logs").json()
        assert log["text"] == "got 2\ngot 4\ngot 6\n"
        assert (log["offset"], log["next_offset"], log["end"], log["truncated"]) == (0, 18, True, False)
        operators = daemon.api("GET", f"jobs/{number}/metrics").json()["operators"]
        graph = daemon.api("GET", f"jobs/{number}/graph").json()
        assert [item["uid"] for item in graph["operators"]] == [item["uid"] for item in operators]
        assert operators[-1]["records_in"] == 3

    def test_a_failure_is_kept_with_all_it_tells(self, daemon: Any, packages: Any) -> None:
        """Operator, record, line and traceback of a user's exception are with the job."""
        job = daemon.wait(daemon.submitted(packages("broken"))["number"])
        assert job["state"] == "failed"
        assert job["failure"]["kind"] == "user_code"
        assert "cannot take 7" in job["failure"]["message"]
        assert "broken" in job["failure"]["traceback"]
        failures = daemon.api("GET", f"jobs/{job['number']}/failures").json()["items"]
        assert len(failures) == 1
        assert failures[0]["message"] == job["failure"]["message"]
        assert failures[0]["attempt"] == 1
        assert failures[0]["time"] == job["ended_at"]
        assert daemon.history(job["number"])[-2:] == ["failing", "failed"]

    def test_a_process_that_vanishes_is_a_failure(self, daemon: Any, packages: Any) -> None:
        """A job process that exits on its own fails its job, and no other."""
        job = daemon.wait(daemon.submitted(packages("exits"))["number"])
        assert (job["state"], job["failure"]["kind"], job["failure"]["exit_status"]) == ("failed", "process", 3)

    def test_a_running_job_shows_what_it_does(self, daemon: Any, packages: Any) -> None:
        """While it runs, the job says so, with its tasks and counts."""
        job = daemon.wait(daemon.submitted(packages("held"))["number"], "running")
        assert (job["running"], job["ended_at"]) == (True, None)
        assert job["tasks"] >= 1
        daemon.release(job["uuid"])
        assert daemon.wait(job["number"])["state"] == "completed"

    def test_many_at_once(self, daemon: Any, packages: Any) -> None:
        """Twenty jobs side by side all complete, each once."""
        numbers: list[int] = []
        some = [packages("quick") for _ in range(20)]
        threads = [
            threading.Thread(target=lambda item=item: numbers.append(daemon.submitted(item)["number"])) for item in some
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(numbers)) == 20
        for number in numbers:
            assert daemon.wait(number)["state"] == "completed"
            assert daemon.history(number) == WHOLE_LIFE


class TestReferences:
    """A job is found by number, uuid or unique prefix, and by nothing else."""

    def test_number_uuid_and_prefix_lead_to_the_job(self, shelf: Any, packages: Any) -> None:
        """Upper case too, where the prefix is one of a uuid."""
        job = shelf.submitted(packages("quick"))
        for ref in (job["number"], job["uuid"], job["uuid"][:13], job["uuid"][:30].upper()):
            assert shelf.job(ref)["uuid"] == job["uuid"]

    def test_an_ambiguous_prefix_lists_what_it_fits(self, shelf: Any, packages: Any) -> None:
        """Several jobs for one prefix: 409 with their uuids."""
        uuids = [f"abcd{number}000-0000-4000-8000-000000000000" for number in range(3)]
        for item in uuids:
            shelf.submitted(packages("quick", job={"uuid": item}))
        answer = shelf.api("GET", "jobs/abcd")
        assert (answer.status, answer.code, answer.json()["exit_code"]) == (409, "ambiguous", 3)
        assert sorted(answer.json()["matches"]) == uuids
        assert shelf.job("abcd1")["uuid"] == uuids[1]

    @pytest.mark.parametrize(
        "ref",
        [
            "999999",
            "0",
            "-1",
            "1.0",
            "9" * 40,
            "abc",
            "nosuchjob",
            str(uuid.uuid4()),
            "abcd%",
            "%25",
            "____",
            "..",
            "%2e%2e",
            "..%2f..%2f..%2fetc%2fpasswd",
            "%2fetc%2fpasswd",
            "..%5c..",
            "%00",
            "1%00",
            "%0a",
            "%c3%bc%c3%bc%c3%bc%c3%bc",
            "%ff%fe%fd%fc",
            "a" * 5000,
        ],
    )
    @pytest.mark.parametrize("resource", ["", "/logs", "/graph", "/history", "/events", "/logs/follow"])
    def test_anything_else_is_not_found(self, shelf: Any, ref: str, resource: str) -> None:
        """Unknown, malformed and climbing references are 404, on every resource."""
        answer = shelf.api("GET", f"jobs/{ref}{resource}")
        assert (answer.status, answer.code, answer.json()["exit_code"]) == (404, "not_found", 3)

    @pytest.mark.parametrize("stream", ["..%2f..%2ftoken", "../../../token", "job.log", "", "%00", "events.jsonl"])
    def test_a_log_is_named_by_its_stream_alone(self, shelf: Any, packages: Any, stream: str) -> None:
        """No path gets in through the name of a log."""
        number = shelf.submitted(packages("quick"))["number"]
        for resource in ("logs", "logs/follow"):
            answer = shelf.api("GET", f"jobs/{number}/{resource}?stream={stream}")
            assert (answer.status, answer.code) == (400, "invalid_request")


@pytest.fixture(scope="module")
def numbers(shelf: Any, packages: Any) -> list[int]:
    """The numbers of twelve jobs with names of their own."""
    names = [f"paged {number % 3}" for number in range(12)]
    made = [shelf.submitted(packages("quick", job={"uuid": str(uuid.uuid4()), "name": name})) for name in names]
    return [job["number"] for job in made]


class TestLists:
    """Pages and filters."""

    def test_pages_show_every_job_once_newest_first(self, shelf: Any, numbers: list[int]) -> None:
        """Following the cursors leads through all jobs, in falling order of number."""
        seen: list[int] = []
        cursor = ""
        while True:
            page = shelf.api("GET", f"jobs?limit=5{cursor}").json()
            assert len(page["items"]) <= 5
            seen += [job["number"] for job in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == sorted(seen, reverse=True)
        assert len(seen) == len(set(seen))
        assert set(numbers) <= set(seen)

    def test_jobs_that_come_meanwhile_do_not_shift_pages(self, shelf: Any, packages: Any, numbers: list[int]) -> None:
        """A page begins where the last one ended, whatever was submitted since."""
        first = shelf.api("GET", "jobs?limit=3").json()
        shelf.submitted(packages("quick"))
        second = shelf.api("GET", f"jobs?limit=3&cursor={first['next_cursor']}").json()
        assert second["items"][0]["number"] == first["items"][-1]["number"] - 1

    def test_filters(self, shelf: Any, numbers: list[int]) -> None:
        """By name, owner and states."""
        named = shelf.api("GET", "jobs?name=paged%201&limit=500").json()["items"]
        assert sorted(job["number"] for job in named) == [n for i, n in enumerate(numbers) if i % 3 == 1]
        assert shelf.api("GET", "jobs?owner=nobody").json()["items"] == []
        assert shelf.api("GET", "jobs?owner=admin&limit=1").json()["items"] != []
        assert shelf.api("GET", "jobs?state=ended").json()["items"] == []
        waiting = shelf.api("GET", "jobs?state=submitted,queued&limit=500").json()["items"]
        assert {job["number"] for job in waiting} >= set(numbers)

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("state=nonsense", 400),
            ("cursor=xyz", 400),
            ("cursor=-1", 400),
            ("limit=0", 422),
            ("limit=501", 422),
            ("limit=many", 422),
        ],
    )
    def test_wrong_queries_are_problems(self, shelf: Any, query: str, status: int) -> None:
        """What a parameter may not be is said, with exit code 2."""
        answer = shelf.api("GET", f"jobs?{query}")
        assert (answer.status, answer.code, answer.json()["exit_code"]) == (status, "invalid_request", 2)


class TestErrors:
    """Everything that is no answer is a problem document."""

    def test_unknown_routes(self, daemon: Any) -> None:
        """404 names the resource and where to look."""
        for path in ("/nowhere", "/api/v1", "/api/v1/", "/api/v2/jobs", "/api/v1/jobs/", "/docs", "/api/v1/jobs/1/x/y"):
            answer = daemon.ask("GET", path)
            assert (answer.status, answer.code) == (404, "not_found"), path

    def test_checkpoints_are_not_there_yet(self, daemon: Any, packages: Any) -> None:
        """Resources of later versions are unknown."""
        number = daemon.wait(daemon.submitted(packages("quick"))["number"])["number"]
        for resource in ("checkpoints", "savepoints"):
            assert daemon.api("GET", f"jobs/{number}/{resource}").status == 404

    def test_wrong_methods(self, daemon: Any) -> None:
        """405 says which there are."""
        for method, path in (("PUT", "jobs/1"), ("POST", "info"), ("DELETE", "cleanup"), ("GET", "jobs/1/stop")):
            answer = daemon.api(method, path)
            assert (answer.status, answer.code) == (405, "invalid_request")
            assert answer.headers["allow"]

    @pytest.mark.parametrize(
        "body", ["[]", "nonsense", '{"states": "completed"}', '{"older_than": -1}', '{"surprise": 1}', '{"jobs": [1]}']
    )
    def test_wrong_json(self, daemon: Any, body: str) -> None:
        """A body of another form is refused with the field."""
        answer = daemon.ask("POST", "/api/v1/cleanup", body=body.encode(), media_type="application/json")
        assert (answer.status, answer.code) == (422, "invalid_request")

    def test_a_bug_is_told_without_its_inside(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """What fails unexpectedly is `internal`; the traceback is in the session log only."""
        daemon = make_daemon("daemon: {max_running_jobs: 0}").start()
        job = daemon.submitted(packages("quick"))
        package = daemon.folder(job["uuid"]) / "package.zip"
        package.unlink()
        package.mkdir()
        answer = daemon.api("GET", "jobs/1/graph")
        assert (answer.status, answer.code, answer.json()["exit_code"]) == (500, "internal", 70)
        assert "package.zip" not in answer.body.decode()
        assert daemon.api("GET", "info").status == 200
        daemon.stop()
        assert "IsADirectoryError" in daemon.session_log

    def test_a_damaged_history_is_said(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """A history that was damaged from outside is an error of its own, and only of that job."""
        daemon = make_daemon().start()
        job = daemon.wait(daemon.submitted(packages("quick"))["number"])
        with (daemon.folder(job["uuid"]) / "events.jsonl").open("a") as file:
            file.write("garbage\n")
        answer = daemon.api("GET", "jobs/1/history")
        assert (answer.status, answer.code) == (500, "internal")
        assert daemon.job(1)["state"] == "completed"

    def test_a_history_damaged_while_the_job_runs(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """What the shim tells counts; the job ends, and can be deleted at once."""
        daemon = make_daemon().start()
        job = daemon.submitted(packages("held"))
        daemon.wait(1, "running")
        (daemon.folder(job["uuid"]) / "events.jsonl").write_text("garbage\n")
        daemon.release(job["uuid"])
        ended = daemon.wait(1)
        assert (ended["state"], ended["mark"]) == ("completed", None)
        assert daemon.api("GET", "jobs/1/history").code == "internal"
        assert daemon.api("DELETE", "jobs/1").status == 200

    def test_counts_beyond_all_measure(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """A job that tells more records than the index can hold ends like any other, and the daemon starts again."""
        daemon = make_daemon().start()
        daemon.submitted(packages("boasts"))
        job = daemon.wait(1)
        assert (job["state"], job["mark"]) == ("failed", None)
        assert job["records_out"] == 2**63 - 1
        assert daemon.ask("GET", "/metrics").status == 200
        daemon.stop()
        daemon.start()
        assert daemon.job(1) == job

    def test_pipes_in_the_place_of_files(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """A job that puts pipes into its folder holds up nobody who reads of it, however often they ask."""
        daemon = make_daemon().start()
        job = daemon.submitted(packages("held"))
        daemon.wait(1, "running")
        folder = daemon.folder(job["uuid"])
        for path in (folder / "metrics.json", folder / "logs" / "job.log"):
            os.mkfifo(path.with_suffix(".pipe"))
            path.with_suffix(".pipe").rename(path)
        for _ in range(20):
            for resource in ("jobs/1", "jobs/1/metrics", "jobs/1/logs"):
                assert daemon.api("GET", resource).status == 200
        daemon.release(job["uuid"])
        assert daemon.wait(1)["state"] == "completed"


class TestWaiting:
    """Long polls."""

    def test_a_poll_wakes_with_the_end(self, daemon: Any, packages: Any) -> None:
        """Waiting readers all get the answer when the job ends, not when their time is over."""
        job = daemon.submitted(packages("held"))
        ended: list[dict[str, Any]] = []

        def wait() -> None:
            ended.append(daemon.api("GET", f"jobs/{job['number']}?wait=60&state=ended").json())

        threads = [threading.Thread(target=wait) for _ in range(5)]
        for thread in threads:
            thread.start()
        daemon.wait(job["number"], "running")
        daemon.release(job["uuid"])
        for thread in threads:
            thread.join()
        assert [item["state"] for item in ended] == ["completed"] * 5

    def test_a_poll_ends_with_its_time(self, shelf: Any, packages: Any) -> None:
        """It answers with the job as it is, which is no error."""
        number = shelf.submitted(packages("quick"))["number"]
        answer = shelf.api("GET", f"jobs/{number}?wait=0.2&state=ended")
        assert (answer.status, answer.json()["ended_at"]) == (200, None)

    def test_a_poll_for_a_state_that_never_comes_ends_with_the_job(self, daemon: Any, packages: Any) -> None:
        """Nobody waits for a job that has ended to run."""
        number = daemon.submitted(packages("quick"))["number"]
        daemon.wait(number)
        assert daemon.api("GET", f"jobs/{number}?wait=60&state=stopping").json()["state"] == "completed"

    def test_a_poll_ends_when_the_job_is_deleted(self, shelf: Any, packages: Any) -> None:
        """Its answer is that there is no such job, and that at once."""
        job = shelf.submitted(packages("quick"))
        answers: list[int] = []
        waiter = threading.Thread(
            target=lambda: answers.append(shelf.api("GET", f"jobs/{job['number']}?wait=60&state=completed").status)
        )
        waiter.start()
        shelf.api("DELETE", f"jobs/{job['uuid']}?force=true")
        waiter.join()
        assert answers[0] in (200, 404)

    @pytest.mark.parametrize("query", ["wait=-1", "wait=nan", "wait=soon", "wait=1&state=nonsense"])
    def test_wrong_waits_are_problems(self, daemon: Any, packages: Any, query: str) -> None:
        """A wait that is none is said to be wrong."""
        number = daemon.submitted(packages("quick"))["number"]
        assert daemon.api("GET", f"jobs/{number}?{query}").code == "invalid_request"


class TestEnding:
    """Stop, cancel, continue."""

    @pytest.mark.parametrize("verb", ["stop", "cancel"])
    def test_a_running_job_is_cancelled(self, daemon: Any, packages: Any, verb: str) -> None:
        """The answer shows it on its way, then it is cancelled; asking again while it goes is fine, afterwards not."""
        number = daemon.submitted(packages("held"))["number"]
        daemon.wait(number, "running")
        answer = daemon.api("POST", f"jobs/{number}/{verb}")
        assert answer.status == 202
        assert answer.json()["state"] in ("cancelling", "cancelled")
        assert daemon.wait(number)["state"] == "cancelled"
        assert daemon.history(number)[-2:] == ["cancelling", "cancelled"]
        again = daemon.api("POST", f"jobs/{number}/{verb}")
        assert (again.status, again.code, again.json()["exit_code"]) == (409, "wrong_state", 8)
        assert again.json()["state"] == "cancelled"

    def test_a_starting_job_is_cancelled(self, daemon: Any, packages: Any) -> None:
        """Wherever a job is on its way, a cancel reaches it."""
        for _ in range(5):
            number = daemon.submitted(packages("held"))["number"]
            assert daemon.api("POST", f"jobs/{number}/cancel").status == 202
            assert daemon.wait(number)["state"] == "cancelled"

    def test_a_waiting_job_is_cancelled_at_once(self, shelf: Any, packages: Any) -> None:
        """What never started has nothing to end."""
        number = shelf.submitted(packages("held"))["number"]
        answer = shelf.api("POST", f"jobs/{number}/stop")
        assert (answer.status, answer.json()["state"]) == (202, "cancelled")
        assert shelf.history(number)[-1] == "cancelled"

    def test_cancel_racing_with_the_end_has_one_outcome(self, daemon: Any, packages: Any) -> None:
        """Completed or cancelled: history, job and answer agree, and it ends once."""
        for _ in range(10):
            number = daemon.submitted(packages("quick"))["number"]
            answer = daemon.api("POST", f"jobs/{number}/cancel")
            assert answer.status in (202, 409)
            job, history = daemon.wait(number), daemon.history(number)
            assert history[-1] == job["state"]
            assert job["state"] in ("completed", "cancelled")
            assert len([state for state in history if state in ("completed", "cancelled", "failed")]) == 1
            if answer.status == 409:
                assert answer.json()["state"] == job["state"]

    def test_many_cancels_at_once_are_one(self, daemon: Any, packages: Any) -> None:
        """Each is answered, and the job is cancelled once."""
        number = daemon.submitted(packages("held"))["number"]
        daemon.wait(number, "running")
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(daemon.api("POST", f"jobs/{number}/cancel").status))
            for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) <= {202, 409}
        assert 202 in statuses
        assert daemon.wait(number)["state"] == "cancelled"
        assert daemon.history(number).count("cancelling") == 1

    def test_continue_says_why_not(self, daemon: Any, packages: Any) -> None:
        """There are no savepoints yet."""
        number = daemon.wait(daemon.submitted(packages("quick"))["number"])["number"]
        answer = daemon.api("POST", f"jobs/{number}/continue")
        assert (answer.status, answer.code) == (409, "wrong_state")
        assert "savepoint" in answer.json()["detail"]


class TestQueue:
    """daemon.max_running_jobs."""

    def test_nothing_starts_with_zero(self, shelf: Any, packages: Any) -> None:
        """The job waits, and says for what."""
        number = shelf.submitted(packages("quick"))["number"]
        job = shelf.wait(number, "queued")
        assert "starts no jobs" in job["reason"]

    def test_one_at_a_time_in_order(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """The next starts when the one before has ended; a cancelled one gives its place away."""
        daemon = make_daemon("daemon: {max_running_jobs: 1}").start()
        jobs = [daemon.submitted(packages("held")) for _ in range(4)]
        daemon.wait(1, "running")
        assert "1 jobs may run" in daemon.wait(2, "queued")["reason"]
        daemon.api("POST", "jobs/2/cancel")
        daemon.release(jobs[0]["uuid"])
        daemon.wait(3, "running")
        assert [daemon.job(number)["state"] for number in (1, 2, 3, 4)] == [
            "completed",
            "cancelled",
            "running",
            "queued",
        ]
        daemon.api("POST", "jobs/3/cancel")
        daemon.release(jobs[3]["uuid"])
        assert daemon.wait(4)["state"] == "completed"
        assert daemon.history(4) == WHOLE_LIFE


class TestRemoving:
    """Delete and cleanup."""

    def test_an_ended_job_is_deleted_with_its_folder(self, daemon: Any, packages: Any) -> None:
        """Afterwards it is not found, nothing of it is left, and its number is not given again."""
        job = daemon.wait(daemon.submitted(packages("quick"))["number"])
        answer = daemon.api("DELETE", f"jobs/{job['number']}")
        assert (answer.status, answer.json()["uuid"]) == (200, job["uuid"])
        assert daemon.api("GET", f"jobs/{job['number']}").status == 404
        assert daemon.api("DELETE", f"jobs/{job['number']}").status == 404
        assert not daemon.folder(job["uuid"]).exists()
        assert list((daemon.home / "jobs" / ".trash").iterdir()) == []
        assert daemon.submitted(packages("quick"))["number"] > job["number"]

    def test_an_unfinished_job_is_not_deleted(self, daemon: Any, packages: Any) -> None:
        """Without force it is the wrong state, and nothing happens to it."""
        job = daemon.submitted(packages("held"))
        answer = daemon.api("DELETE", f"jobs/{job['number']}")
        assert (answer.status, answer.code) == (409, "wrong_state")
        assert "force" in answer.json()["hint"]
        daemon.wait(job["number"], "running")
        daemon.release(job["uuid"])
        assert daemon.wait(job["number"])["state"] == "completed"

    @pytest.mark.parametrize("started", [True, False])
    def test_force_cancels_first(self, daemon: Any, packages: Any, started: bool) -> None:
        """With force a running and a starting job are ended and removed."""
        job = daemon.submitted(packages("held"))
        if started:
            daemon.wait(job["number"], "running")
        answer = daemon.api("DELETE", f"jobs/{job['number']}?force=true")
        assert (answer.status, answer.json()["state"]) == (200, "cancelled")
        assert not daemon.folder(job["uuid"]).exists()

    def test_force_takes_a_waiting_job(self, shelf: Any, packages: Any) -> None:
        """A job that never started is removed as well."""
        job = shelf.submitted(packages("held"))
        assert shelf.api("DELETE", f"jobs/{job['number']}?force=true").status == 200
        assert shelf.api("GET", f"jobs/{job['number']}").status == 404

    def test_a_deleted_job_may_be_submitted_anew(self, daemon: Any, packages: Any) -> None:
        """It gets a new number."""
        package = packages("quick")
        first = daemon.wait(daemon.submitted(package)["number"])
        daemon.api("DELETE", f"jobs/{first['number']}")
        second = daemon.submitted(package)
        assert second["number"] > first["number"]
        assert daemon.wait(second["number"])["state"] == "completed"

    @pytest.fixture
    def littered(self, make_daemon: Callable[..., Any], packages: Any) -> Any:
        """A daemon with a completed, a failed, a cancelled and a running job, numbers 1 to 4."""
        daemon = make_daemon().start()
        daemon.submitted(packages("quick"))
        daemon.submitted(packages("broken"))
        for number in (3, 4):
            daemon.submitted(packages("held"))
            daemon.wait(number, "running")
        daemon.api("POST", "jobs/3/cancel")
        for number in (1, 2, 3):
            daemon.wait(number)
        return daemon

    @staticmethod
    def cleanup(daemon: Any, **wanted: Any) -> list[int]:
        answer = daemon.api("POST", "cleanup", wanted)
        assert answer.status == 200, answer
        return [job["number"] for job in answer.json()["items"]]

    def test_cleanup_takes_what_has_ended(self, littered: Any) -> None:
        """It answers with what was removed; what runs is not touched."""
        for seconds in (3600, 1e12, 1e308):
            assert self.cleanup(littered, older_than=seconds) == []
        assert self.cleanup(littered, states=["failed"]) == [2]
        assert self.cleanup(littered) == [1, 3]
        assert self.cleanup(littered) == []
        assert littered.job(4)["state"] == "running"

    def test_cleanup_takes_what_is_named(self, littered: Any) -> None:
        """Only those; one that has not ended refuses all."""
        refused = littered.api("POST", "cleanup", {"jobs": ["1", "4"]})
        assert (refused.status, refused.code) == (409, "wrong_state")
        assert littered.job(1)["state"] == "completed"
        assert self.cleanup(littered, jobs=["1", "2"], states=["failed"]) == [2]
        assert self.cleanup(littered, jobs=["3", "3", littered.job(3)["uuid"]], older_than=0) == [3]
        assert self.cleanup(littered, jobs=[]) == []
        assert littered.api("POST", "cleanup", {"jobs": ["99"]}).status == 404
        refused = littered.api("POST", "cleanup", {"states": ["running"]})
        assert (refused.status, refused.code) == (400, "invalid_request")
        assert littered.job(1)["state"] == "completed"


class TestLogs:
    """Reading a log by offset."""

    def test_reading_piece_by_piece_gives_the_whole(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """Offsets lead through all that is kept, in order, and beyond what was rotated away."""
        daemon = make_daemon("logs: {max_bytes: 64KiB, keep: 2}").start()
        daemon.submitted(packages("chatty"))
        daemon.wait(1)
        assert len(list((daemon.folder(daemon.job(1)["uuid"]) / "logs").glob("job.log*"))) >= 3
        offset, text = 0, ""
        first = daemon.api("GET", "jobs/1/logs?limit=5000").json()
        assert first["truncated"]
        assert first["offset"] > 0
        while True:
            piece = daemon.api("GET", f"jobs/1/logs?offset={offset}&limit=5000").json()
            assert piece["offset"] == (offset or first["offset"])
            assert piece["next_offset"] == piece["offset"] + len(piece["text"].encode())
            text, offset = text + piece["text"], piece["next_offset"]
            if piece["end"]:
                break
        lines = text.splitlines()
        assert lines[-1] == "got 2"
        numbers = [int(line.split()[1]) for line in lines if line.startswith("line")]
        assert numbers == list(range(numbers[0], 6000))

    def test_a_negative_offset_counts_from_the_end(self, daemon: Any, packages: Any) -> None:
        """The last bytes of a log."""
        number = daemon.wait(daemon.submitted(packages("quick"))["number"])["number"]
        piece = daemon.api("GET", f"jobs/{number}/logs?offset=-6").json()
        assert (piece["text"], piece["offset"], piece["end"]) == ("got 6\n", 12, True)

    def test_a_log_that_is_not_there_yet_is_empty(self, shelf: Any, packages: Any) -> None:
        """A job that has not started has printed nothing, and may still."""
        number = shelf.submitted(packages("quick"))["number"]
        piece = shelf.api("GET", f"jobs/{number}/logs").json()
        assert piece == {"text": "", "offset": 0, "next_offset": 0, "end": False, "truncated": False}

    @pytest.mark.parametrize("query", ["offset=x", "limit=1", "limit=99999999", f"offset={1 << 80}"])
    def test_wrong_offsets_are_problems(self, shelf: Any, packages: Any, query: str) -> None:
        """What is no offset or no limit is said to be wrong."""
        number = shelf.submitted(packages("quick"))["number"]
        answer = shelf.api("GET", f"jobs/{number}/logs?{query}")
        assert (answer.status, answer.code) == (422, "invalid_request")


class TestFigures:
    """What monitoring sees."""

    def test_metrics_count_jobs_requests_and_records(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """Prometheus' text, with the token."""
        daemon = make_daemon().start()
        package = packages("quick")
        daemon.submitted(package)
        daemon.wait(1)
        daemon.submit(package)
        daemon.submit(b"no package")
        answer = daemon.ask("GET", "/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        lines = answer.body.decode().splitlines()
        assert 'sage_jobs{state="completed"} 1.0' in lines
        assert 'sage_jobs{state="running"} 0.0' in lines
        for result in ("new", "same", "refused"):
            assert f'sage_submissions_total{{result="{result}"}} 1.0' in lines
        assert 'sage_requests_total{method="POST",route="/api/v1/jobs",status="201"} 1.0' in lines
        uid = json.loads(json.dumps(daemon.api("GET", "jobs/1/graph").json()))["operators"][-1]["uid"]
        assert any(
            line.startswith("sage_job_records_total{") and f'operator="{uid}"' in line and line.endswith(" 3.0")
            for line in lines
        )

    def test_health(self, daemon: Any) -> None:
        """Both health resources answer without a token."""
        assert daemon.ask("GET", "/healthz", token=None).json() == {"status": "ok"}
        assert daemon.ask("GET", "/readyz", token=None).json() == {"status": "ready"}

    def test_info(self, daemon: Any) -> None:
        """What the daemon says of itself."""
        info = daemon.api("GET", "info").json()
        assert (info["api"], info["pid"]) == (1, daemon.pid)
        assert {"inline", "local"} <= set(info["backends"])
        assert info["session_log"].startswith(str(daemon.home / "logs" / "jobmanager" / "session_"))
