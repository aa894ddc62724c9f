"""SAGE in a minute: start a JobManager, run two pipelines on it, show what it knows of them, stop it.

    python examples/demo.py            (or, with nothing installed: python3 dev.py demo)

Everything is done as a user would do it, by the command `sage` and by running the examples; each command is shown
before it runs. The JobManager gets a free port and a folder of its own, which is removed at the end unless something
failed or ``--keep`` is given. The exit code tells whether all went well.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from sage.core.client import JobManagerClient
from sage.core.errors import SageError, WaitTimeoutError

ROOT = Path(__file__).resolve().parents[1]
HELLO = Path("examples", "tutorials", "core-api", "hello_remote_batch.py")
WORD_COUNT = Path("examples", "word_count", "word_count.py")
SAGE = Path(sys.executable).with_name("sage")


class CommandFailed(Exception):
    """A command of the demonstration ended with an error; it has said itself which."""


def say(text: str) -> None:
    print(f"\n── {text}", flush=True)


def run(*command: str | Path, quiet: bool = False) -> str:
    """Show a command and run it; its output goes to the terminal, or is returned if `quiet`."""
    parts = [str(part) for part in command]
    shown = ["python" if part == sys.executable else "sage" if part == str(SAGE) else part for part in parts]
    print(f"$ {shlex.join(shown)}", flush=True)
    done = subprocess.run(parts, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if quiet else None, text=True)
    if done.returncode:
        print(done.stdout or "", end="", flush=True)
        raise CommandFailed(f"{shlex.join(shown)} ended with exit code {done.returncode}")
    return done.stdout or ""


def sage(*arguments: str | Path, quiet: bool = False) -> str:
    return run(SAGE, *arguments, quiet=quiet)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def follow(job: str) -> None:
    """Print a line whenever the job changes its state, and each second how far it has come."""
    with JobManagerClient.from_config() as client:
        state = ""
        while True:
            try:
                info = client.wait(job, timeout=1.0)
            except WaitTimeoutError:
                info = client.job(job)
            if info.state != state:
                state = info.state
                print(f"   {state}", flush=True)
            if info.is_ended:
                break
            passed = [
                f"{operator.name} {max(operator.records_in, operator.records_out):,}"
                for operator in client.metrics(job).operators
            ]
            print(f"   {' → '.join(passed)}", flush=True)


def demonstrate(folder: Path) -> None:
    say("A configuration and a JobManager of its own")
    sage("config", "init")
    sage("config", "set", "daemon.port", str(free_port()))
    sage("jobmanager", "start")

    say("First pipeline: count, double, print on the JobManager's side; the program waits for its job")
    sage("run", HELLO)
    sage("job", "logs", "1")

    say("Second pipeline: the words of Python's standard library, sent with `sage job submit`")
    output = folder / "word_count.tsv"
    sent = json.loads(sage("job", "submit", "--json", WORD_COUNT, "--remote", "--output", output, quiet=True))
    job = str(sent["data"]["items"][0]["number"])
    follow(job)
    sage("job", "logs", job)
    with output.open(encoding="utf-8") as lines:
        print(f"The file begins with: {next(lines).split()}")

    say("What the JobManager knows of its jobs")
    sage("job", "list")
    sage("job", "show", "-v", job)


def stop() -> None:
    """Cancel what still runs, then stop the JobManager; nothing is left behind, whatever went before."""
    if not Path(os.environ["SAGE_HOME"], "daemon.json").exists():
        return
    say("Stop the JobManager")
    with JobManagerClient.from_config() as client:
        for job in client.jobs().items:
            if not job.is_ended:
                client.cancel(job.uuid)
                client.wait(job.uuid, timeout=60)
    sage("jobmanager", "stop")


def main() -> int:
    parser = argparse.ArgumentParser(description="Start a JobManager, run two pipelines on it, show them, stop it.")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the JobManager's files")
    options = parser.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="sage-demo-"))
    os.environ["SAGE_HOME"] = str(folder / "home")
    os.chdir(ROOT)
    print(f"SAGE_HOME={os.environ['SAGE_HOME']}")
    problems: list[str] = []
    try:
        demonstrate(folder)
    except (CommandFailed, SageError, OSError) as error:
        problems.append(str(error))
    except KeyboardInterrupt:
        problems.append("interrupted")
    finally:  # whatever happened, also what nobody thought of
        try:
            stop()
        except (CommandFailed, SageError, OSError) as error:
            problems.append(str(error))
    if problems:
        print(f"\nThe demonstration failed; its files are in {folder}", *problems, sep="\n  ", file=sys.stderr)
        return 1
    if options.keep:
        print(f"\nDone. The files are in {folder}")
    else:
        shutil.rmtree(folder)
        print("\nDone.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
