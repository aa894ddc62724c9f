"""Server-sent events: histories and logs as they grow, resumed, bounded, and ended."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from sage.runtime.jobmanager.events import Change, Hub, HubClosedError, SlowReaderError
from sage.runtime.jobmanager.problems import BusyError
from sage.runtime.jobmanager.store import Row

WHOLE_LIFE = ["submitted", "queued", "starting", "running", "completed"]


@dataclass(frozen=True)
class Event:
    name: str
    data: Any
    id: str | None


@contextmanager
def stream(daemon: Any, path: str, **headers: str) -> Iterator[Iterator[Event]]:
    """The events of a stream, which is open once this is entered."""
    connection = http.client.HTTPConnection(daemon.host, daemon.port, timeout=60)
    sent = {"Authorization": f"Bearer {daemon.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
    with closing(connection):
        connection.request("GET", f"/api/v1/{path}", headers=sent)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.getheader("content-type", "").startswith("text/event-stream")
        yield events_of(response)


def events_of(response: http.client.HTTPResponse) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for raw in response:
        line = raw.decode().rstrip("\n")
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}


class TestJobEvents:
    """GET jobs/{ref}/events"""

    def test_the_whole_life_from_the_first_change_on(self, daemon: Any, packages: Any) -> None:
        """Opened while the job runs: what was before, then what comes, then the end with the job."""
        job = daemon.submitted(packages("held"))
        daemon.wait(job["number"], "running")
        with stream(daemon, f"jobs/{job['number']}/events") as events:
            first = [next(events) for _ in range(4)]
            daemon.release(job["uuid"])
            rest = list(events)
        assert [event.data["state"] for event in [*first, *rest[:-1]]] == WHOLE_LIFE
        assert [event.id for event in [*first, *rest[:-1]]] == ["1", "2", "3", "4", "5"]
        assert (rest[-1].name, rest[-1].data["state"], rest[-1].data["number"]) == ("end", "completed", job["number"])

    def test_a_job_that_has_ended_tells_all_at_once(self, daemon: Any, packages: Any) -> None:
        """The stream of an ended job ends."""
        number = daemon.wait(daemon.submitted(packages("quick"))["number"])["number"]
        with stream(daemon, f"jobs/{number}/events") as events:
            names = [event.name for event in events]
        assert names == ["state"] * 5 + ["end"]

    def test_resumed_after_the_last_one_seen(self, daemon: Any, packages: Any) -> None:
        """Last-Event-ID leaves out what the reader has."""
        number = daemon.wait(daemon.submitted(packages("quick"))["number"])["number"]
        with stream(daemon, f"jobs/{number}/events", Last_Event_ID="3") as events:
            assert [event.data["state"] for event in events] == ["running", "completed", "completed"]
        answer = daemon.ask("GET", f"/api/v1/jobs/{number}/events", headers={"Last-Event-ID": "x"})
        assert (answer.status, answer.code) == (400, "invalid_request")

    def test_many_readers_see_the_same(self, daemon: Any, packages: Any) -> None:
        """Whenever they come, each has every change once."""
        job = daemon.submitted(packages("held"))
        seen: list[list[str]] = []

        def read() -> None:
            with stream(daemon, f"jobs/{job['number']}/events") as events:
                seen.append([event.data["state"] for event in events if event.name == "state"])

        threads = [threading.Thread(target=read) for _ in range(20)]
        for thread in threads:
            thread.start()
        daemon.wait(job["number"], "running")
        daemon.release(job["uuid"])
        for thread in threads:
            thread.join()
        assert seen == [WHOLE_LIFE] * 20

    def test_the_stream_ends_with_a_deleted_job(self, daemon: Any, packages: Any) -> None:
        """A job that is removed under its readers leaves none hanging."""
        job = daemon.submitted(packages("held"))
        daemon.wait(job["number"], "running")
        with stream(daemon, f"jobs/{job['number']}/events") as events:
            assert daemon.api("DELETE", f"jobs/{job['number']}?force=true").status == 200
            states = [event.data["state"] for event in events if event.name == "state"]
        assert states[-1] == "cancelled"


class TestAllEvents:
    """GET events"""

    def test_changes_of_all_jobs_as_they_come(self, daemon: Any, packages: Any) -> None:
        """From the moment of connection on, with the job each belongs to."""
        with stream(daemon, "events") as events:
            first = daemon.submitted(packages("quick"))
            second = daemon.submitted(packages("quick"))
            daemon.wait(first["number"])
            daemon.wait(second["number"])
            daemon.api("DELETE", f"jobs/{first['number']}")
            seen: dict[int, list[str]] = {}
            for event in events:
                if event.name == "deleted":
                    assert event.data == {"job": first["uuid"], "number": first["number"]}
                    break
                seen.setdefault(event.data["number"], []).append(event.data["state"])
        assert seen == {first["number"]: WHOLE_LIFE, second["number"]: WHOLE_LIFE}


class TestLogs:
    """GET jobs/{ref}/logs/follow"""

    def test_lines_come_while_the_job_runs(self, daemon: Any, packages: Any) -> None:
        """What is printed arrives before the job ends, then the end."""
        job = daemon.submitted(packages("held"))
        daemon.wait(job["number"], "running")
        with stream(daemon, f"jobs/{job['number']}/logs/follow") as events:
            text = ""
            while "got 3\n" not in text:
                event = next(events)
                assert event.name == "log"
                text += event.data["text"]
            assert event.id == str(event.data["offset"])
            daemon.release(job["uuid"])
            rest = list(events)
        assert text == "got 1\ngot 2\ngot 3\n"
        assert event.data["offset"] == len(text)
        assert [item.name for item in rest] == ["end"]

    def test_nothing_is_lost_across_rotation(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """A reader that keeps up has every line once, in order; resumed in the middle as well."""
        daemon = make_daemon("logs: {max_bytes: 64KiB, keep: 20}").start()
        daemon.submitted(packages("chatty"))
        with stream(daemon, "jobs/1/logs/follow") as events:
            pieces = list(events)
        text = "".join(event.data["text"] for event in pieces if event.name == "log")
        numbers = [int(line.split()[1]) for line in text.splitlines() if line.startswith("line")]
        assert numbers == list(range(6000))
        middle = pieces[len(pieces) // 2]
        with stream(daemon, "jobs/1/logs/follow", Last_Event_ID=str(middle.data["offset"])) as events:
            again = "".join(event.data["text"] for event in events if event.name == "log")
        assert text.endswith(again)
        assert len(text) - len(again) == middle.data["offset"]

    def test_the_client_follows_across_a_restart(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """The daemon may be replaced under a reader: text is neither lost nor told twice."""
        daemon = make_daemon().start()
        job = daemon.submitted(packages("held"))
        daemon.wait(1, "running")
        with daemon.client() as client:
            pieces = client.follow_logs(1)
            text = next(pieces)
            daemon.kill()
            daemon.start()
            daemon.release(job["uuid"])
            text += "".join(pieces)
        assert text == "got 1\ngot 2\ngot 3\n"

    def test_from_the_end(self, daemon: Any, packages: Any) -> None:
        """A negative offset begins near the end."""
        number = daemon.wait(daemon.submitted(packages("quick"))["number"])["number"]
        with stream(daemon, f"jobs/{number}/logs/follow?offset=-6") as events:
            assert [event.data.get("text") for event in events] == ["got 6\n", None]

    def test_a_waiting_job_has_a_log_to_follow(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """Opened before the job has started."""
        daemon = make_daemon("daemon: {max_running_jobs: 1}").start()
        first = daemon.submitted(packages("held"))
        daemon.submitted(packages("quick"))
        daemon.wait(2, "queued")
        with stream(daemon, "jobs/2/logs/follow") as events:
            daemon.release(first["uuid"])
            text = "".join(event.data["text"] for event in events if event.name == "log")
        assert text == "got 2\ngot 4\ngot 6\n"


class TestSlowReaders:
    """Who does not read is cut, and holds nobody up."""

    def test_a_reader_that_stops_is_cut(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """Its connection goes after the time-out; the daemon serves others meanwhile and afterwards."""
        daemon = make_daemon("{limits: {request_timeout: 1s}, logs: {max_bytes: 100MiB}}").start()
        job = daemon.wait(daemon.submitted(packages("quick"))["number"])
        log = daemon.folder(job["uuid"]) / "logs" / "job.log"
        log.write_bytes(b"x" * 99 + b"\n")
        with log.open("ab") as file:
            for _ in range(400):
                file.write((b"y" * 99 + b"\n") * 1000)
        with daemon.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            head = f"GET /api/v1/jobs/1/logs/follow HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {daemon.token}"
            connection.sendall(f"{head}\r\n\r\n".encode())
            assert connection.recv(100)
            while open_readers(daemon):
                assert daemon.api("GET", "info").status == 200
            with pytest.raises(ConnectionResetError):
                while connection.recv(1 << 20):
                    continue
        assert daemon.job(1)["state"] == "completed"

    def test_a_crowd_of_readers(self, make_daemon: Callable[..., Any]) -> None:
        """Of more readers than there may be, all at the same moment, each gets a stream or is told to come back."""
        daemon = make_daemon().start()
        head = f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {daemon.token}\r\n\r\n"
        with ExitStack() as stack:
            readers = [stack.enter_context(daemon.connect()) for _ in range(220)]
            for reader in readers:
                reader.sendall(head.encode())
            answers = [reader.recv(1000) for reader in readers]
        assert Counter(answer.split()[1] for answer in answers) == {b"200": 192, b"503": 28}
        daemon.stop()
        assert "Traceback" not in daemon.session_log

    def test_too_many_readers_are_told_to_come_back(self) -> None:
        """The number of subscriptions is bounded."""
        hub = Hub(readers=2)
        with hub.subscribe(1), hub.subscribe(), pytest.raises(BusyError), hub.subscribe(2):
            raise AssertionError("one too many")
        with hub.subscribe(2):
            assert len(hub) == 1
        assert len(hub) == 0


def open_readers(daemon: Any) -> int:
    lines = daemon.ask("GET", "/metrics").body.decode().splitlines()
    return int(float(next(line for line in lines if line.startswith("sage_readers ")).split()[1]))


def row(number: int) -> Row:
    nothing: dict[str, Any] = dict.fromkeys(
        ("mark", "reason", "started_at", "ended_at", "failure"),
    )
    counts: dict[str, Any] = dict.fromkeys(
        ("seq", "epoch", "restarts", "tasks", "services", "records_in", "records_out"), 0
    )
    return Row(
        number=number,
        uuid=f"uuid-{number}",
        name="n",
        backend="local",
        owner="admin",
        options={},
        sha256="",
        state="running",
        attempt=1,
        created_at="",
        **nothing,
        **counts,
    )


class TestHub:
    """The fan-out itself."""

    @staticmethod
    def run(check: Callable[[], Any]) -> None:
        import asyncio

        asyncio.run(check())

    def test_each_gets_what_it_asked_for(self) -> None:
        """One job or all, from the subscription on."""

        async def check() -> None:
            hub = Hub(readers=10)
            hub.publish(Change(row(1)))
            with hub.subscribe(1) as one, hub.subscribe() as all_:
                for number in (1, 2, 1):
                    hub.publish(Change(row(number)))
                assert [(await one.next()).row.number for _ in range(2)] == [1, 1]  # type: ignore[union-attr]
                assert [(await all_.next()).row.number for _ in range(3)] == [1, 2, 1]  # type: ignore[union-attr]
                assert await one.next(0.0) is None

        self.run(check)

    def test_a_full_buffer_cuts_its_reader_only(self) -> None:
        """The slow one learns that it was cut; the quick one has everything."""

        async def check() -> None:
            hub = Hub(readers=10, buffer=3)
            with hub.subscribe() as slow, hub.subscribe() as quick:
                for number in range(5):
                    hub.publish(Change(row(number)))
                    assert (await quick.next()).row.number == number  # type: ignore[union-attr]
                with pytest.raises(SlowReaderError):
                    await slow.next()

        self.run(check)

    def test_closing_ends_all(self) -> None:
        """What was published before is still handed out, then the end; nobody gets in any more."""

        async def check() -> None:
            hub = Hub(readers=10)
            with hub.subscribe() as reader:
                hub.publish(Change(row(1)))
                hub.close()
                assert (await reader.next()).row.number == 1  # type: ignore[union-attr]
                with pytest.raises(HubClosedError):
                    await reader.next()
            with pytest.raises(BusyError), hub.subscribe():
                raise AssertionError("closed")

        self.run(check)
