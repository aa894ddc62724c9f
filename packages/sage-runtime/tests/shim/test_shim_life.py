"""A job from its start to its end, seen from outside its process."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.core.models import ENDED_STATES, FailureInfo
from sage.runtime.shim import start, supervisor
from sage.runtime.shim.processes import is_alive, read_stat
from sage.runtime.shim.start import ShimStartError, start_shim
from sage.runtime.shim.sweep import find_processes

Make = Callable[..., Any]


def test_a_job_that_completes(scripted: Make) -> None:
    """States come in order, each with attempt and epoch, and the log holds both streams in order."""
    job = scripted(
        """
        running()
        print("one", flush=True)
        print("two", file=sys.stderr, flush=True)
        print("three", flush=True)
        ended("completed")
        """,
        attempt=2,
        epoch=5,
    ).start()
    last = job.wait_ended()
    assert job.states() == ["submitted", "queued", "starting", "running", "completed"]
    assert [event["seq"] for event in job.events()] == [1, 2, 3, 4, 5]
    assert (last["attempt"], last["epoch"], last["reason"]) == (2, 5, None)
    assert job.events()[3]["tasks"] == 1
    assert job.log() == "one\ntwo\nthree\n"


def test_files_of_a_job_are_private(scripted: Make) -> None:
    """Everything that the shim writes is for its user alone."""
    job = scripted("running(); say(event='metrics', metrics={'tasks': 1}); ended('completed')").start()
    job.wait_ended()
    for name in ("events.jsonl", "shim.json", "metrics.json", "logs/job.log", "logs/shim.log"):
        assert stat.S_IMODE((job.folder / name).stat().st_mode) == 0o600, name
    assert json.loads((job.folder / "metrics.json").read_bytes()) == {"tasks": 1}


def test_the_socket_is_gone_with_the_shim(scripted: Make) -> None:
    """A shim takes its socket away when it ends."""
    job = scripted("running(); hear(); ended('cancelled')").start()
    assert stat.S_IMODE(job.socket.stat().st_mode) == 0o600
    job.cancel(30)
    job.wait_ended()
    assert not job.socket.exists()


def test_what_the_job_process_is_given(scripted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment holds no secret, its descriptors are four, and it leads a session of its own."""
    monkeypatch.setenv("SAGE_TOKEN", "secret")
    monkeypatch.setenv("MY_API_KEY", "secret")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("SAGE_HOME", "/somewhere")
    leaked = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(leaked, True)
    job = scripted(
        """
        print(json.dumps({
            "environment": dict(os.environ),
            "arguments": sys.argv[1:],
            "input": sys.stdin.read(),
            "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")),
            "line": line.fileno(),
            "leads": os.getsid(0) == os.getpgrp() == os.getpid(),
            "folder": os.getcwd(),
            "ignored": [s for s in (signal.SIGPIPE, signal.SIGHUP) if signal.getsignal(s) == signal.SIG_IGN],
        }))
        ended("completed")
        """
    ).start()
    os.close(leaked)
    job.wait_ended()
    facts = json.loads(job.log())
    assert "secret" not in facts["environment"].values()
    assert facts["environment"]["LC_TIME"] == "C"
    assert facts["environment"]["SAGE_HOME"] == "/somewhere"
    assert facts["environment"]["SAGE_JOB_FOLDER"] == str(job.folder.resolve())
    assert facts["arguments"] == ["-P", "-m", "sage.runtime.jobprocess", str(job.folder.resolve())]
    assert facts["input"] == ""
    assert facts["descriptors"] == [0, 1, 2, facts["line"]]
    assert facts["leads"]
    assert facts["folder"] == str((job.folder / "work").resolve())
    # Python itself ignores SIGPIPE when it starts; SIGHUP would be inherited from the shim.
    assert facts["ignored"] == [signal.SIGPIPE]


def test_a_job_that_fails(scripted: Make) -> None:
    """A failure that the job tells is kept, bounded and cleaned of what does not belong there."""
    job = scripted(
        """
        running()
        ended("failed", {"kind": "user_code", "message": "boom \\ud800", "operator": "map", "subtask": 1,
                         "record": 7, "traceback": "T" * 200_000, "extra": {"x": 1}})
        """
    ).start()
    last = job.wait_ended()
    assert job.states()[-2:] == ["failing", "failed"]
    failure = FailureInfo.from_json(last["failure"])
    assert (failure.kind, failure.message, failure.operator, failure.subtask) == (
        "user_code",
        "boom \\ud800",
        "map",
        1,
    )
    assert failure.record is None
    assert failure.traceback is not None and 60_000 < len(failure.traceback) < 70_000
    assert last["reason"] == failure.message


def test_failing_is_told_before_the_end(scripted: Make) -> None:
    """A failure is an event as soon as it is known, and stays the job's failure whatever happens afterwards."""
    job = scripted("running(); say(event='failing', failure={'kind': 'user_code', 'message': 'boom'}); hear()").start()
    job.wait_for("failing")
    os.kill(job.process().pid, signal.SIGKILL)
    last = job.wait_ended()
    assert job.states()[-2:] == ["failing", "failed"]
    assert last["failure"]["message"] == "boom"


def test_exit_without_an_outcome(scripted: Make) -> None:
    """A process that exits by itself makes the job fail, its status named and its last lines kept."""
    job = scripted("running(); print('last words', flush=True); os._exit(3)").start()
    last = job.wait_ended()
    failure = FailureInfo.from_json(last["failure"])
    assert job.states()[-3:] == ["running", "failing", "failed"]
    assert (failure.kind, failure.exit_status, failure.signal) == ("process", 3, None)
    assert "exit status 3" in failure.message
    assert failure.traceback == "last words"


def test_segmentation_fault(scripted: Make) -> None:
    """A crash names its signal, and what faulthandler printed comes with it."""
    job = scripted(
        """
        import faulthandler
        def user_function():
            faulthandler._sigsegv()
        running()
        user_function()
        """
    ).start()
    failure = FailureInfo.from_json(job.wait_ended()["failure"])
    assert (failure.kind, failure.exit_status, failure.signal) == ("process", None, "SIGSEGV")
    assert "in user_function" in (failure.traceback or "")
    assert "in user_function" in job.log()


def test_the_job_process_is_killed(scripted: Make) -> None:
    """A killed process makes the job fail at once."""
    job = scripted("running(); forever()").start()
    job.wait_for("running")
    os.kill(job.process().pid, signal.SIGKILL)
    last = job.wait_ended()
    assert last["state"] == "failed"
    assert last["failure"]["signal"] == "SIGKILL"


def test_a_job_process_that_cannot_be_started(scripted: Make) -> None:
    """A missing interpreter is the job's failure, not the shim's."""
    job = scripted("", python="/nowhere/python").start()
    last = job.wait_ended()
    assert job.states()[-3:] == ["starting", "failing", "failed"]
    assert "/nowhere/python" in last["failure"]["message"]


def test_completed_stays_completed(scripted: Make) -> None:
    """A crash while the interpreter shuts down does not undo what the job has told."""
    job = scripted("running(); ended('completed'); os.kill(os.getpid(), signal.SIGSEGV)").start()
    last = job.wait_ended()
    assert last["state"] == "completed"
    assert "SIGSEGV" in last["reason"]


def test_a_process_that_does_not_leave(scripted: Make) -> None:
    """Having told its end, a process gets the grace and no more."""
    job = scripted("running(); ended('completed'); forever()", grace=0.2).start()
    last = job.wait_ended()
    assert last["state"] == "completed"
    assert "terminated" in last["reason"]


def test_environment_variables_of_the_job(scripted: Make) -> None:
    """Those that it was given are there, also in place of the daemon's; what is no text is left out."""
    job = scripted(
        """
        print(os.environ["DATABASE_URL"], os.environ["LANG"], os.environ.get("BROKEN"), flush=True)
        running()
        ended("completed")
        """,
        env_vars={"DATABASE_URL": "db:\u00fcser", "LANG": "tlh", "BROKEN": 1},
    ).start()
    assert job.wait_ended()["state"] == "completed"
    assert job.log() == "db:\u00fcser tlh None\n"


def test_the_thread_that_crashed_is_told_among_many(scripted: Make) -> None:
    """Python lists the frames of all threads after its own; the failure begins with what led to the crash."""
    job = scripted(
        """
        import ctypes, threading
        for number in range(30):
            threading.Thread(target=forever, daemon=True).start()
        def user_function():
            ctypes.string_at(0)
        running()
        print("last words", flush=True)
        user_function()
        """
    ).start()
    failure = FailureInfo.from_json(job.wait_ended()["failure"])
    assert failure.traceback is not None
    lines = failure.traceback.splitlines()
    assert lines[:2] == ["last words", "Fatal Python error: Segmentation fault"]
    assert any("in user_function" in line for line in lines)
    assert len(lines) <= 40


def test_what_the_system_lacks_for_a_moment_fails_no_job(scripted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start of a shim tells a lack that may pass from one that does not, so that it can be tried again."""
    job = scripted("running(); ended('completed')")
    for number in (errno.EAGAIN, errno.EMFILE, errno.ENOMEM):
        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_spawn", raiser(OSError(number, os.strerror(number))))
            with pytest.raises(OSError, match=os.strerror(number)):
                job.start()
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_spawn", raiser(FileNotFoundError(errno.ENOENT, "gone")))
        with pytest.raises(ShimStartError, match="gone"):
            job.start()
    assert job.start().wait_ended()["state"] == "completed"


def raiser(error: Exception) -> Callable[..., Any]:
    def fail(*given: Any, **more: Any) -> Any:
        raise error

    return fail


def test_children_do_not_outlive_the_job(scripted: Make) -> None:
    """Children in the group and grandchildren in sessions of their own are ended before the last event."""
    job = scripted(
        """
        import subprocess
        subprocess.Popen(["sleep", "1000"])
        subprocess.Popen(["sh", "-c", "setsid sh -c 'trap \\"\\" TERM; echo up; while :; do sleep 1000; done' &"])
        running()
        hear()
        ended("completed")
        """
    ).start()
    job.wait_for("running")
    while "up" not in job.log():
        assert is_alive(job.process())
    assert len(find_processes(str(job.folder))) >= 3  # the grandchild's own child may only just be starting
    with job.connect():
        job.cancel(30)
        last = job.wait_ended()
    assert find_processes(str(job.folder)) == []
    assert "left behind" in last["reason"]


def test_odd_messages_do_no_harm(scripted: Make) -> None:
    """What is no message is noted for people and skipped; the job goes on."""
    job = scripted(
        """
        line.sendall(b"nonsense\\n[1]\\n" + b"[" * 100_000 + b"\\n\\xff\\n")
        say(event="unheard")
        say(event="metrics", metrics={"name": "\\ud800"})
        say(event="ended", state="stopped")
        running()
        running()
        ended("completed")
        """
    ).start()
    assert job.wait_ended()["state"] == "completed"
    assert job.states().count("running") == 1
    assert "nonsense" in (job.folder / "logs" / "shim.log").read_text()
    assert not (job.folder / "metrics.json").exists()


def test_numbers_beyond_all_measure(scripted: Make) -> None:
    """Counts that no index could hold are left out, whoever counted them."""
    job = scripted(
        """
        say(event="running", tasks=10**30, services=-1)
        ended("failed", {"kind": "user_code", "message": "m", "subtask": 10**30, "exit_status": -(10**30)})
        """
    ).start()
    last = job.wait_ended()
    assert last["failure"] == {"kind": "user_code", "message": "m"}
    assert not {"tasks", "services"} & job.events()[3].keys()


def test_pipes_in_the_place_of_files(scripted: Make) -> None:
    """A job that puts pipes where its shim writes and reads does not hold up the shim, and can be cancelled."""
    job = scripted(
        """
        folder = os.environ["SAGE_JOB_FOLDER"]
        running()
        os.unlink(f"{folder}/logs/job.log")
        for name in ("metrics.json", f"metrics.json.{os.getppid()}.tmp", "logs/job.log", "logs/job.log.index"):
            os.mkfifo(f"{folder}/{name}")
        say(event="metrics", metrics={"tasks": 1})
        for _ in range(1000):
            os.write(1, b"x" * 99 + b"\\n")
        hear()
        ended("cancelled")
        """,
        log={"max_bytes": 4096, "keep": 2},
    ).start()
    job.wait_for("running")
    job.cancel(30)
    assert job.wait_ended()["state"] == "cancelled"


def test_notes_are_bounded(scripted: Make) -> None:
    """A job that provokes notes without end does not fill the disk with them."""
    job = scripted("running(); line.sendall(b'nonsense\\n' * 100_000); ended('completed')").start()
    assert job.wait_ended()["state"] == "completed"
    lines = (job.folder / "logs" / "shim.log").read_text().splitlines()
    assert len(lines) == 1000
    assert "left out" in lines[-1]


def test_an_endless_message(scripted: Make) -> None:
    """A message without end cuts the line; the job fails and the shim stays small."""
    job = scripted(
        """
        running()
        try:
            while True:
                line.sendall(b"x" * 65536)
        except OSError:
            forever()
        """
    ).start()
    last = job.wait_ended()
    assert last["state"] == "failed"
    assert "closed the line" in last["failure"]["message"]


def test_a_second_shim_is_refused(scripted: Make) -> None:
    """One job has one shim: whoever holds the events file."""
    job = scripted("running(); hear(); ended('cancelled')").start()
    with pytest.raises(ShimStartError) as caught:
        start_shim(job.folder)
    assert caught.value.reason == "busy"
    assert job.ping()["state"] in ("starting", "running")
    job.cancel(30)
    assert job.wait_ended()["state"] == "cancelled"


def test_an_ended_job_is_not_started_again(scripted: Make) -> None:
    """Completed and cancelled never change."""
    job = scripted("running(); ended('completed')").start()
    job.wait_ended()
    with pytest.raises(ShimStartError) as caught:
        start_shim(job.folder)
    assert caught.value.reason == "ended"
    assert job.states()[-1] == "completed"


@pytest.mark.parametrize("order", [b"", b"{", b"[]", b'{"uuid": "x"}', b'{"uuid": 1}'])
def test_a_bad_order_is_refused(scripted: Make, order: bytes) -> None:
    """A job.json that cannot be followed is one clear error, and nothing is left running."""
    job = scripted("")
    (job.folder / "job.json").write_bytes(order)
    with pytest.raises(ShimStartError, match=r"job\.json"):
        start_shim(job.folder)
    assert job.states() == ["submitted", "queued"]


def test_the_shims_own_copy_of_the_ended_states() -> None:
    """The shim cannot import the models; the states in which it takes a job for ended are theirs all the same."""
    assert set(supervisor.ENDED_STATES) == ENDED_STATES


def test_a_missing_interpreter_for_the_shim(scripted: Make) -> None:
    """A shim that cannot even be started is an error that names the interpreter."""
    job = scripted("")
    with pytest.raises(ShimStartError, match="/nowhere/python"):
        start_shim(job.folder, python="/nowhere/python")


def test_a_shim_that_dies_while_it_starts(scripted: Make, short_folder: Path) -> None:
    """Its last words are part of the error."""
    job = scripted("")
    program = short_folder / "broken"
    program.write_text("#!/bin/sh\necho broken interpreter >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(ShimStartError, match="broken interpreter"):
        start_shim(job.folder, python=str(program))


def test_a_shim_that_never_answers(scripted: Make, short_folder: Path) -> None:
    """It is given up after the time-out, and killed."""
    job = scripted("")
    program = short_folder / "deaf"
    program.write_text(f"#!/bin/sh\necho $$ > '{short_folder}/pid'\nexec sleep 1000\n")
    program.chmod(0o755)
    with pytest.raises(ShimStartError, match="not ready within"):
        start_shim(job.folder, python=str(program), timeout=2)
    assert read_stat(int((short_folder / "pid").read_text())) is None


def test_a_shim_is_light(scripted: Make) -> None:
    """It imports nothing from outside the standard library and its own folder, and nothing heavy from within."""
    job = scripted("running(); ended('completed')")
    program = Path(start.__file__).with_name("__main__.py")
    command = [sys.executable, "-I", "-S", "-X", "importtime", str(program), str(job.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "sage.runtime.shim.supervisor" in loaded
    heavy = {"typing", "dataclasses", "subprocess", "pathlib", "asyncio", "runpy", "contextlib", "inspect", "hashlib"}
    assert not loaded & heavy
    ours = {name for name in loaded if name.startswith("sage")}
    assert all(name.startswith("sage.runtime.shim.") for name in ours)
    assert {name.partition(".")[0] for name in loaded - ours - {"imported package"}} <= sys.stdlib_module_names
    assert job.states()[-1] == "completed"
