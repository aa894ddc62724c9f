"""From `submit` to `completed` through a running JobManager, against what a Python process with cloudpickle costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from _measure import in_turn, report

from sage.core.api import BatchFunction, MapFunction, RemoteEnvironment, SinkFunction


class CountTo(BatchFunction):
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.number = 0

    def execute(self) -> int | None:
        self.number += 1
        return self.number if self.number <= self.limit else None


class Double(MapFunction):
    def execute(self, value: int) -> int:
        return value * 2


class Show(SinkFunction):
    def execute(self, value: int) -> None:
        print(value)


@contextmanager
def jobmanager() -> Iterator[None]:
    """A JobManager of our own on a free port; its folder is this process's ``SAGE_HOME`` meanwhile."""
    with tempfile.TemporaryDirectory(prefix="sage-bench-") as home:
        os.environ["SAGE_HOME"] = home
        reader, writer = os.pipe()
        daemon = subprocess.Popen(
            [sys.executable, "-P", "-m", "sage.runtime.jobmanager", "--port", "0", "--ready-fd", str(writer)],
            pass_fds=[writer],
            start_new_session=True,
        )
        os.close(writer)
        try:
            with os.fdopen(reader) as ready:
                answer = json.loads(ready.readline())
            assert answer["ok"], answer
            os.environ["SAGE_DAEMON__PORT"] = str(answer["port"])
            yield
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)


def number_example() -> None:
    env = RemoteEnvironment("numbers")
    env.from_batch(CountTo, 10).map(Double).sink(Show)
    env.submit(autostop=True)
    assert env.get_job_status()["status"] == "completed"
    env.close()


def python_with_cloudpickle() -> None:
    subprocess.run([sys.executable, "-c", "import cloudpickle"], check=True)


def main() -> None:
    with jobmanager():
        work = {"submit to completed": number_example, "python -c 'import cloudpickle'": python_with_cloudpickle}
        report(
            "submit to completed, daemon running",
            in_turn(work, rounds=15),
            [("submit to completed", "python -c 'import cloudpickle'", "against a Python with cloudpickle")],
        )


if __name__ == "__main__":
    main()
