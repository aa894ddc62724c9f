"""A first pipeline for a JobManager: count to a limit, double each number, print it over there.

    sage jobmanager start
    python examples/tutorials/core-api/hello_remote_batch.py
    sage job logs 1

Host and port come from the configuration (`sage config show`) unless they are given here. The printing happens in
the job's own process beside the JobManager: look for it with `sage job logs`.
"""

from __future__ import annotations

import argparse

from sage.core.api import BatchFunction, MapFunction, RemoteEnvironment, SinkFunction


class CountTo(BatchFunction):
    """Give 1, 2, 3 … up to a limit; None ends the batch."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0

    def execute(self) -> int | None:
        if self.count == self.limit:
            return None
        self.count += 1
        return self.count


class Double(MapFunction):
    def execute(self, number: int) -> int:
        return number * 2


class Print(SinkFunction):
    def execute(self, number: int) -> None:
        print(f"hello, {number}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count, double and print on a JobManager.")
    parser.add_argument("--host", help="where the JobManager listens (default: from the configuration)")
    parser.add_argument("--port", type=int, help="its port (default: from the configuration)")
    parser.add_argument("--limit", type=int, default=10, help="count to this number (default: %(default)s)")
    options = parser.parse_args()

    env = RemoteEnvironment("hello_remote_batch", host=options.host, port=options.port)
    env.from_batch(CountTo, options.limit).map(Double).sink(Print)

    env.submit(autostop=True)
    print("status:", env.get_job_status().get("status"))
    env.close()


if __name__ == "__main__":
    main()
