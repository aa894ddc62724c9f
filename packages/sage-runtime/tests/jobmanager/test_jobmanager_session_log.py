"""The session log: lines, rotation, pruning, bounded rates; and what a running daemon writes into it."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.runtime.jobmanager.joblog import LogFeed
from sage.runtime.jobmanager.offload import Offload
from sage.runtime.jobmanager.session_log import LineBudget, SessionLog, plain
from sage.runtime.jobmanager.watch import FolderWatch


class TestFile:
    """One file per session."""

    def test_lines_arrive_in_order(self, tmp_path: Path) -> None:
        """Written from a thread of its own, complete after close, private, and linked as latest.log."""
        log = SessionLog(tmp_path, max_bytes=1 << 20, keep=3)
        for number in range(1000):
            log.write(f"line {number}")
        log.close()
        assert log.path.read_text() == "".join(f"line {number}\n" for number in range(1000))
        assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
        assert (tmp_path / "latest.log").resolve() == log.path

    def test_it_rotates_and_keeps_the_newest(self, tmp_path: Path) -> None:
        """The file keeps its name and its size within bounds; what is older gets a number, the oldest goes."""
        log = SessionLog(tmp_path, max_bytes=4096, keep=2)
        for number in range(3000):
            log.write(f"line {number:06d}")
            if number % 100 == 0:
                flush(log)
        log.close()
        files = sorted(tmp_path.glob("session_*"), reverse=True)
        assert len(files) == 3
        text = "".join(path.read_text() for path in files)
        numbers = [int(line.split()[1]) for line in text.splitlines()]
        assert numbers == list(range(numbers[0], 3000))
        assert all(path.stat().st_size < 4096 + 100 * 12 for path in files)
        assert (tmp_path / "latest.log").read_text().endswith("line 002999\n")

    def test_old_sessions_are_pruned(self, tmp_path: Path) -> None:
        """Of earlier sessions only the newest few stay, with their rotated files; nothing else is touched."""
        for day in range(1, 8):
            (tmp_path / f"session_2026-01-0{day}T00-00-00.log").touch()
        (tmp_path / "session_2026-01-01T00-00-00.log.1").touch()
        (tmp_path / "notes.txt").touch()
        SessionLog(tmp_path, max_bytes=4096, keep=2).close()
        left = sorted(path.name for path in tmp_path.iterdir())
        assert left[:2] == ["latest.log", "notes.txt"]
        assert left[2:4] == ["session_2026-01-06T00-00-00.log", "session_2026-01-07T00-00-00.log"]
        assert len(left) == 5

    def test_two_sessions_in_one_second_have_two_files(self, tmp_path: Path) -> None:
        """No session writes into another's file."""
        logs = [SessionLog(tmp_path, max_bytes=4096, keep=5) for _ in range(3)]
        for log in logs:
            log.close()
        assert len({log.path for log in logs}) == 3

    def test_a_disk_that_refuses_is_told_when_it_takes_again(self, tmp_path: Path) -> None:
        """Lines that could not be written are counted, and the writer lives."""
        import os

        log = SessionLog(tmp_path, max_bytes=1 << 20, keep=1)
        full = os.open("/dev/full", os.O_WRONLY)
        good, log._descriptor = log._descriptor, full
        for number in range(5):
            log.write(f"lost {number}")
        flush(log)
        log._descriptor = good
        log.write("kept")
        log.close()
        os.close(full)
        text = log.path.read_text()
        assert "kept\n" in text
        assert "lines are missing here" in text
        assert "lost 0" not in text

    def test_records_of_the_library_are_plain_lines(self, tmp_path: Path) -> None:
        """Time in UTC, level, message; tracebacks included."""
        log = SessionLog(tmp_path, max_bytes=1 << 20, keep=1)
        logger = logging.getLogger("sage.test.session_log")
        logger.propagate = False
        handler = log.handler()
        logger.addHandler(handler)
        try:
            raise ValueError("the cause")
        except ValueError:
            logger.exception("it failed")
        finally:
            logger.removeHandler(handler)
        log.close()
        first, *rest = log.path.read_text().splitlines()
        assert first.split()[0].endswith("Z")
        assert first.split()[1:] == ["ERROR", "it", "failed"]
        assert rest[-1] == "ValueError: the cause"


def flush(log: SessionLog) -> None:
    """Wait until the writer has taken all that is queued."""
    import time

    deadline = time.monotonic() + 30
    while not log._queue.empty():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class TestLineBudget:
    """Output of jobs at a bounded rate."""

    @staticmethod
    def budget() -> tuple[LineBudget, list[str], list[float]]:
        written: list[str] = []
        now = [0.0]
        return LineBudget("job 7", written.append, per_second=10, burst=20, clock=lambda: now[0]), written, now

    def test_lines_carry_the_job(self) -> None:
        """Each line says whose it is."""
        budget, written, _ = self.budget()
        budget.add(["a", "b"])
        assert written == ["job 7 | a", "job 7 | b"]

    def test_a_flood_is_cut_and_counted(self) -> None:
        """The burst passes, the rest is counted, told when lines pass again."""
        budget, written, now = self.budget()
        budget.add([str(number) for number in range(1000)])
        assert len(written) == 20
        now[0] += 0.5
        budget.add(["later"])
        assert written[20:] == ["job 7 | (980 lines left out here; its own log has them)", "job 7 | later"]

    def test_the_end_tells_what_was_left_out(self) -> None:
        """Lines and bytes that were skipped are told at the latest then, and only once."""
        budget, written, _ = self.budget()
        budget.add(["x"] * 25)
        budget.skip(1234)
        budget.settle()
        budget.settle()
        assert written[20:] == ["job 7 | (5 lines and 1234 bytes left out here; its own log has them)"]

    @pytest.mark.parametrize(
        ("line", "shown"),
        [
            ("plain", "plain"),
            ("tab\tstays", "tab\tstays"),
            ("\x1b[31mred", "\\x1b[31mred"),
            ("a\rb", "a\\x0db"),
            ("2026 ERROR forged\n2026 INFO", "2026 ERROR forged\\x0a2026 INFO"),
            ("ünïcödé", "ünïcödé"),
        ],
    )
    def test_lines_cannot_forge_others(self, line: str, shown: str) -> None:
        """Control characters are shown, not obeyed."""
        assert plain(line) == shown

    def test_long_lines_are_cut(self) -> None:
        """A line has a bounded length, and says how long it was."""
        assert len(plain("x" * 100_000)) < 5_000
        assert "100000 characters" in plain("x" * 100_000)


class TestFeed:
    """From a job's log into the session log."""

    def feed(self, folder: Path, budget: LineBudget, write: Callable[[Path], None]) -> None:
        async def run() -> None:
            offload, watch = Offload(), FolderWatch()
            feed = LogFeed(offload, watch, folder, budget)
            task = asyncio.ensure_future(feed.run())
            await asyncio.sleep(0)
            assert feed._changed is not None, "it watches from its first step on"
            await asyncio.to_thread(write, folder / "logs" / "job.log")
            feed.finish()
            await task
            watch.close()
            offload.close()

        asyncio.run(run())

    def test_lines_are_whole_however_they_were_written(self, tmp_path: Path) -> None:
        """Pieces of lines are put together; a last line without an end is there as well."""
        written: list[str] = []

        def write(path: Path) -> None:
            with path.open("a") as file:
                for piece in ("one\ntw", "o\nthr", "ee"):
                    file.write(piece)
                    file.flush()

        self.feed(tmp_path, LineBudget("j", written.append), write)
        assert written == ["j | one", "j | two", "j | three"]

    def test_a_feed_that_is_far_behind_skips(self, tmp_path: Path) -> None:
        """Megabytes at once are not read through: the end is shown, with what was left out."""
        written: list[str] = []

        def write(path: Path) -> None:
            path.write_text("".join(f"line {number:08d}\n" for number in range(300_000)))

        self.feed(tmp_path, LineBudget("j", written.append, burst=10_000), write)
        assert written[-1] == "j | line 00299999"
        assert len(written) < 12_000
        assert any("bytes left out here" in line for line in written)


class TestWatch:
    """Events for files that change."""

    def test_each_watcher_of_a_folder_is_woken(self, tmp_path: Path) -> None:
        """Writing, making and moving files sets the event of everyone who watches that folder, and of nobody else."""
        (tmp_path / "other").mkdir()
        (tmp_path / "here").mkdir()

        async def check() -> None:
            watch = FolderWatch()
            with watch.changes(tmp_path / "here") as one, watch.changes(tmp_path / "other") as other:
                with watch.changes(tmp_path / "here") as two:
                    (tmp_path / "here" / "file").write_text("x")
                    await asyncio.wait_for(one.wait(), 30)
                    await asyncio.wait_for(two.wait(), 30)
                one.clear()
                with (tmp_path / "here" / "file").open("a") as file:
                    file.write("more")
                await asyncio.wait_for(one.wait(), 30)
                one.clear()
                (tmp_path / "here" / "file").rename(tmp_path / "here" / "file.1")
                await asyncio.wait_for(one.wait(), 30)
                assert not other.is_set()
            watch.close()
            watch.close()

        asyncio.run(check())

    def test_without_watches_it_looks_at_a_slow_pace(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A kernel that has no watch left costs latency, not output; the log says so once."""

        async def check() -> None:
            watch = FolderWatch()
            monkeypatch.setattr(watch, "_add_watch", lambda folder: (-1, 28))
            with watch.changes(tmp_path) as one, watch.changes(tmp_path) as two:
                await asyncio.wait_for(one.wait(), 30)
                await asyncio.wait_for(two.wait(), 30)
            watch.close()

        with caplog.at_level(logging.WARNING):
            asyncio.run(check())
        assert len([record for record in caplog.records if "max_user_watches" in record.getMessage()]) == 1

    def test_a_folder_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        """It cannot be watched."""

        async def check() -> None:
            watch = FolderWatch()
            try:
                with pytest.raises(FileNotFoundError), watch.changes(tmp_path / "nothing"):
                    raise AssertionError("watched")
            finally:
                watch.close()

        asyncio.run(check())


class TestOfADaemon:
    """What a run of the daemon writes."""

    def test_it_tells_states_and_output_of_jobs(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """Every change of state and every line, with the job's number, the end after the last line."""
        daemon = make_daemon().start()
        daemon.submitted(packages("quick"))
        daemon.wait(1)
        daemon.submitted(packages("broken"))
        daemon.wait(2)
        daemon.stop()
        log = daemon.session_log
        told = [line.partition("job 1 ")[2] for line in log.splitlines() if "job 1 " in line]
        assert told[0].startswith("submitted by admin: quick (package ")
        states = [told[0], "submitted → queued", "queued → starting", "starting → running"]
        assert [line for line in told if not line.startswith("|")] == [*states, "running → completed"]
        assert [line for line in told if line.startswith("|")] == ["| got 2", "| got 4", "| got 6"]
        assert told[-1] == "running → completed"
        assert "job 2 failed" in log
        assert "cannot take 7" in log
        assert daemon.token not in log

    def test_a_flood_of_output_is_bounded(self, make_daemon: Callable[..., Any], packages: Any) -> None:
        """6000 lines at once are not all written there, and it says where they are."""
        daemon = make_daemon().start()
        daemon.submitted(packages("chatty"))
        daemon.wait(1)
        daemon.stop()
        assert daemon.session_log.count("job 1 | line") < 3000
        assert "its own log has them" in daemon.session_log

    def test_each_run_has_its_log(self, make_daemon: Callable[..., Any]) -> None:
        """latest.log leads to the newest."""
        daemon = make_daemon().start()
        first = (daemon.home / "logs" / "jobmanager" / "latest.log").resolve()
        daemon.stop()
        daemon.start()
        second = (daemon.home / "logs" / "jobmanager" / "latest.log").resolve()
        assert first != second
        assert first.exists()
        assert daemon.api("GET", "info").json()["session_log"] == str(second)
