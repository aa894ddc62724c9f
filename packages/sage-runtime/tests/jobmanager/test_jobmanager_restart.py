"""Starts, stops and deaths of the daemon and of shims: nothing acknowledged is lost, nothing runs twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sage.runtime.shim.events import EventsFile
from sage.runtime.shim.processes import ProcessIdentity, is_alive, send_signal

ENDED = ("completed", "failed", "cancelled")


def shim_of(daemon: Any, job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((daemon.folder(job["uuid"]) / "shim.json").read_text())
    return found


def assert_sound(daemon: Any) -> None:
    """What holds after every fault: a whole index, gapless histories, one end each, nothing half removed."""
    with closing(sqlite3.connect(daemon.home / "jobs.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for job in daemon.api("GET", "jobs?limit=500").json()["items"]:
        items = daemon.api("GET", f"jobs/{job['number']}/history").json()["items"]
        assert [item["seq"] for item in items] == list(range(1, len(items) + 1))
        assert len([item for item in items if item["state"] in ENDED]) == (1 if job["ended_at"] else 0)
    assert list((daemon.home / "jobs" / ".incoming").iterdir()) == []
    assert list((daemon.home / "jobs" / ".trash").iterdir()) == []


class TestAdoption:
    """Running jobs outlive the daemon."""

    @pytest.mark.parametrize("end", ["stop", "kill"])
    def test_a_running_job_is_taken_up_again(self, make_daemon: Callable[..., Any], packages: Any, end: str) -> None:
        """The next daemon finds the very same process, sees it end, and has its whole history."""
        daemon = make_daemon().start()
        job = daemon.submitted(packages("held"))
        daemon.wait(1, "running")
        before = shim_of(daemon, job)
        getattr(daemon, end)()
        assert is_alive(ProcessIdentity.from_json(before))
        daemon.start()
        assert daemon.job(1)["state"] == "running"
        assert shim_of(daemon, job) == before
        daemon.release(job["uuid"])
        assert daemon.wait(1)["state"] == "completed"
        assert daemon.history(1) == ["submitted", "queued", "starting", "running", "completed"]
        assert_sound(daemon)

    def test_a_job_that_ended_meanwhile_is_known(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """What happened while no daemon was there is read from the job's folder."""
        daemon = make_daemon().start()
        job = daemon.submitted(packages("held"))
        daemon.wait(1, "running")
        shim = ProcessIdentity.from_json(shim_of(daemon, job))
        daemon.kill()
        daemon.release(job["uuid"])
        wait_for_end(shim)
        daemon.start()
        done = daemon.job(1)
        assert (done["state"], done["records_out"]) == ("completed", 3)
        assert daemon.api("DELETE", "jobs/1").status == 200

    def test_an_adopted_job_can_be_cancelled(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """Taken up means fully in hand."""
        daemon = make_daemon().start()
        daemon.submitted(packages("held"))
        daemon.wait(1, "running")
        daemon.kill()
        daemon.start()
        assert daemon.api("POST", "jobs/1/cancel").status == 202
        assert daemon.wait(1)["state"] == "cancelled"

    def test_waiting_jobs_are_still_queued(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """They start with the next daemon, in order, and adopted jobs count as running."""
        daemon = make_daemon("daemon: {max_running_jobs: 1}").start()
        first = daemon.submitted(packages("held"))
        daemon.submitted(packages("quick"))
        daemon.wait(1, "running")
        daemon.wait(2, "queued")
        daemon.kill()
        daemon.start()
        assert daemon.job(2)["state"] == "queued"
        daemon.release(first["uuid"])
        assert daemon.wait(2)["state"] == "completed"

    def test_clients_that_wait_bear_a_restart(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """A client in the middle of waiting gets its answer from the next daemon."""
        import threading

        daemon = make_daemon().start()
        job = daemon.submitted(packages("held"))
        daemon.wait(1, "running")
        with daemon.client() as client:
            ended: list[str] = []
            waiter = threading.Thread(target=lambda: ended.append(client.wait(1, timeout=60).state))
            waiter.start()
            wait_until(lambda: readers(daemon), lambda count: count == 1)
            daemon.stop()
            daemon.start()
            daemon.release(job["uuid"])
            waiter.join()
        assert ended == ["completed"]

    def test_kill_after_kill_loses_nothing(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """The daemon is killed again and again while jobs come, run and end; each acknowledged job runs once."""
        daemon = make_daemon()
        acknowledged: list[int] = []
        for _ in range(5):
            daemon.start()
            acknowledged += [daemon.submitted(packages("quick"))["number"] for _ in range(3)]
            daemon.kill()
        daemon.start()
        for number in acknowledged:
            assert daemon.wait(number)["state"] == "completed"
            assert daemon.history(number) == ["submitted", "queued", "starting", "running", "completed"]
            assert daemon.api("GET", f"jobs/{number}/logs").json()["text"] == "got 2\ngot 4\ngot 6\n"
        assert acknowledged == list(range(1, len(acknowledged) + 1))
        assert_sound(daemon)


class TestFailpoints:
    """The daemon is killed at each step of a job's way."""

    @pytest.mark.parametrize("step", ["received", "stored", "committed", "launching", "started", "queued", "starting"])
    def test_killed_on_the_way_to_running(self, make_daemon: Callable[..., Any], packages: Any, step: str) -> None:
        """Submitting the same again to the next daemon leads to one job that runs once."""
        daemon = make_daemon(env={"SAGE_FAILPOINT": f"{step}:kill"}).start()
        package = packages("quick")
        try:
            acknowledged = daemon.submit(package).status == 201
        except OSError:
            acknowledged = False
        daemon.process.wait(60)
        if step in ("received", "stored", "committed"):
            assert not acknowledged
        del daemon.env["SAGE_FAILPOINT"]
        daemon.start()
        jobs = daemon.api("GET", "jobs").json()["items"]
        assert len(jobs) == (0 if step in ("received", "stored") else 1)
        assert daemon.submit(package).status in (200, 201)
        job = daemon.wait(1)
        assert job["state"] == "completed"
        assert daemon.history(1).count("starting") == 1
        assert daemon.api("GET", "jobs/1/logs").json()["text"] == "got 2\ngot 4\ngot 6\n"
        assert_sound(daemon)

    @pytest.mark.parametrize("step", ["running", "completed"])
    def test_killed_while_it_runs(self, make_daemon: Callable[..., Any], packages: Any, step: str) -> None:
        """The job goes on and its end is known afterwards."""
        daemon = make_daemon(env={"SAGE_FAILPOINT": f"{step}:kill"}).start()
        assert daemon.submit(packages("quick")).status == 201
        daemon.process.wait(60)
        del daemon.env["SAGE_FAILPOINT"]
        daemon.start()
        assert daemon.wait(1)["state"] == "completed"
        assert daemon.history(1) == ["submitted", "queued", "starting", "running", "completed"]
        assert_sound(daemon)

    @pytest.mark.parametrize("step", ["trashed", "row-gone"])
    def test_killed_while_deleting(self, make_daemon: Callable[..., Any], packages: Any, step: str) -> None:
        """The next start completes the deletion; the number is not given again."""
        daemon = make_daemon(env={"SAGE_FAILPOINT": f"{step}:kill"}).start()
        job = daemon.wait(daemon.submitted(packages("quick"))["number"])
        with pytest.raises(OSError):
            daemon.api("DELETE", "jobs/1")
        daemon.process.wait(60)
        del daemon.env["SAGE_FAILPOINT"]
        daemon.start()
        assert daemon.api("GET", "jobs/1").status == 404
        assert not daemon.folder(job["uuid"]).exists()
        assert daemon.submitted(packages("quick"))["number"] == 2
        assert daemon.wait(2)["state"] == "completed"
        assert_sound(daemon)


def wait_for_end(identity: ProcessIdentity) -> None:
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    import select

    try:
        assert select.select([descriptor], [], [], 60)[0]
    finally:
        os.close(descriptor)


class TestDeadShims:
    """A shim that dies takes its job with it, and the job's end is told."""

    def test_killed_under_the_daemon(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """The job fails with the reason, its process is gone, and the daemon goes on."""
        daemon = make_daemon().start()
        job = daemon.submitted(packages("held"))
        daemon.wait(1, "running")
        found = shim_of(daemon, job)
        process = ProcessIdentity(found["job_pid"], found["job_start_time"], found["boot_id"])
        assert is_alive(process)
        send_signal(ProcessIdentity.from_json(found), signal.SIGKILL)
        ended = daemon.wait(1)
        assert (ended["state"], ended["failure"]["kind"], ended["mark"]) == ("failed", "process", None)
        assert str(found["pid"]) in ended["reason"]
        assert daemon.history(1)[-2:] == ["failing", "failed"]
        assert not is_alive(process)
        assert_sound(daemon)
        assert daemon.wait(daemon.submitted(packages("quick"))["number"])["state"] == "completed"

    def test_killed_while_no_daemon_is_there(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """The next daemon finds that out."""
        daemon = make_daemon().start()
        job = daemon.submitted(packages("held"))
        daemon.wait(1, "running")
        found = shim_of(daemon, job)
        daemon.kill()
        shim = ProcessIdentity.from_json(found)
        send_signal(shim, signal.SIGKILL)
        wait_for_end(shim)
        daemon.start()
        assert daemon.wait(1)["state"] == "failed"
        assert not is_alive(ProcessIdentity(found["job_pid"], found["job_start_time"], found["boot_id"]))
        assert_sound(daemon)

    def test_after_a_restart_of_the_host(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """A shim of another boot is dead, whoever has its pid now; that process is not touched."""
        daemon = make_daemon("daemon: {max_running_jobs: 0}").start()
        job = daemon.submitted(packages("quick"))
        daemon.wait(1, "queued")
        daemon.kill()
        folder = daemon.folder(job["uuid"])
        bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            with EventsFile(folder / "events.jsonl") as events:
                for state in ("starting", "running"):
                    events.append(state, epoch=1)
            (folder / "shim.json").write_text(
                json.dumps({"pid": bystander.pid, "start_time": 1, "boot_id": "another", "attempt": 1})
            )
            daemon.start()
            ended = daemon.wait(1)
            assert ended["state"] == "failed"
            assert "restarted" in ended["reason"]
            assert bystander.poll() is None
        finally:
            bystander.communicate(b"\n")

    def test_while_it_was_cancelling(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """What was being cancelled is cancelled."""
        daemon = make_daemon("daemon: {max_running_jobs: 0}").start()
        job = daemon.submitted(packages("quick"))
        daemon.wait(1, "queued")
        daemon.kill()
        with EventsFile(daemon.folder(job["uuid"]) / "events.jsonl") as events:
            for state in ("starting", "running", "cancelling"):
                events.append(state, epoch=1)
        daemon.start()
        assert daemon.wait(1)["state"] == "cancelled"

    def test_a_shim_that_does_not_answer_is_lost_for_the_time(
        self, make_daemon: Callable[..., Any], packages: Any
    ) -> None:
        """The mark says that nobody can be asked; it goes when the shim answers again."""
        daemon = make_daemon().start()
        job = daemon.submitted(packages("held"))
        daemon.wait(1, "running")
        daemon.kill()
        path = Path(json.loads((daemon.folder(job["uuid"]) / "shim.json").read_text())["socket"])
        hidden = path.with_suffix(".hidden")
        path.rename(hidden)
        daemon.start()
        with daemon.client() as client:
            seen = wait_until(lambda: client.job(1), lambda job: job.mark == "lost")
            assert seen.state == "running"
            assert seen.reason is not None
            assert "does not answer" in seen.reason
            hidden.rename(path)
            assert wait_until(lambda: client.job(1), lambda job: job.mark is None).state == "running"
        daemon.release(job["uuid"])
        assert daemon.wait(1)["state"] == "completed"


def wait_until(look: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """What ``look`` gives once it is ``good``."""
    import time

    deadline = time.monotonic() + 60
    while not good(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


class TestStarting:
    """One daemon, on a free port, in a private folder."""

    def test_everything_it_makes_is_private(self, make_daemon: Callable[..., Any]) -> None:
        """Folders 0700, files 0600, a token of 64 hexadecimal digits."""
        daemon = make_daemon().start()
        for path in [daemon.home, *daemon.home.rglob("*")]:
            if not path.is_symlink():
                assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        assert len(bytes.fromhex(daemon.token)) == 32

    def test_it_says_where_it_is(self, make_daemon: Callable[..., Any]) -> None:
        """daemon.json names process, address and log while it runs, and is gone afterwards."""
        daemon = make_daemon().start()
        found = json.loads((daemon.home / "daemon.json").read_text())
        assert (found["pid"], found["host"], found["port"]) == (daemon.pid, "127.0.0.1", daemon.port)
        assert is_alive(ProcessIdentity.from_json(found))
        assert Path(found["session_log"]).is_file()
        assert daemon.stop() == 0
        assert not (daemon.home / "daemon.json").exists()

    def test_the_token_stays(self, make_daemon: Callable[..., Any]) -> None:
        """It is made once."""
        daemon = make_daemon().start()
        token = daemon.token
        daemon.stop()
        daemon.start()
        assert daemon.token == token
        assert daemon.api("GET", "info").status == 200

    def test_a_second_daemon_is_refused(self, make_daemon: Callable[..., Any]) -> None:
        """It names the first one's process and address, and changes nothing."""
        daemon = make_daemon().start()
        other = make_daemon(home=daemon.home)
        answer = other.try_start("--port", "0")
        assert (answer["ok"], answer["code"], answer["exit_code"]) == (False, "already_running", 8)
        assert str(daemon.pid) in answer["message"]
        assert str(daemon.port) in answer["message"]
        assert answer["hint"]
        assert other.process.wait(60) == 8
        assert daemon.api("GET", "info").json()["pid"] == daemon.pid
        assert (daemon.home / "daemon.json").exists()

    def test_what_a_killed_daemon_leaves_is_no_obstacle(self, make_daemon: Callable[..., Any]) -> None:
        """Its lock is gone with it, and its daemon.json is replaced."""
        daemon = make_daemon().start()
        daemon.kill()
        assert (daemon.home / "daemon.json").exists()
        daemon.start()
        assert json.loads((daemon.home / "daemon.json").read_text())["pid"] == daemon.pid

    def test_a_taken_port_is_named_with_its_owner(self, make_daemon: Callable[..., Any]) -> None:
        """Exit code 10, and nothing is left running."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            daemon = make_daemon()
            answer = daemon.try_start("--port", str(port))
            assert (answer["ok"], answer["code"], answer["exit_code"]) == (False, "port_taken", 10)
            assert str(port) in answer["message"]
            assert str(os.getpid()) in answer["message"]
            assert daemon.process.wait(60) == 10
        daemon.port = port
        daemon.start()

    def test_the_same_port_again_at_once(self, make_daemon: Callable[..., Any]) -> None:
        """Connections of the one before do not keep the port."""
        daemon = make_daemon().start()
        with daemon.connect():
            daemon.stop()
            daemon.start("--port", str(daemon.port))
        assert daemon.api("GET", "info").status == 200

    @pytest.mark.parametrize(
        ("settings", "field"),
        [
            ("daemon: {prot: 1}", "prot"),
            ("daemon: {max_running_jobs: many}", "max_running_jobs"),
            ("daemon: [", "config.yaml"),
        ],
    )
    def test_a_wrong_configuration_is_told(self, make_daemon: Callable[..., Any], settings: str, field: str) -> None:
        """Exit code 9 and the field."""
        daemon = make_daemon(settings)
        answer = daemon.try_start()
        assert (answer["ok"], answer["code"], answer["exit_code"]) == (False, "config", 9)
        assert field in answer["message"]
        assert daemon.process.wait(60) == 9

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
    def test_a_token_that_others_can_read_is_refused(self, make_daemon: Callable[..., Any], mode: int) -> None:
        """There is no start without a private token."""
        daemon = make_daemon()
        daemon.home.mkdir(mode=0o700)
        (daemon.home / "token").write_text("0" * 64)
        (daemon.home / "token").chmod(mode)
        answer = daemon.try_start()
        assert (answer["ok"], answer["exit_code"]) == (False, 5)
        assert "token" in answer["message"]

    @pytest.mark.parametrize("content", ["", "\n", "two words", "\x00" * 64])
    def test_a_token_file_without_a_token_is_refused(self, make_daemon: Callable[..., Any], content: str) -> None:
        """An empty or broken file never means "no token needed"."""
        daemon = make_daemon()
        daemon.home.mkdir(mode=0o700)
        (daemon.home / "token").write_text(content)
        (daemon.home / "token").chmod(0o600)
        assert daemon.try_start()["exit_code"] == 5

    def test_a_home_that_is_a_link_is_refused(self, make_daemon: Callable[..., Any], tmp_path: Path) -> None:
        """The folder itself is to be named."""
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        answer = make_daemon(home=tmp_path / "link").try_start()
        assert (answer["ok"], answer["code"], answer["exit_code"]) == (False, "unsafe_file", 5)

    def test_a_home_that_is_a_file_is_refused(self, make_daemon: Callable[..., Any], tmp_path: Path) -> None:
        """A file is no home."""
        (tmp_path / "file").touch()
        assert make_daemon(home=tmp_path / "file").try_start()["ok"] is False

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
    def test_a_home_of_somebody_else_is_refused(self, make_daemon: Callable[..., Any], tmp_path: Path) -> None:
        """Even root does not keep its secrets in another user's folder."""
        (tmp_path / "home").mkdir(mode=0o700)
        os.chown(tmp_path / "home", 65534, 65534)
        answer = make_daemon(home=tmp_path / "home").try_start()
        assert (answer["ok"], answer["code"]) == (False, "unsafe_file")

    def test_an_open_home_is_closed(self, make_daemon: Callable[..., Any]) -> None:
        """A folder of ours that others may enter is made private."""
        daemon = make_daemon()
        daemon.home.mkdir(mode=0o755)
        daemon.start()
        assert stat.S_IMODE(daemon.home.stat().st_mode) == 0o700

    @pytest.mark.parametrize("settings", ["", "daemon: {tls: {ca: /nowhere.pem}}"])
    def test_a_wide_bind_needs_tls(self, make_daemon: Callable[..., Any], settings: str) -> None:
        """Beyond loopback neither token nor jobs cross the network readable, unless that is wanted."""
        answer = make_daemon(settings).try_start("--host", "0.0.0.0")
        assert (answer["ok"], answer["code"], answer["exit_code"]) == (False, "config", 9)
        assert "allow_plaintext" in answer["hint"]

    def test_a_wide_bind_may_be_allowed(self, make_daemon: Callable[..., Any]) -> None:
        """Who says allow_plaintext gets it; clients of this host are told a loopback address."""
        daemon = make_daemon("daemon: {allow_plaintext: true}").start("--host", "0.0.0.0")
        assert daemon.host == "127.0.0.1"
        assert daemon.api("GET", "info").status == 200
        assert daemon.ask("GET", "/healthz", headers={"Host": "0.0.0.0"}).status == 421

    def test_an_address_of_another_host_is_refused(self, make_daemon: Callable[..., Any]) -> None:
        """It cannot be bound, and that is said."""
        answer = make_daemon("daemon: {allow_plaintext: true}").try_start("--host", "192.0.2.1")
        assert (answer["ok"], answer["code"]) == (False, "config")

    def test_without_a_ready_descriptor_errors_go_to_stderr(self, make_daemon: Callable[..., Any]) -> None:
        """Whoever runs it in the foreground reads what is wrong."""
        daemon = make_daemon("daemon: {prot: 1}")
        command = [sys.executable, "-P", "-m", "sage.runtime.jobmanager"]
        done = subprocess.run(command, env=daemon.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 9
        assert "prot" in done.stderr


class TestTls:
    """HTTPS with a certificate of one's own."""

    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
        """Certificate and key for 127.0.0.1."""
        openssl = shutil.which("openssl")
        if openssl is None:
            pytest.skip("needs openssl to make a certificate")
        cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        subprocess.run(command, check=True, capture_output=True)
        yield cert, key

    def test_jobs_over_tls(
        self, make_daemon: Callable[..., Any], packages: Any, certificate: tuple[Path, Path], tmp_path: Path
    ) -> None:
        """A verifying client submits and waits; plain HTTP gets nothing."""
        import ssl

        from sage.core.client import JobManagerClient

        cert, key = certificate
        daemon = make_daemon(f"daemon: {{tls: {{cert: {cert}, key: {key}, ca: {cert}}}}}").start("--host", "0.0.0.0")
        package = tmp_path / "job.sagepkg"
        package.write_bytes(packages("quick"))
        context = ssl.create_default_context(cafile=str(cert))
        with JobManagerClient("127.0.0.1", daemon.port, daemon.token, tls=context) as client:
            job = client.submit(package)
            assert client.wait(job.number, timeout=60).state == "completed"
        with daemon.connect() as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP/1.1 200" not in plain.recv(1000)

    def test_a_certificate_that_is_none_is_told(self, make_daemon: Callable[..., Any], tmp_path: Path) -> None:
        """Exit code 9 and the field."""
        (tmp_path / "cert.pem").write_text("no certificate")
        path = tmp_path / "cert.pem"
        answer = make_daemon(f"daemon: {{tls: {{cert: {path}, key: {path}}}}}").try_start()
        assert (answer["ok"], answer["code"], answer["exit_code"]) == (False, "config", 9)
        assert "tls" in answer["message"]


class TestStopping:
    """SIGTERM once is graceful, twice is at once."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_signal_ends_it_with_status_0(self, make_daemon: Callable[..., Any], number: signal.Signals) -> None:
        """It stops by itself and leaves no trace that it ran."""
        daemon = make_daemon().start()
        daemon.process.send_signal(number)
        assert daemon.process.wait(60) == 0
        assert not (daemon.home / "daemon.json").exists()
        assert "has stopped" in daemon.session_log

    def test_open_requests_do_not_hold_it_up(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """Long polls are answered, streams and idle connections end."""
        import threading

        daemon = make_daemon("daemon: {max_running_jobs: 0}").start()
        daemon.submitted(packages("quick"))
        answers: list[int] = []

        def wait(path: str) -> None:
            answers.append(daemon.ask("GET", path).status)

        paths = ["/api/v1/jobs/1?wait=60", "/api/v1/jobs/1/events", "/api/v1/jobs/1/logs/follow", "/api/v1/events"]
        threads = [threading.Thread(target=wait, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        wait_until(lambda: readers(daemon), lambda count: count == len(paths))
        idle = daemon.connect()
        assert daemon.stop() == 0
        for thread in threads:
            thread.join()
        idle.close()
        assert answers == [200] * 4

    def test_a_second_signal_forces(self, make_daemon: Callable[..., Any]) -> None:
        """A daemon that waits for a client's body ends at once when asked again."""
        from sage.core.client.package import MEDIA_TYPE

        daemon = make_daemon().start()
        head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {daemon.token}\r\n"
        with daemon.connect() as connection:
            connection.sendall(f"{head}Content-Type: {MEDIA_TYPE}\r\nContent-Length: 99\r\n\r\n".encode())
            incoming = daemon.home / "jobs" / ".incoming"
            wait_until(lambda: list(incoming.iterdir()), bool)
            daemon.process.send_signal(signal.SIGTERM)
            wait_until(lambda: daemon.session_log, lambda log: "SIGTERM: stopping" in log)
            daemon.process.send_signal(signal.SIGTERM)
            assert daemon.process.wait(60) == 1
        daemon.start()
        assert list(incoming.iterdir()) == []

    def test_a_client_in_the_middle_of_a_body_is_not_waited_for_long(self, make_daemon: Callable[..., Any]) -> None:
        """A graceful stop has a limit."""
        from sage.core.client.package import MEDIA_TYPE

        daemon = make_daemon().start()
        head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {daemon.token}\r\n"
        with daemon.connect() as connection:
            connection.sendall(f"{head}Content-Type: {MEDIA_TYPE}\r\nContent-Length: 99\r\n\r\n".encode())
            wait_until(lambda: list((daemon.home / "jobs" / ".incoming").iterdir()), bool)
            assert daemon.stop() == 0


def readers(daemon: Any) -> int:
    """How many wait for events of the daemon."""
    lines = daemon.ask("GET", "/metrics").body.decode().splitlines()
    return int(float(next(line for line in lines if line.startswith("sage_readers ")).split()[1]))


class TestIndex:
    """The database at start."""

    @pytest.fixture
    def stopped(self, make_daemon: Callable[..., Any], packages: Any) -> Any:
        """A daemon that has run a job and was stopped."""
        daemon = make_daemon().start()
        daemon.submitted(packages("quick"))
        daemon.wait(1)
        daemon.stop()
        return daemon

    def test_a_damaged_index_is_told(self, stopped: Any) -> None:
        """The daemon does not start, says what is wrong and what to do, and changes nothing."""
        database = stopped.home / "jobs.db"
        data = bytearray(database.read_bytes())
        data[100:4000] = os.urandom(3900)
        database.write_bytes(data)
        answer = stopped.try_start()
        assert (answer["ok"], answer["code"], answer["exit_code"]) == (False, "store", 10)
        assert "jobs.db" in answer["message"]
        assert answer["hint"]
        assert database.read_bytes() == bytes(data)

    def test_a_foreign_file_is_told(self, stopped: Any) -> None:
        """So is a file that is no database."""
        (stopped.home / "jobs.db").write_text("no database" * 1000)
        assert stopped.try_start()["code"] == "store"

    def test_a_lost_index_is_not_replaced_by_an_empty_one(self, stopped: Any) -> None:
        """Jobs are never silently forgotten."""
        (stopped.home / "jobs.db").unlink()
        answer = stopped.try_start()
        assert (answer["ok"], answer["code"]) == (False, "store")
        assert "1 jobs" in answer["message"]

    def test_a_newer_index_is_refused(self, stopped: Any) -> None:
        """A daemon that was downgraded does not touch what it does not know."""
        with closing(sqlite3.connect(stopped.home / "jobs.db")) as connection:
            connection.execute("PRAGMA user_version = 99")
        answer = stopped.try_start()
        assert (answer["ok"], answer["code"]) == (False, "store")
        assert "newer" in answer["message"]

    def test_what_nobody_was_told_of_is_swept(self, stopped: Any) -> None:
        """Folders of unacknowledged submissions go; one that was started stays and is told."""
        jobs = stopped.home / "jobs"
        (jobs / ".incoming" / "half").mkdir()
        for name in ("11111111-0000-4000-8000-000000000000", "22222222-0000-4000-8000-000000000000"):
            (jobs / name).mkdir()
        (jobs / "22222222-0000-4000-8000-000000000000" / "job.json").write_text("{}")
        stopped.start()
        assert not (jobs / "11111111-0000-4000-8000-000000000000").exists()
        assert (jobs / "22222222-0000-4000-8000-000000000000").exists()
        assert "22222222" in stopped.session_log
        shutil.rmtree(jobs / "22222222-0000-4000-8000-000000000000")
        assert_sound(stopped)

    def test_what_cannot_be_read_costs_its_job_only(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """Whatever lies where a job's history should be, the daemon starts, and the job can be removed."""
        daemon = make_daemon("daemon: {max_running_jobs: 0}").start()
        jobs = [daemon.submitted(packages("quick")) for _ in range(3)]
        for number in (1, 2, 3):
            daemon.wait(number, "queued")
        daemon.stop()
        histories = [daemon.folder(job["uuid"]) / "events.jsonl" for job in jobs]
        histories[0].unlink()
        histories[0].mkdir()
        histories[1].unlink()
        os.mkfifo(histories[1])
        daemon.start()
        for number in (1, 2):
            assert daemon.job(number)["mark"] == "lost"
            assert daemon.api("DELETE", f"jobs/{number}?force=true").status == 200
        assert daemon.api("POST", "jobs/3/cancel").status == 202

    def test_a_damaged_history_costs_its_job_only(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """The daemon starts, marks the job and serves the others."""
        daemon = make_daemon("daemon: {max_running_jobs: 0}").start()
        for _ in range(2):
            daemon.submitted(packages("quick"))
        job = daemon.wait(1, "queued")
        daemon.wait(2, "queued")
        daemon.stop()
        with (daemon.folder(job["uuid"]) / "events.jsonl").open("a") as file:
            file.write("garbage\n")
        daemon.start()
        damaged = daemon.job(1)
        assert (damaged["mark"], damaged["state"]) == ("lost", "queued")
        assert "damaged" in damaged["reason"]
        assert daemon.api("POST", "jobs/2/cancel").status == 202
        refused = daemon.api("POST", "jobs/1/cancel")
        assert (refused.status, refused.code) == (409, "wrong_state")
        assert daemon.api("DELETE", "jobs/1?force=true").status == 200
        assert not daemon.folder(job["uuid"]).exists()
