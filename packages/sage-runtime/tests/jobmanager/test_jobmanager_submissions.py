"""From a package to a durable job: once, whole, or not at all; and never opened by the daemon."""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import stat
import subprocess
import sys
import threading
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.core.client.package import MEDIA_TYPE
from sage.runtime import jobmanager


@pytest.fixture(scope="module")
def shelf(make_module_daemon: Callable[..., Any]) -> Any:
    """A daemon that takes packages and starts none of them."""
    return make_module_daemon("daemon: {max_running_jobs: 0}").start()


def count(daemon: Any) -> int:
    return len(daemon.api("GET", "jobs?limit=500").json()["items"])


def uuid_of(package: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return str(json.loads(archive.read("manifest.json"))["job"]["uuid"])


def zipped(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def assert_nothing_left(daemon: Any, before: int) -> None:
    assert count(daemon) == before
    assert len([path for path in (daemon.home / "jobs").iterdir() if not path.name.startswith(".")]) == before
    assert list((daemon.home / "jobs" / ".incoming").iterdir()) == []


class TestTaking:
    """Submissions that are fine."""

    def test_a_job_is_made(self, shelf: Any, packages: Any) -> None:
        """The answer is 201 with the job and where it is."""
        package = packages("quick")
        answer = shelf.submit(package)
        assert answer.status == 201
        job = answer.json()
        assert answer.headers["location"] == f"/api/v1/jobs/{uuid_of(package)}"
        assert job["uuid"] == uuid_of(package)
        assert (job["name"], job["backend"], job["owner"], job["state"]) == ("quick", "local", "admin", "submitted")
        assert (job["attempt"], job["restarts"], job["running"], job["mark"]) == (1, 0, False, None)
        assert job["created_at"].endswith("Z")

    def test_what_is_stored_is_what_was_sent(self, shelf: Any, packages: Any) -> None:
        """The body is kept byte for byte, in private files of a private folder."""
        package = packages("quick")
        folder = shelf.folder(shelf.submit(package).json()["uuid"])
        assert (folder / "package.zip").read_bytes() == package
        for path in [folder, *folder.rglob("*")]:
            expected = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.lstat().st_mode) == expected, path
        first = json.loads((folder / "events.jsonl").read_text().splitlines()[0])
        assert (first["seq"], first["state"]) == (1, "submitted")

    def test_numbers_are_given_in_order(self, shelf: Any, packages: Any) -> None:
        """Each job gets the next number."""
        numbers = [shelf.submit(packages("quick")).json()["number"] for _ in range(3)]
        assert numbers == list(range(numbers[0], numbers[0] + 3))

    def test_the_same_again_is_the_same_job(self, shelf: Any, packages: Any) -> None:
        """A repeated submission answers 200 with the first one's job."""
        package = packages("quick")
        first, before = shelf.submit(package).json(), count(shelf)
        again = shelf.submit(package)
        assert again.status == 200
        assert again.json()["number"] == first["number"]
        assert count(shelf) == before

    def test_other_content_under_the_same_uuid_is_a_conflict(self, shelf: Any, packages: Any) -> None:
        """The uuid belongs to what came first."""
        package = packages("quick")
        first = shelf.submit(package).json()
        other = packages("broken", job={"uuid": uuid_of(package)})
        answer = shelf.submit(other)
        assert (answer.status, answer.code) == (409, "conflict")
        assert (shelf.folder(first["uuid"]) / "package.zip").read_bytes() == package

    def test_fifty_at_once_make_one_job(self, shelf: Any, packages: Any) -> None:
        """However the same submission is repeated, exactly one of them is the new one."""
        package, before = packages("quick"), count(shelf)
        answers: list[tuple[int, int]] = []

        def submit() -> None:
            answer = shelf.submit(package)
            answers.append((answer.status, answer.json()["number"]))

        threads = [threading.Thread(target=submit) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(status for status, _ in answers) == [200] * 49 + [201]
        assert len({number for _, number in answers}) == 1
        assert count(shelf) == before + 1

    def test_without_a_backend_the_configured_one_is_taken(
        self, make_daemon: Callable[..., Any], packages: Any
    ) -> None:
        """daemon.backend is for jobs that name none."""
        daemon = make_daemon("daemon: {max_running_jobs: 0, backend: inline}").start()
        assert (
            daemon.submit(packages("quick", job={"uuid": str(uuid.uuid4()), "backend": None})).json()["backend"]
            == "inline"
        )


class TestRefusing:
    """Packages that can never run here: one clear problem each, and nothing kept."""

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda p: b"no zip file at all",
            lambda p: b"PK\x03\x04" + b"\0" * 100,
            lambda p: p[: len(p) // 2],
            lambda p: p[:-1],
            lambda p: p + b"more",
            lambda p: p[:60] + bytes([p[60] ^ 1]) + p[61:],
            lambda p: zipped(("manifest.json", b"{}")),
            lambda p: zipped(("manifest.json", b"not json"), ("graph.pkl", b"x")),
            lambda p: zipped(("manifest.json", b"[" * 100_000)),
            lambda p: zipped(("graph.pkl", b"x"), ("manifest.json", b"{}")),
            lambda p: zipped(("readme.txt", b"a foreign archive")),
            lambda p: zipped(),
        ],
        ids=["text", "zeros", "half", "cut", "longer", "flipped", "empty", "nojson", "deep", "late", "foreign", "none"],
    )
    def test_broken_packages(self, shelf: Any, packages: Any, spoil: Callable[[bytes], bytes]) -> None:
        """Corrupt, truncated and foreign files are refused as invalid packages."""
        before = count(shelf)
        answer = shelf.submit(spoil(packages("quick")))
        assert (answer.status, answer.code) == (422, "invalid_package")
        assert answer.json()["exit_code"] == 9
        assert_nothing_left(shelf, before)

    @pytest.mark.parametrize(
        "changes",
        [
            {"format": 2},
            {"job": {"uuid": "../../../etc/passwd"}},
            {"job": {"uuid": "A" * 36}},
            {"job": {"name": ""}},
            {"job": {"name": "a\nb"}},
            {"job": {"backend": "../local"}},
            {"files": []},
            {"files": [{"name": "../graph.pkl", "size": 1, "sha256": "0" * 64}]},
            {"graph": None},
        ],
    )
    def test_wrong_manifests(self, shelf: Any, packages: Any, changes: dict[str, Any]) -> None:
        """Whatever a manifest claims is checked before it is used, above all what becomes a path."""
        before = count(shelf)
        answer = shelf.submit(packages("quick", **changes))
        assert (answer.status, answer.code) == (422, "invalid_package")
        assert_nothing_left(shelf, before)

    def test_another_python_is_refused_with_both_named(self, shelf: Any, packages: Any) -> None:
        """A package of another minor version of Python gets no further than its manifest."""
        before = count(shelf)
        answer = shelf.submit(packages("quick", python="3.99"))
        ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
        assert (answer.status, answer.code) == (422, "version")
        assert "3.99" in answer.json()["detail"]
        assert ours in answer.json()["detail"]
        assert answer.json()["hint"]
        assert_nothing_left(shelf, before)

    @pytest.mark.parametrize("changes", [{"implementation": "pypy"}, {"cloudpickle": "99.0"}])
    def test_other_implementations_are_refused(self, shelf: Any, packages: Any, changes: dict[str, Any]) -> None:
        """So are another implementation and another major version of cloudpickle."""
        assert shelf.submit(packages("quick", **changes)).code == "version"

    def test_an_unknown_backend_lists_the_known(self, shelf: Any, packages: Any) -> None:
        """The problem says what there is instead."""
        answer = shelf.submit(packages("quick", job={"uuid": str(uuid.uuid4()), "backend": "nonsense"}))
        assert (answer.status, answer.code) == (422, "unknown_backend")
        assert {"inline", "local"} <= set(answer.json()["installed"])

    def test_no_body_is_a_request_without_sense(self, shelf: Any) -> None:
        """An empty submission is said to be one."""
        assert shelf.ask("POST", "/api/v1/jobs").status == 400

    def test_a_client_that_dies_half_way_leaves_nothing(self, shelf: Any, packages: Any) -> None:
        """A body that ends before its announced length is dropped."""
        before, package = count(shelf), packages("quick")
        head = (
            f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {shelf.token}\r\n"
            f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(package)}\r\n\r\n"
        ).encode()
        with shelf.connect() as connection:
            connection.sendall(head + package[:-5])
        assert shelf.submit(package).status == 201
        assert_nothing_left(shelf, before + 1)

    def test_a_length_that_lies_is_found_out(self, shelf: Any, packages: Any) -> None:
        """Less announced than sent: the package is truncated, and the rest is no request."""
        before, package = count(shelf), packages("quick")
        answer = shelf.ask(
            "POST",
            "/api/v1/jobs",
            body=package,
            media_type=MEDIA_TYPE,
            headers={"Content-Length": str(len(package) - 9)},
        )
        assert (answer.status, answer.code) == (422, "invalid_package")
        assert_nothing_left(shelf, before)

    def test_large_packages_are_refused(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """limits.max_package holds."""
        daemon = make_daemon("limits: {max_package: 1000}").start()
        answer = daemon.submit(packages("quick"))
        assert (answer.status, answer.code) == (413, "limit")
        assert_nothing_left(daemon, 0)

    def test_zip_bombs_are_refused(self, shelf: Any, packages: Any) -> None:
        """A small body that would unpack to gigabytes is no package."""
        before = count(shelf)
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("manifest.json", b" " * (64 << 20) + b"{}")
        answer = shelf.submit(bomb.getvalue())
        assert (answer.status, answer.code) == (422, "invalid_package")
        assert_nothing_left(shelf, before)

    def test_too_many_jobs_are_refused(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """limits.max_jobs holds; a repeated submission of one of them is no further job."""
        daemon = make_daemon("{limits: {max_jobs: 2}, daemon: {max_running_jobs: 0}}").start()
        package = packages("quick")
        assert [daemon.submit(item).status for item in (package, packages("quick"))] == [201, 201]
        answer = daemon.submit(packages("quick"))
        assert (answer.status, answer.code) == (429, "limit")
        assert daemon.submit(package).status == 200

    @pytest.mark.parametrize("step", ["received", "stored"])
    def test_a_full_disk_keeps_nothing_and_ends_nothing(
        self, make_daemon: Callable[..., Any], packages: Any, step: str
    ) -> None:
        """A disk that is full answers 507; the daemon lives and no half of a job is left."""
        daemon = make_daemon(env={"SAGE_FAILPOINT": f"{step}:enospc"}).start()
        for _ in range(2):
            answer = daemon.submit(packages("quick"))
            assert (answer.status, answer.code) == (507, "limit")
        assert_nothing_left(daemon, 0)

    def test_a_job_that_cannot_be_started_yet_is_started_later(
        self, make_daemon: Callable[..., Any], packages: Any
    ) -> None:
        """Where the system has no process left for a moment, the job waits, and its history has nothing of it."""
        daemon = make_daemon(env={"SAGE_FAILPOINT": "launching:once"}).start()
        daemon.submit(packages("quick"))
        assert daemon.wait(1)["state"] == "completed"
        assert "job 1 cannot be started yet" in daemon.session_log
        assert daemon.history(1) == ["submitted", "queued", "starting", "running", "completed"]


class TestNeverOpening:
    """The daemon stores what clients send and looks no further."""

    def test_a_bomb_is_stored_and_does_no_harm(
        self, make_daemon: Callable[..., Any], packages: Any, tmp_path: Path
    ) -> None:
        """A graph that runs code when loaded runs none in the daemon, whatever is asked of the job."""
        marker = tmp_path / "exploded"
        package = self.bomb(packages("quick"), marker)
        daemon = make_daemon("daemon: {max_running_jobs: 0}").start()
        assert daemon.submit(package).status == 201
        for resource in ("", "/graph", "/metrics", "/history", "/logs", "/failures"):
            assert daemon.api("GET", f"jobs/1{resource}").status == 200
        daemon.stop()
        daemon.start()
        assert daemon.job(1)["state"] == "queued"
        assert not marker.exists()

    def test_a_bomb_explodes_in_its_own_process(
        self, make_daemon: Callable[..., Any], packages: Any, tmp_path: Path
    ) -> None:
        """Started, it runs in the process of its job: another one than the daemon's."""
        marker = tmp_path / "exploded"
        daemon = make_daemon().start()
        daemon.submit(self.bomb(packages("quick"), marker))
        assert daemon.wait(1)["state"] == "failed"
        assert int(marker.read_text()) not in (daemon.pid, os.getpid())
        assert daemon.api("GET", "info").json()["pid"] == daemon.pid

    @staticmethod
    def bomb(package: bytes, marker: Path) -> bytes:
        from hashlib import sha256

        class Bomb:
            def __reduce__(self) -> Any:
                return exec, (f"import os, pathlib; pathlib.Path({str(marker)!r}).write_text(str(os.getpid()))",)

        data = pickle.dumps(Bomb())
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            manifest = json.loads(archive.read("manifest.json"))
        manifest["files"] = [{"name": "graph.pkl", "size": len(data), "sha256": sha256(data).hexdigest()}]
        return zipped(("manifest.json", json.dumps(manifest).encode()), ("graph.pkl", data))

    def test_no_module_of_the_daemon_can_open_a_package(self) -> None:
        """None imports a pickle, and none evaluates or imports by name."""
        found = []
        for path in sorted(Path(jobmanager.__path__[0]).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                names: list[str] = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                elif isinstance(node, ast.Call):
                    names = [f"{ast.unparse(node.func)}()"]
                forbidden = {"pickle", "cloudpickle", "marshal", "shelve", "dill", "importlib", "runpy", "code"}
                forbidden |= {"eval()", "exec()", "compile()", "__import__()", "sage.core.client.code"}
                found += [f"{path.name}: {name}" for name in names if name in forbidden]
        assert found == []

    def test_the_daemon_never_loads_cloudpickle(self) -> None:
        """With all its modules imported, the pickling library and what uses it are not there."""
        program = (
            "import sys, sage.runtime.jobmanager.daemon, sage.runtime.jobmanager.lifecycle;"
            "print([name for name in sys.modules if 'cloudpickle' in name or name == 'sage.core.client.code'"
            " or name.startswith(('sage.core.api', 'sage.core.engine'))])"
        )
        done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
