"""`sage run`, `sage job submit` and plain Python with programs that do not wait, and the handle that they get."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import User

TWO = """
import sys
from sage.core.api import *

highest = int(sys.argv[1])

def check(x):
    if x > highest:
        raise ValueError(f"{x} is too much")
    return x

for name, numbers in (("low", [1, 2]), ("high", [3, 4])):
    with RemoteEnvironment(name) as env:
        env.from_batch(numbers).map(check).print()
        env.submit()
print("submitted", sys.argv[1:])
"""


def test_run_follows_what_a_program_submits(user: User) -> None:
    """Both jobs' lines come, told apart by their numbers; the exit code is 0 if all is well and 1 if one failed."""
    user.write("two.py", TWO)
    well = user.sage("run", "two.py", "9")
    head, *lines = well.out.splitlines()
    assert head == "submitted ['9']"
    numbers = sorted({line.split(" | ")[0] for line in lines}, key=lambda text: int(text.removeprefix("job ")))
    assert sorted(lines) == sorted(
        f"{number} | {value}" for number, values in zip(numbers, ((1, 2), (3, 4)), strict=True) for value in values
    )
    assert f"{numbers[0]} (low): completed" in well.err
    assert f"{numbers[1]} (high): completed" in well.err
    failed = user.sage("run", "--json", "two.py", "3", code=1)
    assert failed.err == "submitted ['3']\n"
    run = failed.documents[-1]
    assert (run["kind"], run["data"]["exit_status"]) == ("Run", 0)
    assert [(job["name"], job["state"]) for job in run["data"]["jobs"]] == [("low", "completed"), ("high", "failed")]
    assert "ValueError: 4 is too much" in run["data"]["jobs"][1]["failure"]["message"]


def test_run_shows_a_job_once(user: User) -> None:
    """What a program has read itself is not shown again; what was quick, or only waited for, is."""
    user.write(
        "program.py",
        """
        from sage.core.api import RemoteEnvironment
        from sage.core.client import JobManagerClient
        for way in ("reads", "waits", "neither"):
            with RemoteEnvironment(way) as env:
                env.from_batch([way]).print()
                job = env.submit(autostop=way == "waits")
                if way == "reads":
                    print("read:", *job.logs(), end="")
                with JobManagerClient.from_config() as client:
                    client.wait(job.uuid)
        """,
    )
    read, *shown = user.sage("run", "program.py").out.splitlines()
    assert read == "read: reads"
    assert sorted(line.split(" | ")[1] for line in shown) == ["neither", "waits"]  # jobs are followed side by side


def test_run_tells_of_a_stopped_job(user: User) -> None:
    """Somebody else stops it: the command that follows it ends with 7."""
    user.write("held.py", user.held)
    user.write(
        "program.py",
        """
        import sys
        from held import Held, Show
        from sage.core.api import RemoteEnvironment
        with RemoteEnvironment("run-and-stopped") as env:
            env.from_source(Held, "never").sink(Show)
            print(env.submit())
        """,
    )
    run = user.start_sage("run", "program.py")
    uuid = run.line()
    run.until("got 3")
    user.sage("job", "stop", uuid)
    done = run.end(7)
    assert done.out == "closed\n"
    assert "(run-and-stopped): cancelled" in done.err


def test_who_waits_at_a_terminal_is_told_for_what(user: User) -> None:
    """Number, JobManager and where the output is go to a terminal once, else to the log; `sage run` shows the job."""
    user.write(
        "program.py",
        """
        import io
        import logging
        import sys
        from sage.core.api import RemoteEnvironment

        class Terminal(io.StringIO):
            def isatty(self):
                return True

        if "logged" in sys.argv:
            logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
        else:
            sys.stderr = Terminal()
        with RemoteEnvironment("seen") as env:
            env.from_batch([1]).print()
            env.submit(autostop=True).wait()
            number = env.get_job_status()["number"]
        told = "" if "logged" in sys.argv else sys.stderr.getvalue()
        print(told.replace(f"job {number} ", "job N ").replace(f"-f {number}", "-f N"), end="")
        """,
    )
    told = f"job N (seen) is with the JobManager at 127.0.0.1:{user.port}; its output: sage job logs -f N\n"
    assert user.python("program.py").out == told
    assert user.python("program.py", "logged").err.startswith("sage.job job ")
    assert user.sage("run", "program.py").out == "1\n"


def test_ctrl_c_leaves_the_job_alone(user: User) -> None:
    """A program that waits is interrupted at once, and says where to find its job, which goes on."""
    user.write("held.py", user.held)
    user.write(
        "program.py",
        """
        import signal
        import sys
        from held import Held, Show
        from sage.core.api import RemoteEnvironment

        def wait(*given):  # lets Ctrl-C through from here on, so that it meets the program as it waits
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            return client_wait(*given)

        with RemoteEnvironment("left-alone") as env:
            env.from_source(Held, f"{sys.path[0]}/release-{env.env_uuid}").sink(Show)
            job = env.submit()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            client_wait, env.client.wait = env.client.wait, wait
            print(job, flush=True)
            job.wait()
        """,
    )
    program = user.start_python("program.py")
    uuid = program.line()
    program.process.send_signal(signal.SIGINT)
    done = program.end(-signal.SIGINT)
    assert done.err.endswith(
        f"KeyboardInterrupt\njob 'left-alone' goes on: sage job logs -f {uuid}, sage job stop {uuid}\n"
    )
    user.release(uuid)
    assert user.sage("job", "logs", "-f", uuid).out == "got 1\ngot 2\ngot 3\ngot released\nclosed\n"


def test_submit_sends_and_does_not_wait(user: User) -> None:
    """Each submit() of the program is a job, its output goes to stderr; with --wait the exit code tells the ends."""
    user.write("two.py", TWO)
    sent = user.sage("job", "submit", "--json", "two.py", "3")
    assert sent.err == "submitted ['3']\n"
    jobs = sent.data["items"]
    assert [job["name"] for job in jobs] == ["low", "high"]
    assert jobs[0]["number"] < jobs[1]["number"]
    assert user.sage("job", "wait", jobs[0]["number"]).code == 0
    assert user.sage("job", "wait", jobs[1]["number"], code=1).code == 1
    waited = user.sage("job", "submit", "--wait", "two.py", "3", code=1)
    assert "ValueError: 4 is too much" in waited.err
    assert "submitted ['3']" not in waited.out


@pytest.mark.parametrize("how", ["-c", "-", "-m"])
def test_programs_that_are_no_script(user: User, how: str) -> None:
    """Typed in, piped in, or a module of a package with relative imports: what they define travels, too."""
    program = """
from sage.core.api import *
SCALE = 3
class Scaled(MapFunction):
    def execute(self, x):
        return part(x) * SCALE
with RemoteEnvironment("no-script") as env:
    env.from_batch([1, 2]).map(Scaled).map(lambda x: x + 1).print()
    job = env.submit(autostop=True)
    print("".join(job.logs()), end="")
"""
    local = "def part(x):\n    return x\n"
    if how == "-c":
        done = user.run(sys.executable, "-c", local + program)
    elif how == "-":
        done = user.run("sh", "-c", f"'{sys.executable}' - <<'END'\n{local}{program}END\n")
    else:
        user.write("app/__init__.py", "")
        user.write("app/parts.py", local)
        user.write("app/main.py", "from .parts import part\n" + program)
        done = user.run(sys.executable, "-m", "app.main")
    assert (done.out, done.err) == ("4\n7\n", "")


def test_the_handle_of_a_job(user: User) -> None:
    """What a program can ask and tell of its job, from before its submission to after its deletion."""
    user.write("held.py", user.held)
    user.write(
        "program.py",
        """
        import sys
        from held import Held, Show
        from sage.core.api import RemoteEnvironment
        from sage.core.client import JobManagerClient
        from sage.core.errors import WaitTimeoutError, WrongStateError

        def refused(what):
            try:
                what()
            except WrongStateError as error:
                print("refused", error.exit_code, error.message)

        with RemoteEnvironment("handled") as env:
            print(env.get_job_status()["status"])
            refused(env.stop)
            env.from_source(Held, "never").sink(Show)
            job = env.submit()
            print(str(job) == job.uuid == env.env_uuid, job.name)
            logs = job.logs()
            text = ""
            while "got 3" not in text:
                text += next(logs)
            with JobManagerClient.from_config() as client:  # its log may be a little ahead of its state
                client.wait(job.uuid, until={"running"})
            print(env.get_job_status()["status"], job.status()["running"])
            refused(job.delete)
            try:
                job.wait(timeout=0.05)
            except WaitTimeoutError as error:
                print("waited", error.job == job.uuid)
            env.stop()
            print(job.wait()["status"])
            text += "".join(logs)
            print(text.split())
            refused(job.stop)
            refused(job.continue_)
            job.delete()
            print(env.get_job_status()["status"], job.status()["status"])
        """,
    )
    done = user.python("program.py")
    assert done.err == ""
    uuids = user.uuids()
    lines = done.out.splitlines()
    assert [line for line in lines if not line.startswith("refused 8 ")] == [
        "not_submitted",
        "True handled",
        "running True",
        "waited True",
        "cancelled",
        "['got', '1', 'got', '2', 'got', '3', 'closed']",
        "deleted deleted",
    ]
    never, running, ended, no_savepoint = [line for line in lines if line.startswith("refused 8 ")]
    assert "was not submitted" in never
    assert "is running" in running
    assert "is cancelled" in ended
    assert "savepoint" in no_savepoint
    assert "handled" not in {user.job(uuid).name for uuid in uuids}
